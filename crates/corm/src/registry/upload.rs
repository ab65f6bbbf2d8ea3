//! Upload of one blob: skipped when the registry has it or can mount it from another repository, else a resumable
//! request.
//!
//! Every response of the registry has a new upload URL. After a failure the registry is asked for its offset.

use base::coded;
use std::io::{self, Read, Seek as _, SeekFrom};

use anyhow::{Context as _, Result, anyhow};
use ureq::http::{Method, Uri};

use super::client::Client;
use super::http::{HttpResponse, RetryError};
use super::url;
use crate::model::digest::Digest;
use crate::store::Store;

/// A blob to upload.
pub(crate) struct Upload<'a> {
    /// The repository.
    pub client: &'a Client,
    /// The store that has the blob.
    pub store: &'a Store,
    /// Digest of the blob.
    pub digest: &'a Digest,
    /// Size of the blob in bytes.
    pub size: u64,
    /// Repositories of the same registry that may have it.
    pub mount_from: &'a [String],
    /// Callback with the number of bytes sent.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// Result of beginning an upload.
enum UploadStart {
    /// The registry has the blob.
    Exists,
    /// The upload URL.
    At(Uri),
}

impl Upload<'_> {
    /// Uploads the blob; returns whether it had to be sent.
    pub(crate) fn run(&self) -> Result<bool> {
        if self.is_there()? {
            return Ok(false);
        }
        self.send_it().map(|()| true)
    }

    /// Returns whether the registry has the blob, perhaps now, by a mount from another repository.
    pub(crate) fn is_there(&self) -> Result<bool> {
        let timing = self.client.timing();
        if timing.retry(|| self.exists())? {
            return Ok(true);
        }
        for from in self.mount_from {
            if let UploadStart::Exists = timing.retry(|| self.begin(Some(from)))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends the blob, which the registry lacks.
    pub(crate) fn send_it(&self) -> Result<()> {
        let timing = self.client.timing();
        let mut failures = 0;
        let mut location: Option<(Uri, u64)> = None;
        loop {
            let before = location.as_ref().map_or(0, |(_, sent)| *sent);
            match self.continue_at(&mut location) {
                Ok(()) => return Ok(()),
                Err(RetryError::Permanent(error)) => return Err(error),
                Err(RetryError::Transient { error, after }) => {
                    failures += 1;
                    if failures >= timing.attempts {
                        return Err(error);
                    }
                    timing.wait(failures, &error, after);
                }
            }
            location = location.and_then(|(location, _)| self.received(&location));
            // progress was made: a registry that accepts parts does not count as failing
            if location.as_ref().is_some_and(|(_, sent)| *sent > before) {
                failures = 0;
            }
        }
    }

    fn exists(&self) -> Result<bool, RetryError> {
        let url = self.client.url(&format!("blobs/{}", self.digest))?;
        let response = self.client.request(&Method::HEAD, &url, &[])?;
        match response.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(response.into_error().into()),
        }
    }

    /// Begins an upload, or mounts the blob of another repository.
    fn begin(&self, from: Option<&str>) -> Result<UploadStart, RetryError> {
        let mut url = self.client.url("blobs/uploads/")?;
        if let Some(from) = from {
            url = url::with_query(&url, &[("mount", &self.digest.to_string()), ("from", from)])?;
        }
        let response = self.send(&Method::POST, &url, &[], 0, 0)?;
        match response.status {
            201 => Ok(UploadStart::Exists),
            202 => Ok(UploadStart::At(self.location(&response)?)),
            _ => Err(response.into_error().into()),
        }
    }

    /// Sends the missing bytes and completes the upload.
    fn continue_at(&self, location: &mut Option<(Uri, u64)>) -> Result<(), RetryError> {
        let (mut at, mut sent) = match location.take() {
            Some(location) => location,
            None => match self.begin(None)? {
                UploadStart::Exists => return Ok(()),
                UploadStart::At(location) => (location, 0),
            },
        };
        while sent < self.size {
            *location = Some((at.clone(), sent));
            let left = self.size - sent;
            let headers = [
                ("content-type", "application/octet-stream".to_owned()),
                ("content-range", format!("{sent}-{}", self.size - 1)),
            ];
            let response = self.send(&Method::PATCH, &at, &headers, sent, left)?;
            match response.status {
                202 | 204 => {}
                _ => return Err(response.into_error().into()),
            }
            at = self.location(&response)?;
            let has = received(&response).unwrap_or(self.size);
            if has <= sent || has > self.size {
                return Err(anyhow!(coded!(
                    RegistryAnswer,
                    "blob {}: the registry has {has} bytes of it after {} were sent",
                    self.digest,
                    self.size
                ))
                .into());
            }
            sent = has;
        }
        *location = Some((at.clone(), sent));
        let url = url::with_query(&at, &[("digest", &self.digest.to_string())])?;
        let response = self.send(&Method::PUT, &url, &[], 0, 0)?;
        if response.status != 201 && response.status != 204 {
            return Err(response.into_error().into());
        }
        Ok(())
    }

    /// Asks for the offset of a failed upload; `None` when the registry has dropped it.
    fn received(&self, location: &Uri) -> Option<(Uri, u64)> {
        let response = self.client.request(&Method::GET, location, &[]).ok()?;
        let sent = received(&response).filter(|sent| response.status == 204 && *sent <= self.size)?;
        Some((self.location(&response).unwrap_or_else(|_| location.clone()), sent))
    }

    /// Sends a request with the `left` bytes of the blob from `start` on.
    fn send(
        &self,
        method: &Method,
        url: &Uri,
        headers: &[(&'static str, String)],
        start: u64,
        left: u64,
    ) -> Result<HttpResponse, RetryError> {
        let headers: Vec<_> = headers.iter().cloned().chain([("content-length", left.to_string())]).collect();
        let response = self.client.send(method, url, &headers, &mut || {
            if left == 0 {
                return Ok(Box::new(io::empty()));
            }
            let mut file = self.store.open_blob(self.digest)?;
            file.seek(SeekFrom::Start(start)).with_context(|| format!("blob {}", self.digest))?;
            Ok(Box::new(CountingReader { inner: file.take(left), sent: start, progress: self.progress }))
        })?;
        match response.status {
            429 | 500 | 502..=504 => Err(response.into_transient_error()),
            _ => Ok(response),
        }
    }

    /// Returns the next upload URL of a response.
    fn location(&self, response: &HttpResponse) -> Result<Uri> {
        let location = url::resolve(&response.url, response.header("location")?)?;
        let plain = |url: &Uri| url::Origin::of(url).map(|origin| origin.is_plain());
        if plain(&location)? && !plain(&response.url)? {
            anyhow::bail!(coded!(RegistryPlain, "upload to {}: from https to http", url::shown(&location)));
        }
        Ok(location)
    }
}

/// Parses the received bytes: `Range: 0-99` are 100 bytes; registries send `0-0` for none.
fn received(response: &HttpResponse) -> Option<u64> {
    let text = response.find("range")?.trim();
    let (start, end) = text.strip_prefix("bytes=").unwrap_or(text).split_once('-')?;
    let end: u64 = end.parse().ok()?;
    (start == "0").then_some(if end == 0 { 0 } else { end.saturating_add(1) })
}

/// A reader that reports the bytes read.
struct CountingReader<'a, R> {
    inner: R,
    sent: u64,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl<R: Read> Read for CountingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sent += read as u64;
        (self.progress)(self.sent);
        Ok(read)
    }
}
