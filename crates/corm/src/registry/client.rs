//! A client for one repository of a registry: manifests and blobs.
//!
//! Each request has the current authorization, and is repeated with a new one when it is refused. Content is verified
//! by digest and length.

use base::coded;
use base::error::{Code, Coding as _};
use std::io::{self, Read as _, Write as _};

use anyhow::{Context as _, Result, anyhow, bail};
use ureq::SendBody;
use ureq::http::{Method, Uri};

use super::auth::Auth;
use super::credentials::{AuthSource, Credentials};
use super::http::{Http, HttpError, HttpRequest, HttpResponse, RetryError, Timeouts};
use super::tls;
use super::url::{self, Origin};
use crate::model::digest::Digest;
use crate::model::manifest;
use crate::model::manifest::ACCEPTED;
use crate::model::manifest::MAX_DOCUMENT;
use crate::model::secret::Secret;
use crate::registries::{Endpoint, Registries};
use crate::store::Partial;

/// Minimum bytes between two failures of a download to reset the count of failures.
const MIN_PROGRESS_BYTES: u64 = 1 << 20;

/// Authorizations for one request: an expired token, and its replacement.
const MAX_LOGINS: usize = 2;

/// Maximum number of URLs of a descriptor that are tried.
const MAX_URLS: usize = 4;

/// Options of the registry client.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether TLS is verified; absent: as registries.conf has it. If not, unknown certificate authorities and plain HTTP
    /// are accepted.
    pub tls_verify: Option<bool>,
    /// Time limits.
    pub timing: Timeouts,
    /// Where credentials come from.
    pub auth: AuthSource,
    /// Mirrors and other places of repositories.
    pub registries: Registries,
}

/// Access to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read access.
    Pull,
    /// Read and write access.
    Push,
    /// Access to remove manifests.
    Delete,
}

impl Access {
    /// Returns the actions of a scope.
    fn actions(self) -> &'static str {
        match self {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            // of all, because registries differ in the one that a removal needs
            Access::Delete => "pull,push,delete",
        }
    }
}

/// A repository of a registry.
#[derive(Debug)]
pub struct Client {
    http: Http,
    base: Uri,
    origin: Origin,
    path: String,
    auth: Auth,
}

/// A manifest or an index of the registry.
#[derive(Debug)]
pub struct ResolvedManifest {
    /// The bytes with this digest.
    pub bytes: Vec<u8>,
    /// Digest of the bytes.
    pub digest: Digest,
    /// The parsed document.
    pub document: manifest::Document,
}

impl Client {
    /// Probes `/v2/` for the scheme and the authentication method. Blobs may be mounted from the repositories `mount_from`.
    ///
    /// # Errors
    /// The server does not respond as a registry.
    pub fn connect(at: &Endpoint, access: Access, mount_from: &[String], options: &Options) -> Result<Self> {
        let given = options.auth.given.clone().filter(|_| at.named);
        let credentials = match given {
            None => options.auth.find(&at.registry, &at.path)?,
            given => given,
        };
        let mut scopes = vec![format!("repository:{}:{}", at.path, access.actions())];
        scopes.extend(mount_from.iter().map(|path| format!("repository:{path}:pull")));
        Self::connect_as(at, credentials, scopes, options)
    }

