//! Requests as a hostile server may answer them: bounded redirects, bounded time, secrets only to whom they belong.
//!
//! What is worth another try is told apart from what is not; who tries again, and what a body is for, is not known here.

use std::fmt;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::Value;
use ureq::http::{HeaderMap, Method, Request, Uri};
use ureq::{Agent, Body, BodyReader, SendBody};

use super::credentials::Secret;
use super::url::{self, Origin};

/// More than any registry behind a content network uses.
const MAX_REDIRECTS: usize = 5;

/// What is read of an error page.
const MAX_COMPLAINT: u64 = 64 << 10;

/// Longest wait that a server can ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Until a connection stands, its encryption included.
    pub connect: Duration,
    /// Until the head of an answer is there.
    pub answer: Duration,
    /// Until the next byte.
    pub idle: Duration,
    /// In each of these spans...
    pub span: Duration,
    /// ...so many bytes have to come.
    pub span_bytes: u64,
    /// Tries of one request.
    pub attempts: u32,
    /// The wait before the second try; it doubles with each.
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
    /// Waits before the next try after `failures` of them, as the server asked or twice as long as the last time.
    pub fn wait(&self, failures: u32, asked: Option<Duration>) {
        let doubled = self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(8));
        std::thread::sleep(asked.unwrap_or(doubled).min(MAX_WAIT));
    }

    /// Does it again while that can help.
    ///
    /// # Errors
    /// The last one.
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
                    self.wait(failures, after);
                }
            }
        }
    }
}

/// Why something did not work.
#[derive(Debug)]
pub enum RetryError {
    /// It may work a moment later.
    Transient {
        /// What was wrong.
        error: anyhow::Error,
        /// When the server wants to be asked again.
        after: Option<Duration>,
    },
    /// It will not.
    Permanent(anyhow::Error),
}

impl RetryError {
    /// One that may pass.
    pub fn passing(error: impl Into<anyhow::Error>) -> Self {
        Self::Transient { error: error.into(), after: None }
    }

    /// The same, with what was being done.
    pub fn context(self, text: impl fmt::Display + Send + Sync + 'static) -> Self {
        match self {
            Self::Transient { error, after } => Self::Transient { error: error.context(text), after },
            Self::Permanent(error) => Self::Permanent(error.context(text)),
        }
    }

    /// What was wrong, when it is not tried again.
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

/// An answer that is no success.
#[derive(Debug)]
pub struct HttpError {
    /// Of HTTP.
    pub status: u16,
    /// What the registry says about it; empty for nothing.
    pub text: String,
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP status {}", self.status)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, " ({})", self.text) }
    }
}

impl std::error::Error for HttpError {}

/// One request.
pub(super) struct HttpRequest<'a> {
    /// GET, HEAD and so on.
    pub method: Method,
    /// Of whom.
    pub url: Uri,
    /// Besides the authorization.
    pub headers: Vec<(&'static str, String)>,
    /// A secret, and to whom alone it is told.
    pub authorization: Option<(&'a Origin, Secret)>,
}

/// The head of an answer, and the body to read.
pub(super) struct HttpResponse {
    /// Who answered, after all redirects.
    pub url: Uri,
    /// Of HTTP.
    pub status: u16,
    /// Its head.
    pub headers: HeaderMap,
    body: Body,
    timing: Timeouts,
}

/// Makes requests.
#[derive(Debug, Clone)]
pub(super) struct Http {
    agent: Agent,
    timing: Timeouts,
}

impl Http {
    /// With the certificates of `tls`; a proxy of the environment is used for `proxied` hosts.
    pub(super) fn new(tls: ureq::tls::TlsConfig, timing: &Timeouts, proxied: bool) -> Self {
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // each hop is looked at before it is taken
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
        Self { agent: config.build().new_agent(), timing: timing.clone() }
    }

    /// How long things may take.
    pub(super) fn timing(&self) -> &Timeouts {
        &self.timing
    }

    /// One request and its answer, whatever it is; no redirect is followed.
    pub(super) fn once(&self, ask: &HttpRequest<'_>, body: SendBody<'_>) -> Result<HttpResponse, RetryError> {
        let origin = Origin::of(&ask.url)?;
        let mut request = Request::builder().method(&ask.method).uri(&ask.url);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        if let Some((to, secret)) = &ask.authorization
            && **to == origin
        {
            request = request.header("authorization", secret.expose());
        }
        let context = || format!("{} {}", ask.method, url::shown(&ask.url));
        let request = request.body(body).with_context(context)?;
        let answer = self.agent.run(request).map_err(|error| classify(error).context(context()))?;
        let (head, body) = answer.into_parts();
        let (status, headers) = (head.status.as_u16(), head.headers);
        Ok(HttpResponse { url: ask.url.clone(), status, headers, body, timing: self.timing.clone() })
    }

    /// A request without a body, led on by redirects; a server that is busy counts as a failure that may pass.
    pub(super) fn follow(&self, mut ask: HttpRequest<'_>) -> Result<HttpResponse, RetryError> {
        let first = Origin::of(&ask.url)?;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.once(&ask, SendBody::none())?;
            match answer.status {
                301 | 302 | 303 | 307 | 308 => {}
                429 | 500 | 502..=504 => return Err(answer.busy()),
                _ => return Ok(answer),
            }
            let context = || format!("redirect from {}", url::shown(&ask.url));
            let location = answer.header("location").with_context(context)?;
            let next = url::resolve(&ask.url, location).with_context(context)?;
            if !first.is_plain() && Origin::of(&next)?.is_plain() {
                let error = anyhow!("to {}: from https to http", url::shown(&next));
                return Err(error.context(context()).into());
            }
            ask.url = next;
        }
        Err(anyhow!("{}: more than {MAX_REDIRECTS} redirects", url::shown(&ask.url)).into())
    }
}

