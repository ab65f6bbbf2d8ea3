//! HTTP for untrusted servers: bounded redirects, bounded time, secrets only for their origin.
//!
//! Errors are classified as transient or permanent; the callers retry.

use base::coded;
use base::error::{Code, Coding as _};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use ureq::http::{HeaderMap, Method, Request, Uri};
use ureq::{Agent, Body, BodyReader, SendBody};

use super::connector::connector;
use super::resolver::TimedResolver;
use super::url::{self, Origin};
use crate::model::secret::Secret;
use crate::progress;
use base::error::describe;

/// Maximum number of redirects, more than any registry behind a content network uses.
const MAX_REDIRECTS: usize = 5;

/// Maximum bytes read of an error response.
const MAX_ERROR_BODY: u64 = 64 << 10;

/// Maximum of a `Retry-After` header.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Time limits of requests.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Time to connect, TLS handshake included.
    pub connect: Duration,
    /// Time to the response headers.
    pub answer: Duration,
    /// Time to the next byte.
    pub idle: Duration,
    /// Interval of the speed check.
    pub span: Duration,
    /// Minimum number of bytes in each interval of the speed check.
    pub span_bytes: u64,
    /// Maximum number of tries of a request.
    pub attempts: u32,
    /// Time before the second try; it doubles with each.
    pub backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            idle: Duration::from_secs(30),
            span: Duration::from_secs(30),
            span_bytes: 32 << 10,
            attempts: 5,
            backoff: Duration::from_millis(500),
        }
    }
}

impl Timeouts {
    /// Waits before the next try after `failures`, the last one with `error`: as the server requested, or twice the
    /// previous time. Each try is reported. A server that asks for more than corm waits is reported, too, because the tries
    /// may be in vain.
    pub fn wait(&self, failures: u32, error: &anyhow::Error, retry_after: Option<Duration>) {
        if let Some(asked) = retry_after.filter(|asked| *asked > MAX_WAIT) {
            let (asked, own, left) = (asked.as_secs(), MAX_WAIT.as_secs(), self.attempts.saturating_sub(failures));
            progress::notice(&format!(
                "corm: warning: the server asks to wait {asked} seconds; corm waits {own} and tries {left} times more"
            ));
        }
        let doubled = self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(8));
        let pause = retry_after.unwrap_or(doubled).min(MAX_WAIT);
        progress::notice(&format!(
            "corm: warning: {}; try {} of {} in {:.1} s",
            describe(error),
            failures.saturating_add(1),
            self.attempts,
            pause.as_secs_f64()
        ));
        std::thread::sleep(pause);
    }

    /// Repeats `step` after transient errors.
    ///
    /// # Errors
    /// The last error.
    pub fn retry<T>(&self, mut step: impl FnMut() -> Result<T, RetryError>) -> anyhow::Result<T> {
        let mut failures = 0;
        loop {
            match step() {
                Ok(done) => return Ok(done),
                Err(RetryError::Permanent(error)) => return Err(error),
                Err(RetryError::Transient { error, after }) => {
                    failures += 1;
                    if failures >= self.attempts {
                        return Err(error);
                    }
                    self.wait(failures, &error, after);
                }
            }
        }
    }
}

/// An error of a request.
#[derive(Debug)]
pub enum RetryError {
    /// A transient error: a retry may succeed.
    Transient {
        /// The cause.
        error: anyhow::Error,
        /// Time to wait, as the server requested.
        after: Option<Duration>,
    },
    /// A permanent error.
    Permanent(anyhow::Error),
}

impl RetryError {
    /// Creates a transient error.
    pub fn transient(error: impl Into<anyhow::Error>) -> Self {
        Self::Transient { error: error.into(), after: None }
    }

    /// Adds context.
    pub fn context(self, text: impl fmt::Display + Send + Sync + 'static) -> Self {
        match self {
            Self::Transient { error, after } => Self::Transient { error: error.context(text), after },
            Self::Permanent(error) => Self::Permanent(error.context(text)),
        }
    }

    /// Returns the cause, when no retry follows.
    pub fn into_error(self) -> anyhow::Error {
        match self {
            Self::Transient { error, .. } | Self::Permanent(error) => error,
        }
    }
}

impl From<anyhow::Error> for RetryError {
    fn from(error: anyhow::Error) -> Self {
        Self::Permanent(error)
    }
}

/// A response with an error status.
#[derive(Debug)]
pub struct HttpError {
    /// HTTP status code.
    pub status: u16,
    /// The registry's error message; empty for none.
    pub text: String,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}", self.status)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ", {}", self.text) }
    }
}

impl std::error::Error for HttpError {}