    /// Probes `/v2/` as [`Client::connect`] does, for requests with these credentials and scopes.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub(super) fn connect_as(
        at: &Endpoint,
        credentials: Option<Credentials>,
        scopes: Vec<String>,
        options: &Options,
    ) -> Result<Self> {
        let registry = at.registry.as_str();
        let tls_verify = options.tls_verify.unwrap_or(!at.insecure);
        let tls = tls::config(registry, tls_verify).code(Code::RegistryTls, "certificates")?;
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let bare = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(host, |(bare, _)| bare);
        let loopback = url::is_loopback(bare);
        let http = Http::new(tls, &options.timing, !loopback);
        let schemes: &[&str] = match (loopback, tls_verify) {
            // on this machine no other host can read the traffic, and TLS is rare
            (true, _) if options.tls_verify != Some(true) => &["http", "https"],
            (_, true) => &["https"],
            (_, false) => &["https", "http"],
        };
        let base = probe(&http, host, schemes).map_err(|err| name_ca(err, registry))?;
        let auth = Auth::new(credentials, scopes);
        Ok(Self { origin: Origin::of(&base)?, http, base, path: at.path.clone(), auth })
    }

    /// Returns the URL of the server.
    pub(super) fn base(&self) -> &Uri {
        &self.base
    }

    /// Returns the time limits.
    pub fn timing(&self) -> &Timeouts {
        self.http.timing()
    }

    /// Checks that the registry accepts the credentials.
    ///
    /// # Errors
    /// It does not, or is no registry.
    pub(super) fn check_login(&self) -> Result<()> {
        let url = url::resolve(&self.base, "/v2/")?;
        let response = self.timing().retry(|| self.request(&Method::GET, &url, &[]))?;
        match response.status {
            200 => Ok(()),
            _ => Err(response.into_error().context(url::shown(&url))),
        }
    }

    pub(super) fn url(&self, rest: &str) -> Result<Uri> {
        url::resolve(&self.base, &format!("/v2/{}/{rest}", self.path))
    }

    /// Sends a request without a body, with the current authorization.
    pub(super) fn request(
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

    /// Sends a request with a restartable body; redirects are not followed.
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
        mut request: impl FnMut(Option<(&'a Origin, Secret)>) -> Result<HttpResponse, RetryError>,
    ) -> Result<HttpResponse, RetryError> {
        for left in (0..=MAX_LOGINS).rev() {
            let header = self.auth.header();
            let response = request(header.clone().map(|header| (&self.origin, header))).map_err(|err| match err {
                RetryError::Permanent(error) if is_of_tls(&error) => RetryError::Permanent(name_ca(
                    error,
                    self.base.authority().map_or("", |authority| authority.as_str()),
                )),
                err => err,
            })?;
            // a refusal by the target of a redirect is not answered
            if response.status != 401 || Origin::of(&response.url)? != self.origin {
                return Ok(response);
            }
            if left == 0 {
                return Err(response.into_error().context("the login was not accepted").into());
            }
            self.auth.authenticate(&self.http, response, header.as_ref())?;
        }
        Err(anyhow!(coded!(RegistryAuth, "authentication failed")).into())
    }

    /// Fetches a manifest or an index by tag or digest; bounded, verified and parsed.
    ///
    /// # Errors
    /// The manifest is missing, or has another digest than expected.
    pub fn manifest(&self, version: &str) -> Result<ResolvedManifest> {
        let (bytes, declared) = self.raw_manifest(version)?;
        let document = manifest::parse(&bytes, declared.as_deref())?;
        Ok(ResolvedManifest { digest: Digest::of(&bytes), bytes, document })
    }

    /// Fetches the bytes of a manifest or an index, verified, with the media type that the registry states.
    ///
    /// # Errors
    /// As [`Client::manifest`].
    pub fn raw_manifest(&self, version: &str) -> Result<(Vec<u8>, Option<String>)> {
        let url = self.url(&format!("manifests/{version}"))?;
        let accept: Vec<_> = ACCEPTED.iter().map(|accepted| ("accept", (*accepted).to_owned())).collect();
        let (bytes, declared, promised) = self.timing().retry(|| {
            let response = self.request(&Method::GET, &url, &accept)?;
            if response.status != 200 {
                return Err(response.into_error().into());
            }
            let text = |name| response.find(name).map(str::to_owned);
            let (declared, promised) = (text("content-type"), text("docker-content-digest"));
            Ok((response.bytes(MAX_DOCUMENT)?, declared, promised))
        })?;
        let digest = Digest::of(&bytes);
        if declared.as_deref().is_some_and(|kind| kind.starts_with("text/html")) || bytes.starts_with(b"<") {
            bail!(coded!(RegistryAnswer, "{}: a web page answers there, no manifest", url::shown(&url)));
        }
        // a manifest by digest must match it, whatever a header states
        let requested = Digest::parse(version).ok();
        let promised = promised.and_then(|text| Digest::parse(&text).ok());
        if let Some(wanted) = requested.or(promised).filter(|wanted| *wanted != digest) {
            bail!(coded!(ImageDigest, "what came has the digest {digest} instead of {wanted}"));
        }
        Ok((bytes, declared))
    }

    /// Fetches a small blob.
    ///
    /// # Errors
    /// The blob is missing, or does not match its descriptor.
    pub fn small_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let bytes = self.timing().retry(|| {
            let response = self.request(&Method::GET, &url, &[])?;
            if response.status != 200 { Err(response.into_error().into()) } else { response.bytes(size) }
        })?;
        if bytes.len() as u64 != size || Digest::of(&bytes) != *digest {
            bail!(coded!(
                ImageDigest,
                "blob {digest}: what came is {} bytes with the digest {}",
                bytes.len(),
                Digest::of(&bytes)
            ));
        }
        Ok(bytes)
    }

    /// Fetches the rest of a blob from the registry, or where it has none from the URLs of its descriptor. `progress`
    /// repeatedly receives the number of bytes present, and can abort by an error.
    ///
    /// # Errors
    /// The content does not match, or the transfer stalls. The received bytes are kept for the next try. Of several places
    /// the registry's error.
    pub fn blob(
        &self,
        (digest, size): (&Digest, u64),
        urls: &[String],
        into: &mut Partial,
        progress: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()> {
        let missing = match self.blob_at(&self.url(&format!("blobs/{digest}"))?, (digest, size), into, progress) {
            Err(error) if is_missing(&error) => error,
            other => return other,
        };
        for url in urls.iter().take(MAX_URLS) {
            // as for a redirect, only http and https, and not from https to http; the login is not sent there
            let Ok(url) = url::resolve(&self.base, url) else { continue };
            if Origin::of(&url)?.is_plain() && !self.origin.is_plain() {
                continue;
            }
            match self.blob_at(&url, (digest, size), into, progress) {
                Err(error) if is_missing(&error) => {}
                other => return other,
            }
        }
        Err(missing)
    }

    /// Fetches the rest of a blob from a URL.
    fn blob_at(
        &self,
        url: &Uri,
        (digest, size): (&Digest, u64),
        into: &mut Partial,
        progress: &dyn Fn(u64) -> Result<()>,
    ) -> Result<()> {
        let mut failures = 0;
        loop {
            let before = into.len();
            let failure = match self.fetch_part(url, size, into, progress) {
                Ok(()) => return Ok(()),
                Err(failure) => failure.context(format!("blob {digest}")),
            };
            let RetryError::Transient { error, after } = failure else { return Err(failure.into_error()) };
            failures = if into.len() >= before.saturating_add(MIN_PROGRESS_BYTES) { 1 } else { failures + 1 };
            if failures >= self.timing().attempts {
                return Err(error);
            }
            self.timing().wait(failures, &error, after);
        }
    }

    /// Fetches the bytes of one response.
    fn fetch_part(
        &self,
        url: &Uri,
        size: u64,
        into: &mut Partial,
        progress: &dyn Fn(u64) -> Result<()>,
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
        let response = self.request(&Method::GET, url, &headers)?;
        match response.status {
            200 if into.is_empty() => {}
            200 => into.restart()?,
            206 if !into.is_empty() => check_range(&response, into.len(), size)?,
            416 => {
                into.restart()?;
                return Err(RetryError::transient(anyhow!(coded!(RegistryAnswer, "the rest is not available"))));
            }
            _ => return Err(response.into_error().into()),
        }
        let left = size - into.len();
        if let Some(length) = response.length()?.filter(|length| *length != left) {
            return Err(
                anyhow!(coded!(ImageDigest, "{length} bytes are announced, by the manifest it is {left}")).into()
            );
        }
        copy(response, left, into, progress)
    }
}

/// Returns whether a server has answered that it lacks the blob, or does not give it to this user.
fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<HttpError>().is_some_and(|error| matches!(error.status, 401 | 403 | 404 | 410))
}

