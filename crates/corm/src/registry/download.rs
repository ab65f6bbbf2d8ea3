//! A download of one file by HTTP, for builds.

use base::coded;
use std::io::Write;

use anyhow::{Context as _, Result, bail, ensure};
use ureq::http::{Method, Uri};

use super::http::{Http, HttpRequest, Timeouts};
use super::tls;
use super::url;

/// What the server says of a file that was downloaded.
#[derive(Debug, Clone, Default)]
pub struct Downloaded {
    /// `Last-Modified`
    pub modified: Option<String>,
    /// Bytes.
    pub size: u64,
}

/// Downloads the file at an address into `out`; at most `most` bytes.
///
/// # Errors
/// The address is none, the server answers with another status than 200, the body ends early or is too large.
pub fn download(address: &str, most: u64, out: &mut dyn Write) -> Result<Downloaded> {
    let url: Uri = address.parse().with_context(|| format!("{address:?}: is no address"))?;
    let host = url.host().with_context(|| format!("{address:?}: has no host"))?.to_owned();
    let http = Http::new(tls::config(&host, true)?, &Timeouts::default(), !url::is_loopback(&host));
    let request = HttpRequest { method: Method::GET, url, headers: Vec::new(), authorization: None };
    let response = http.follow(request).map_err(super::http::RetryError::into_error)?;
    if response.status != 200 {
        bail!(coded!(RegistryFailed, "HTTP status {}", response.status));
    }
    let (announced, modified) = (response.length()?, response.find("last-modified").map(str::to_owned));
    let mut body = std::io::Read::take(response.reader(), most.saturating_add(1));
    let size = std::io::copy(&mut body, out).context("download")?;
    ensure!(size <= most, coded!(RegistryAnswer, "more than {most} bytes"));
    ensure!(announced.is_none_or(|announced| announced == size), coded!(RegistryCut, "the download ended early"));
    Ok(Downloaded { modified, size })
}
