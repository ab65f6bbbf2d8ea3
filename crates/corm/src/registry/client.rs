//! One repository of one registry: its manifests, its blobs, and what is done with them.
//!
//! Each request is created with the login of the moment and once more with a new one when that is refused. What comes is
//! compared with what was promised: a digest, a length.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, anyhow, bail};
use ureq::SendBody;
use ureq::http::{Method, Uri};

use super::auth::Auth;
use super::http::{Http, HttpError, HttpRequest, HttpResponse, RetryError, Timeouts};
use super::url::{self, Origin};
use super::{credentials, tls};
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::manifest::ACCEPTED;
use crate::model::manifest::MAX_DOCUMENT;
use crate::model::reference::Reference;
use crate::store::Partial;

/// What comes between two failures of a download for the second to count as the first.
const PROGRESS: u64 = 1 << 20;

/// Logins for one request: an old token that has expired, and its successor.
const LOGINS: usize = 2;

/// How to talk to registries.
#[derive(Debug, Clone)]
pub struct Options {
    /// Off: certificates that no known authority signed, and plain HTTP where there is no encryption.
    pub tls_verify: bool,
    /// How long things may take.
    pub timing: Timeouts,
}

/// What the repository is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Writing, and reading what is there.
    Push,
}

/// A repository.
#[derive(Debug)]
pub struct Client {
    http: Http,
    base: Uri,
    origin: Origin,
    path: String,
    auth: Auth,
}

/// A manifest or an index as the registry has it.
#[derive(Debug)]
pub struct ResolvedManifest {
    /// The bytes, which the digest is of.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
    /// What they are.
    pub document: manifest::Document,
}