/// An HTTP request.
pub(super) struct HttpRequest<'a> {
    /// HTTP method.
    pub method: Method,
    /// URL of the request.
    pub url: Uri,
    /// Headers, except the authorization.
    pub headers: Vec<(&'static str, String)>,
    /// The authorization, and the only origin that it is sent to.
    pub authorization: Option<(&'a Origin, Secret)>,
}

/// Response headers, and the unread body.
pub(super) struct HttpResponse {
    /// URL of the response, after all redirects.
    pub url: Uri,
    /// HTTP status code.
    pub status: u16,
    /// Response headers.
    pub headers: HeaderMap,
    body: Body,
    timing: Timeouts,
}

/// An HTTP client.
#[derive(Debug, Clone)]
pub(super) struct Http {
    agent: Agent,
    timing: Timeouts,
}

impl Http {
    /// Creates a client with the certificates of `tls`; a proxy of the environment is used for `proxied` hosts.
    pub(super) fn new(tls: Arc<rustls::ClientConfig>, timing: &Timeouts, proxied: bool) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // `follow` checks each redirect
            .max_redirects(0)
            .user_agent(concat!("corm/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(timing.connect))
            .timeout_resolve(Some(timing.connect))
            .timeout_recv_response(Some(timing.answer))
            .timeout_per_read(Some(timing.idle))
            .timeout_per_write(Some(timing.idle));
        if !proxied {
            config = config.proxy(None);
        }
        let agent = Agent::with_parts(config.build(), connector(tls), TimedResolver);
        Self { agent, timing: timing.clone() }
    }

    /// Returns the time limits.
    pub(super) fn timing(&self) -> &Timeouts {
        &self.timing
    }

    /// Sends one request and returns its response, whatever the status; redirects are not followed.
    pub(super) fn once(&self, request: &HttpRequest<'_>, body: SendBody<'_>) -> Result<HttpResponse, RetryError> {
        let origin = Origin::of(&request.url)?;
        let mut builder = Request::builder().method(&request.method).uri(&request.url);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some((to, secret)) = &request.authorization
            && **to == origin
        {
            builder = builder.header("authorization", secret.expose());
        }
        let context = || format!("{} {}", request.method, url::shown(&request.url));
        let builder = builder.body(body).with_context(context)?;
        let response = self.agent.run(builder).map_err(|error| classify(error).context(context()))?;
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status.as_u16(), head.headers);
        Ok(HttpResponse { url: request.url.clone(), status, headers, body, timing: self.timing.clone() })
    }

    /// Sends a request without a body and follows redirects; a busy server is a transient error.
    pub(super) fn follow(&self, mut request: HttpRequest<'_>) -> Result<HttpResponse, RetryError> {
        let first = Origin::of(&request.url)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.once(&request, SendBody::none())?;
            match response.status {
                301 | 302 | 303 | 307 | 308 => {}
                429 | 500 | 502..=504 => return Err(response.into_transient_error()),
                _ => return Ok(response),
            }
            let context = || format!("redirect from {}", url::shown(&request.url));
            let location = response.header("location").with_context(context)?;
            let next = url::resolve(&request.url, location).with_context(context)?;
            if !first.is_plain() && Origin::of(&next)?.is_plain() {
                let error = anyhow!(coded!(RegistryPlain, "to {}: from https to http", url::shown(&next)));
                return Err(error.context(context()).into());
            }
            request.url = next;
        }
        Err(anyhow!(coded!(RegistryAnswer, "{}: more than {MAX_REDIRECTS} redirects", url::shown(&request.url))).into())
    }
}

impl HttpResponse {
    /// Returns a header's text.
    ///
    /// # Errors
    /// The header is missing.
    pub(super) fn header(&self, name: &str) -> anyhow::Result<&str> {
        self.find(name).with_code(Code::RegistryFailed, || {
            format!("no {name} header in the response with HTTP status {}", self.status)
        })
    }

    /// Returns a header's text; `None` when it is missing or no text.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the announced length.
    ///
    /// # Errors
    /// The header is no number.
    pub(super) fn length(&self) -> anyhow::Result<Option<u64>> {
        match self.find("content-length") {
            Some(text) => Ok(Some(text.trim().parse().with_context(|| format!("content-length {text:?}"))?)),
            None => Ok(None),
        }
    }

    /// Returns the body, limited by the minimum speed.
    pub(super) fn reader(self) -> impl Read {
        MinSpeedReader::new(self.body.into_with_config().limit(u64::MAX).reader(), &self.timing)
    }

    /// Reads the whole body, at most `max` bytes.
    pub(super) fn bytes(self, max: u64) -> Result<Vec<u8>, RetryError> {
        let what = format!("response of {}", url::shown(&self.url));
        let announced = self.length()?;
        let mut bytes = Vec::new();
        let read = self.reader().take(max.saturating_add(1)).read_to_end(&mut bytes);
        if bytes.len() as u64 > max {
            return Err(anyhow!(coded!(RegistryAnswer, "{what}: more than {max} bytes")).into());
        }
        read.map_err(|error| RetryError::transient(error).context(what.clone()))?;
        if announced.is_some_and(|announced| announced != bytes.len() as u64) {
            return Err(RetryError::transient(anyhow!(coded!(RegistryCut, "{what}: ended early"))));
        }
        Ok(bytes)
    }

    /// Converts the response to an error, with the registry's message.
    pub(super) fn into_http_error(self) -> HttpError {
        let status = self.status;
        let text = self.bytes(MAX_ERROR_BODY).map(|bytes| error_message(&bytes)).unwrap_or_default();
        HttpError { status, text }
    }

