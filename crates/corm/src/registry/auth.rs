//! Responses to a registry's challenge: a header of basic authentication, or a token of a token server.
//!
//! All threads of a transfer share one value: the first refused one fetches a new token, the others use it.

use base::coded;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use ureq::SendBody;
use ureq::http::{Method, Uri};

use super::challenge::{self, Challenge};
use super::credentials::Credentials;
use super::http::{Http, HttpRequest, HttpResponse, RetryError};
use super::url::{self, Origin};
use crate::model::secret::Secret;

/// Maximum size of a token server's response, in bytes.
const MAX_TOKEN: u64 = 1 << 20;

/// Client ID for the token server.
const CLIENT: &str = "corm";

/// Authentication state for one registry.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: Option<Credentials>,
    scopes: Vec<String>,
    header: Mutex<Option<Secret>>,
}

impl Auth {
    /// Creates the state before the first request. `scopes` are the needed ones, in the form `repository:NAME:pull`.
    pub(super) fn new(credentials: Option<Credentials>, scopes: Vec<String>) -> Self {
        Self { credentials, scopes, header: Mutex::new(None) }
    }

    /// Returns the header for the next request.
    pub(super) fn header(&self) -> Option<Secret> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Secret>> {
        // the value is consistent after each assignment
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a 401 response to a request with the header `used`; afterwards `header` returns another one.
    ///
    /// # Errors
    /// No credentials, or they are rejected.
    pub(super) fn authenticate(&self, http: &Http, response: HttpResponse, used: Option<&Secret>) -> Result<()> {
        let mut header = self.lock();
        // another thread was faster
        if header.as_ref() != used {
            return Ok(());
        }
        let values: Vec<&str> =
            response.headers.get_all("www-authenticate").iter().filter_map(|value| value.to_str().ok()).collect();
        let Some(challenge) = challenge::choose(values.into_iter()) else {
            return Err(response.into_error().context("no supported authentication method is offered"));
        };
        let new = match challenge {
            Challenge::Basic => {
                let Some(basic) = self.credentials.as_ref().and_then(Credentials::basic) else {
                    let host = response.url.authority().map(ToString::to_string).unwrap_or_default();
                    let error = response.into_error();
                    return Err(error.context(format!(
                        "authentication is required, and no credentials were found (`corm login {host}` stores them)"
                    )));
                };
                basic
            }
            Challenge::Bearer { realm, service, .. } => {
                self.token(http, &Origin::of(&response.url)?, &realm, service.as_deref()).context("get a token")?
            }
        };
        // already rejected: sending it again would loop
        if used == Some(&new) {
            return Err(response.into_error().context("the credentials were not accepted"));
        }
        *header = Some(new);
        Ok(())
    }

    fn token(&self, http: &Http, registry: &Origin, realm: &str, service: Option<&str>) -> Result<Secret> {
        let realm: Uri = realm.parse().context("the realm of the challenge is not a URL")?;
        let origin = Origin::of(&realm)?;
        if origin.is_plain() && !registry.is_plain() {
            bail!(coded!(RegistryPlain, "from {}: would send secrets unencrypted", url::shown(&realm)));
        }
        let response = http.timing().retry(|| {
            let response = match &self.credentials {
                Some(Credentials::Identity(token)) => self.exchange(http, &realm, service, token)?,
                _ => self.fetch(http, &realm, &origin, service)?,
            };
            match response.status {
                200 => response.bytes(MAX_TOKEN),
                429 | 500..=599 => Err(response.into_transient_error()),
                _ => Err(RetryError::Permanent(response.into_error().context(url::shown(&realm)))),
            }
        })?;
        // the parser's error is omitted, because it could quote the token
        let Ok(response) = serde_json::from_slice::<Value>(&response) else {
            bail!(coded!(RegistryAnswer, "{}: not JSON", url::shown(&realm)))
        };
        let text = |key| response.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let token = text("token").or_else(|| text("access_token"));
        let token = token.with_context(|| format!("{}: no token in the response", url::shown(&realm)))?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!(coded!(RegistryAnswer, "{}: not a token", url::shown(&realm)));
        }
        Ok(Secret::new(format!("Bearer {token}")))
    }

    /// Fetches a token with user and password, or anonymously.
    fn fetch(
        &self,
        http: &Http,
        realm: &Uri,
        origin: &Origin,
        service: Option<&str>,
    ) -> Result<HttpResponse, RetryError> {
        let mut query: Vec<(&str, &str)> = service.map(|service| ("service", service)).into_iter().collect();
        query.extend(self.scopes.iter().map(|scope| ("scope", scope.as_str())));
        if self.credentials.is_some() {
            query.push(("client_id", CLIENT));
        }
        let authorization = self.credentials.as_ref().and_then(Credentials::basic).map(|secret| (origin, secret));
        http.follow(HttpRequest {
            method: Method::GET,
            url: url::with_query(realm, &query)?,
            headers: Vec::new(),
            authorization,
        })
    }

    /// Exchanges a refresh token, by OAuth 2.
    fn exchange(
        &self,
        http: &Http,
        realm: &Uri,
        service: Option<&str>,
        token: &Secret,
    ) -> Result<HttpResponse, RetryError> {
        let scopes = self.scopes.join(" ");
        let form = [
            ("grant_type", "refresh_token"),
            ("service", service.unwrap_or_default()),
            ("client_id", CLIENT),
            ("scope", &scopes),
            ("refresh_token", token.expose()),
        ];
        let mut body = String::new();
        for (name, value) in form {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(name);
            body.push('=');
            url::escape(&mut body, value);
        }
        let headers = vec![
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("content-length", body.len().to_string()),
        ];
        let request = HttpRequest { method: Method::POST, url: realm.clone(), headers, authorization: None };
        http.once(&request, SendBody::from_reader(&mut body.as_bytes()))
    }
}