impl Client {
    /// Finds out how the registry is spoken to. `beside` are repositories of the same registry to take blobs from.
    ///
    /// # Errors
    /// It does not answer as a registry.
    pub fn connect(name: &Reference, access: Access, beside: &[String], options: &Options) -> Result<Self> {
        let registry = name.registry();
        let tls = tls::config(registry, options.tls_verify).context("certificates")?;
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let bare = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(bare, _)| bare);
        let loopback = url::is_loopback(bare);
        let http = Http::new(tls, &options.timing, !loopback);
        let schemes: &[&str] = match (loopback, options.tls_verify) {
            // on this machine no one else reads it on the way, and encryption is rare
            (true, _) => &["http", "https"],
            (false, true) => &["https"],
            (false, false) => &["https", "http"],
        };
        let base = probe(&http, host, schemes).with_context(|| format!("registry {registry}"))?;
        let actions = if access == Access::Push { "pull,push" } else { "pull" };
        let mut scopes = vec![format!("repository:{}:{actions}", name.path())];
        scopes.extend(beside.iter().map(|path| format!("repository:{path}:pull")));
        let auth = Auth::new(credentials::find(registry, name.path())?, scopes);
        Ok(Self { origin: Origin::of(&base)?, http, base, path: name.path().to_owned(), auth })
    }

    /// How long things may take.
    pub fn timing(&self) -> &Timeouts {
        self.http.timing()
    }

    pub(super) fn url(&self, rest: &str) -> Result<Uri> {
        url::resolve(&self.base, &format!("/v2/{}/{rest}", self.path))
    }

    /// A request without a body, with the login of the moment.
    pub(super) fn ask(
        &self,
        method: &Method,
        url: &Uri,
        headers: &[(&'static str, String)],
    ) -> Result<HttpResponse, RetryError> {
        self.logged_in(|authorization| {
            let (method, url, headers) = (method.clone(), url.clone(), headers.to_vec());
            self.http.follow(HttpRequest { method, url, headers, authorization })
        })
    }

    /// A request with a body that can be begun anew; no redirect is followed.
    pub(super) fn send<'b>(
        &self,
        method: &Method,
        url: &Uri,
        headers: &[(&'static str, String)],
        body: &mut dyn FnMut() -> Result<Box<dyn std::io::Read + 'b>>,
    ) -> Result<HttpResponse, RetryError> {
        self.logged_in(|authorization| {
            let (method, url, headers) = (method.clone(), url.clone(), headers.to_vec());
            let mut body = body()?;
            self.http.once(&HttpRequest { method, url, headers, authorization }, SendBody::from_reader(&mut body))
        })
    }

    fn logged_in<'a>(
        &'a self,
        mut request: impl FnMut(Option<(&'a Origin, credentials::Secret)>) -> Result<HttpResponse, RetryError>,
    ) -> Result<HttpResponse, RetryError> {
        for left in (0..=LOGINS).rev() {
            let header = self.auth.header();
            let answer = request(header.clone().map(|header| (&self.origin, header)))?;
            // another server's refusal (a redirect's) is no question to us
            if answer.status != 401 || Origin::of(&answer.url)? != self.origin {
                return Ok(answer);
            }
            if left == 0 {
                return Err(anyhow::Error::new(answer.refused()).context("the login was not accepted").into());
            }
            self.auth.answer(&self.http, answer, header.as_ref())?;
        }
        Err(anyhow!("no login was accepted").into())
    }

    /// Fetches a manifest or an index by tag or digest; bounded, verified and parsed.
    ///
    /// # Errors
    /// It is not there, or is not what was promised.
    pub fn manifest(&self, version: &str) -> Result<ResolvedManifest> {
        let url = self.url(&format!("manifests/{version}"))?;
        let accept: Vec<_> = ACCEPTED.iter().map(|accepted| ("accept", (*accepted).to_owned())).collect();
        let (bytes, declared, promised) = self.timing().retry(|| {
            let answer = self.ask(&Method::GET, &url, &accept)?;
            if answer.status != 200 {
                return Err(anyhow::Error::new(answer.refused()).into());
            }
            let text = |name| answer.find(name).map(str::to_owned);
            let (declared, promised) = (text("content-type"), text("docker-content-digest"));
            Ok((answer.bytes(MAX_DOCUMENT)?, declared, promised))
        })?;
        let digest = Digest::of(&bytes);
        // by digest it has to be that, whatever a header says
        let asked = Digest::parse(version).ok();
        let promised = promised.and_then(|text| Digest::parse(&text).ok());
        if let Some(wanted) = asked.or(promised).filter(|wanted| *wanted != digest) {
            bail!("what came has the digest {digest} instead of {wanted}");
        }
        let document = manifest::parse(&bytes, declared.as_deref())?;
        Ok(ResolvedManifest { bytes, digest, document })
    }

    /// Fetches a small blob whole.
    ///
    /// # Errors
    /// It is not there, or not what its descriptor says.
    pub fn small_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let bytes = self.timing().retry(|| {
            let answer = self.ask(&Method::GET, &url, &[])?;
            if answer.status != 200 { Err(anyhow::Error::new(answer.refused()).into()) } else { answer.bytes(size) }
        })?;
        if bytes.len() as u64 != size || Digest::of(&bytes) != *digest {
            bail!("blob {digest}: what came is {} bytes with the digest {}", bytes.len(), Digest::of(&bytes));
        }
        Ok(bytes)
    }

    /// Fetches the rest of a blob. `passed` is told of the bytes that are there, again and again, and can end it.
    ///
    /// # Errors
    /// The registry has something else, or nothing comes any more. What came stays for the next time.
    pub fn blob(
        &self,
        digest: &Digest,
        size: u64,
        into: &mut Partial,
        passed: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let mut failures = 0;
        loop {
            let before = into.len();
            let failure = match self.piece(&url, size, into, passed) {
                Ok(()) => return Ok(()),
                Err(failure) => failure.context(format!("blob {digest}")),
            };
            let RetryError::Transient { error, after } = failure else { return Err(failure.into_error()) };
            failures = if into.len() >= before.saturating_add(PROGRESS) { 1 } else { failures + 1 };
            if failures >= self.timing().attempts {
                return Err(error);
            }
            self.timing().wait(failures, after);
        }
    }

    /// As much as one answer brings.
    fn piece(
        &self,
        url: &Uri,
        size: u64,
        into: &mut Partial,
        passed: &dyn Fn(u64) -> Result<()>,
    ) -> Result<(), RetryError> {
        if into.len() > size {
            into.restart()?;
        }
        if into.len() == size {
            return Ok(());
        }
        let mut headers = Vec::new();
        if !into.is_empty() {
            headers.push(("range", format!("bytes={}-", into.len())));
        }
        let answer = self.ask(&Method::GET, url, &headers)?;
        match answer.status {
            200 if into.is_empty() => {}
            200 => into.restart()?,
            206 if !into.is_empty() => check_range(&answer, into.len(), size)?,
            416 => {
                into.restart()?;
                return Err(RetryError::passing(anyhow!("the rest of it cannot be had")));
            }
            _ => return Err(anyhow::Error::new(answer.refused()).into()),
        }
        let left = size - into.len();
        if let Some(length) = answer.length()?.filter(|length| *length != left) {
            return Err(anyhow!("{length} bytes are announced, the manifest says {left}").into());
        }
        copy(answer, left, into, passed)
    }
}

fn copy(
    answer: HttpResponse,
    mut left: u64,
    into: &mut Partial,
    passed: &dyn Fn(u64) -> Result<()>,
) -> Result<(), RetryError> {
    let mut reader = answer.reader();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = reader.read(&mut buffer).map_err(RetryError::passing)?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if read as u64 > left {
            return Err(anyhow!("longer than the manifest says").into());
        }
        if read == 0 {
            return if left == 0 { Ok(()) } else { Err(RetryError::passing(anyhow!("ended {left} bytes early"))) };
        }
        into.write_all(bytes).context("write the download")?;
        left -= read as u64;
        passed(into.len())?;
    }
}

/// A piece has to begin where we are: anything else would be noticed only at the digest, after all of it.
fn check_range(answer: &HttpResponse, start: u64, size: u64) -> Result<()> {
    let text = answer.header("content-range")?;
    let parse = || -> Option<(u64, Option<u64>)> {
        let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let whole = if whole == "*" { None } else { Some(whole.parse().ok()?) };
        Some((range.split_once('-')?.0.parse().ok()?, whole))
    };
    match parse() {
        Some((begin, whole)) if begin == start && whole.is_none_or(|whole| whole == size) => Ok(()),
        _ => bail!("content-range {text:?}: {start}- of {size} was asked for"),
    }
}

/// The first scheme by which a registry answers at `/v2/`. No secret is sent.
fn probe(http: &Http, host: &str, schemes: &[&str]) -> Result<Uri> {
    let base = |scheme: &str| -> Result<Uri> { format!("{scheme}://{host}/").parse().context("not a host") };
    // nothing to find out: the first real request tells what is wrong
    if let [only] = schemes {
        return base(only);
    }
    let mut last_error: Option<anyhow::Error> = None;
    for scheme in schemes {
        let base = base(scheme)?;
        let url = url::resolve(&base, "/v2/")?;
        let ask = HttpRequest { method: Method::GET, url, headers: Vec::new(), authorization: None };
        match http.once(&ask, SendBody::none()) {
            Ok(answer) if matches!(answer.status, 200 | 401 | 403 | 429 | 500..) => return Ok(base),
            // a server for encrypted connections complains so; why that does not work either says more
            Ok(answer) => {
                let refused = anyhow::Error::new(answer.refused()).context("it does not answer as a registry");
                last_error.get_or_insert(refused);
            }
            Err(failure) if last_error.as_ref().is_none_or(|told| told.is::<HttpError>()) => {
                last_error = Some(failure.into_error());
            }
            Err(_) => {}
        }
    }
    Err(last_error.unwrap_or_else(|| anyhow!("no scheme to try")))
}