    /// Converts the response to an error with a code.
    pub(super) fn into_error(self) -> anyhow::Error {
        let error = self.into_http_error();
        let code = match error.status {
            401 | 403 => Code::RegistryAuth,
            404 => Code::RegistryNotFound,
            429 => Code::RegistryLimit,
            _ => Code::RegistryFailed,
        };
        code.attach(error.into())
    }

    /// Converts the response to a transient error.
    pub(super) fn into_transient_error(self) -> RetryError {
        let after = self.find("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let url = url::shown(&self.url);
        let error = self.into_error().context(url);
        RetryError::Transient { error, after }
    }
}

/// Returns the codes and messages of the distribution project's error format; other bodies are ignored.
pub(super) fn error_message(bytes: &[u8]) -> String {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return String::new() };
    let errors = document.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |error: &Value, key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let all: Vec<String> =
        errors.iter().take(3).map(|error| format!("{}: {}", text(error, "code"), text(error, "message"))).collect();
    // printed on a terminal
    all.join(", ").chars().filter(|letter| !letter.is_control()).take(300).collect()
}

fn classify(error: ureq::Error) -> RetryError {
    match error {
        ureq::Error::Io(error) => classify_io(error),
        ureq::Error::Timeout(what) => RetryError::transient(anyhow!(coded!(RegistryUnreachable, "timed out ({what})"))),
        ureq::Error::Protocol(error) => RetryError::transient(anyhow!(coded!(RegistryAnswer, "not HTTP: {error}"))),
        ureq::Error::HostNotFound => anyhow!(coded!(RegistryUnreachable, "no such host")).into(),
        ureq::Error::Rustls(error) => of_tls(&error).into(),
        other => anyhow::Error::new(other).into(),
    }
}

/// Returns the error of a TLS connection: a certificate that is not trusted, or a server that does not speak TLS.
fn of_tls(error: &rustls::Error) -> anyhow::Error {
    match error {
        rustls::Error::InvalidMessage(_) => {
            anyhow!(coded!(RegistryPlain, "the server does not speak TLS but probably plain HTTP: {error}"))
        }
        // a certificate that is its own authority
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(_)) => {
            anyhow!(coded!(
                RegistryTls,
                "the certificate is not trusted: it is signed by itself, or its form is not accepted"
            ))
        }
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            anyhow!(coded!(RegistryTls, "the certificate is not trusted: it is signed by an unknown authority"))
        }
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::NotValidForName | rustls::CertificateError::NotValidForNameContext { .. },
        ) => anyhow!(coded!(RegistryTls, "the certificate is not for this name")),
        rustls::Error::InvalidCertificate(
            rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
        ) => anyhow!(coded!(RegistryTls, "the certificate has expired")),
        rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired) => {
            anyhow!(coded!(
                RegistryTls,
                "the server wants a client certificate (put client.cert and client.key beside ca.crt in certs.d)"
            ))
        }
        _ => anyhow!(coded!(RegistryTls, "{error}")),
    }
}

fn classify_io(error: io::Error) -> RetryError {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return of_tls(error).into();
    }
    let lost = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::TimedOut,
        io::ErrorKind::WouldBlock,
        io::ErrorKind::Interrupted,
    ];
    if lost.contains(&error.kind()) {
        RetryError::transient(Code::RegistryCut.attach(error.into()))
    } else {
        RetryError::Permanent(Code::RegistryUnreachable.attach(error.into()))
    }
}

/// A body with a minimum speed. Only the time spent waiting for data counts.
struct MinSpeedReader<'a> {
    inner: BodyReader<'a>,
    span: Duration,
    span_bytes: u64,
    waited: Duration,
    bytes: u64,
}

impl<'a> MinSpeedReader<'a> {
    fn new(inner: BodyReader<'a>, timing: &Timeouts) -> Self {
        Self { inner, span: timing.span, span_bytes: timing.span_bytes, waited: Duration::ZERO, bytes: 0 }
    }
}

impl Read for MinSpeedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begin = Instant::now();
        let read = self.inner.read(buffer)?;
        self.waited += begin.elapsed();
        self.bytes += read as u64;
        if self.waited >= self.span {
            if self.bytes < self.span_bytes && read > 0 {
                let text = format!("only {} bytes came in {:?}", self.bytes, self.waited);
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_short_and_printable() {
        let table: &[(&str, &str)] = &[
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                "MANIFEST_UNKNOWN: manifest unknown",
            ),
            ("{\"errors\":[{\"code\":\"A\\u001b[2J\",\"message\":\"x\\ny\"}]}", "A[2J: xy"),
            ("<html>", ""),
            ("{}", ""),
        ];
        for (body, want) in table {
            assert_eq!(error_message(body.as_bytes()), *want);
        }
        let long = format!(r#"{{"errors":[{{"code":"{}"}}]}}"#, "x".repeat(10_000));
        assert_eq!(error_message(long.as_bytes()).len(), 300);
    }
}