impl HttpResponse {
    /// One header, if it is text.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn header(&self, name: &str) -> anyhow::Result<&str> {
        self.find(name).with_context(|| format!("no {name} header in the answer"))
    }

    /// One header, if it is there and text.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The length that was announced.
    ///
    /// # Errors
    /// It is no number.
    pub(super) fn length(&self) -> anyhow::Result<Option<u64>> {
        match self.find("content-length") {
            Some(text) => Ok(Some(text.trim().parse().with_context(|| format!("content-length {text:?}"))?)),
            None => Ok(None),
        }
    }

    /// The body, as far as it comes at an acceptable pace.
    pub(super) fn reader(self) -> impl Read {
        MinSpeedReader::new(self.body.into_with_config().limit(u64::MAX).reader(), &self.timing)
    }

    /// The whole body, of which only `max` bytes are taken.
    pub(super) fn bytes(self, max: u64) -> Result<Vec<u8>, RetryError> {
        let what = format!("answer of {}", url::shown(&self.url));
        let announced = self.length()?;
        let mut bytes = Vec::new();
        let read = self.reader().take(max.saturating_add(1)).read_to_end(&mut bytes);
        if bytes.len() as u64 > max {
            return Err(anyhow!("{what}: more than {max} bytes").into());
        }
        read.map_err(|error| RetryError::passing(error).context(what.clone()))?;
        if announced.is_some_and(|announced| announced != bytes.len() as u64) {
            return Err(RetryError::passing(anyhow!("{what}: ended early")));
        }
        Ok(bytes)
    }

    /// The failure that this answer is, with what the registry says about it.
    pub(super) fn refused(self) -> HttpError {
        let status = self.status;
        let text = self.bytes(MAX_COMPLAINT).map(|bytes| error_message(&bytes)).unwrap_or_default();
        HttpError { status, text }
    }

    /// The same, for one that may pass.
    pub(super) fn busy(self) -> RetryError {
        let after = self.find("retry-after").and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let url = url::shown(&self.url);
        RetryError::Transient { error: anyhow::Error::new(self.refused()).context(url), after }
    }
}

/// The codes and messages of the distribution project's errors; anything else is not for people.
fn error_message(bytes: &[u8]) -> String {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else { return String::new() };
    let errors = document.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |error: &Value, key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let all: Vec<String> =
        errors.iter().take(3).map(|error| format!("{}: {}", text(error, "code"), text(error, "message"))).collect();
    // it goes to a terminal
    all.join(", ").chars().filter(|letter| !letter.is_control()).take(300).collect()
}

fn classify(error: ureq::Error) -> RetryError {
    match error {
        ureq::Error::Io(error) => classify_io(error),
        ureq::Error::Timeout(what) => RetryError::passing(anyhow!("timed out ({what:?})")),
        ureq::Error::Protocol(error) => RetryError::passing(anyhow!("not HTTP: {error}")),
        ureq::Error::HostNotFound => anyhow!("no such host").into(),
        ureq::Error::Rustls(error) => anyhow::Error::new(error).into(),
        other => anyhow::Error::new(other).into(),
    }
}

fn classify_io(error: io::Error) -> RetryError {
    let lost = [
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::BrokenPipe,
        io::ErrorKind::UnexpectedEof,
        io::ErrorKind::TimedOut,
        io::ErrorKind::WouldBlock,
        io::ErrorKind::Interrupted,
    ];
    if lost.contains(&error.kind()) { RetryError::passing(error) } else { RetryError::Permanent(error.into()) }
}

/// A body that has to come at a pace. Only the time spent waiting for it counts, not that of who reads.
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