fn copy(
    response: HttpResponse,
    mut left: u64,
    into: &mut Partial,
    progress: &dyn Fn(u64) -> Result<()>,
) -> Result<(), RetryError> {
    let mut reader = response.reader();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let read = match reader.read(&mut buffer) {
            // a connection that ended within the body
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => 0,
            other => other.map_err(|err| RetryError::transient(Code::RegistryCut.attach(err.into())))?,
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        if read as u64 > left {
            return Err(anyhow!(coded!(ImageInvalid, "longer than the manifest says")).into());
        }
        if read == 0 {
            return if left == 0 {
                Ok(())
            } else {
                Err(RetryError::transient(anyhow!(coded!(
                    RegistryCut,
                    "cut after {} of {} bytes",
                    into.len(),
                    into.len() + left
                ))))
            };
        }
        into.write_all(bytes).context("write the download")?;
        left -= read as u64;
        progress(into.len())?;
    }
}

/// Checks that a partial response begins at the requested offset, because an error would be detected only by the digest
/// at the end.
fn check_range(response: &HttpResponse, start: u64, size: u64) -> Result<()> {
    let text = response.header("content-range")?;
    let parse = || -> Option<(u64, Option<u64>)> {
        let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let whole = if whole == "*" { None } else { Some(whole.parse().ok()?) };
        Some((range.split_once('-')?.0.parse().ok()?, whole))
    };
    match parse() {
        Some((begin, whole)) if begin == start && whole.is_none_or(|whole| whole == size) => Ok(()),
        _ => bail!(coded!(RegistryAnswer, "content-range {text:?}: {start}- of {size} was requested")),
    }
}

/// Adds the name of the registry to an error, and for a certificate the place of its CA's.
fn name_ca(err: anyhow::Error, registry: &str) -> anyhow::Error {
    if is_of_tls(&err) {
        let place = format!("/etc/containers/certs.d/{registry}/ca.crt");
        let text = base::error::describe(&err);
        if text.ends_with(')') {
            return anyhow!(coded!(RegistryTls, "registry {registry}: {text}"));
        }
        return anyhow!(coded!(
            RegistryTls,
            "registry {registry}: {text} (put the CA's certificate into {place}, or use --tls-verify=false)"
        ));
    }
    err.context(format!("registry {registry}"))
}

/// Returns whether an error may be the answer of a server that requires TLS to a request without.
fn asks_for_tls(error: &anyhow::Error) -> bool {
    error.downcast_ref::<HttpError>().is_some_and(|error| error.status == 400)
}

/// Returns whether an error is about the certificate of a server.
fn is_of_tls(error: &anyhow::Error) -> bool {
    base::error::Report::of(error).code == Code::RegistryTls
}

/// Returns the registry's own place after a redirect of `/v2/`: the same host with a scheme that may be used, so that the
/// login is not sent elsewhere.
fn moved(response: &HttpResponse, schemes: &[&str]) -> Option<Uri> {
    if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let place = url::resolve(&response.url, response.find("location")?).ok()?;
    let scheme = schemes.iter().find(|scheme| place.scheme_str() == Some(scheme))?;
    let same = place.host() == response.url.host() && place.path().trim_end_matches('/') == "/v2";
    let authority = place.authority().filter(|_| same)?;
    format!("{scheme}://{authority}/").parse().ok()
}

/// Returns the first scheme by which a registry responds at `/v2/`. No secret is sent.
fn probe(http: &Http, host: &str, schemes: &[&str]) -> Result<Uri> {
    let base = |scheme: &str| -> Result<Uri> { format!("{scheme}://{host}/").parse().context("not a host") };
    // with one scheme there is no choice: the first request reports errors
    if let [only] = schemes {
        return base(only);
    }
    let mut last_error: Option<anyhow::Error> = None;
    let mut todo = schemes.iter().map(|scheme| base(scheme)).collect::<Result<Vec<Uri>>>()?;
    let mut next = 0;
    while let Some(base) = todo.get(next).cloned() {
        next += 1;
        let url = url::resolve(&base, "/v2/")?;
        let request = HttpRequest { method: Method::GET, url, headers: Vec::new(), authorization: None };
        match http.once(&request, SendBody::none()) {
            Ok(response) if matches!(response.status, 200 | 401 | 403 | 429 | 500..) => return Ok(base),
            Ok(response) if moved(&response, schemes).is_some_and(|place| !todo.contains(&place)) => {
                todo.extend(moved(&response, schemes));
            }
            // servers that require TLS respond so; the error of the TLS connection says more
            Ok(response) => {
                let refused = response.into_error();
                let refused = refused.context(coded!(RegistryAnswer, "the response is not that of a registry"));
                last_error.get_or_insert(refused);
            }
            Err(failure) => {
                let error = failure.into_error();
                // a refused certificate is the cause, whatever plain HTTP answers before or after it
                if last_error.as_ref().is_none_or(|last| asks_for_tls(last) || is_of_tls(&error) && !is_of_tls(last)) {
                    last_error = Some(error);
                }
            }
        }
    }
    Err(last_error.unwrap_or_else(|| anyhow!(coded!(RegistryAnswer, "no scheme to try"))))
}
