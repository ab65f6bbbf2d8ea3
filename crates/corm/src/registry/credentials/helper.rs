//! Credential helpers: programs `docker-credential-NAME` that read a server or credentials on standard input.
//!
//! A secret is never an argument, because other users see the arguments of a process.

use base::coded;
use std::io::{self, Read as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{Credentials, MAX_FILE, TOKEN_USER};

/// What a helper answers where it has no credentials.
const NOT_FOUND: &str = "credentials not found";

/// A credential helper by its name, which is no path.
pub(super) struct Helper<'a>(&'a str);

/// Answer of a helper.
struct Answer {
    /// Whether its exit status was 0.
    success: bool,
    /// Its standard output.
    output: Vec<u8>,
}

impl<'a> Helper<'a> {
    /// Checks the name of a helper.
    ///
    /// # Errors
    /// The name has other characters than letters, digits, `-`, `_` and `.`.
    pub(super) fn new(name: &'a str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            bail!(coded!(RegistryConfig, "credential helper {name:?}: not the name of a helper"));
        }
        Ok(Self(name))
    }

    /// Returns the credentials of a server; `None` where the helper has none or is not installed.
    ///
    /// # Errors
    /// The helper fails otherwise.
    pub(super) fn get(&self, server: &str) -> Result<Option<Credentials>> {
        let Some(answer) = self.run("get", server.as_bytes())? else {
            // a file of another machine must not stop a pull that needs no login
            let _ = writeln!(io::stderr(), "corm: warning: {}: {} is not in $PATH", self.shown(), self.program());
            return Ok(None);
        };
        if !answer.success {
            if answer.is_not_found() {
                return Ok(None);
            }
            bail!(coded!(RegistryConfig, "{}: failed", self.shown()));
        }
        let Ok(reply) = serde_json::from_slice::<Value>(&answer.output) else {
            bail!(coded!(RegistryConfig, "{}: its output is not JSON", self.shown()))
        };
        let text = |key: &str| reply.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Credentials::new(&text("Username"), text("Secret")))
    }

    /// Stores the credentials of a server.
    ///
    /// # Errors
    /// The helper is not installed, or fails.
    pub(super) fn store(&self, server: &str, credentials: &Credentials) -> Result<()> {
        let (user, secret) = match credentials {
            Credentials::Password { user, password } => (user.as_str(), password),
            Credentials::Identity(token) => (TOKEN_USER, token),
        };
        let input = json!({ "ServerURL": server, "Username": user, "Secret": secret.expose() }).to_string();
        match self.run("store", input.as_bytes())? {
            Some(answer) if answer.success => Ok(()),
            Some(_) => bail!(coded!(RegistryConfig, "{}: failed to store the credentials", self.shown())),
            None => bail!(coded!(RegistryConfig, "{}: {} is not in $PATH", self.shown(), self.program())),
        }
    }

    /// Removes the credentials of a server; returns whether there were any.
    ///
    /// # Errors
    /// As [`Helper::store`].
    pub(super) fn erase(&self, server: &str) -> Result<bool> {
        match self.run("erase", server.as_bytes())? {
            Some(answer) if answer.success => Ok(true),
            Some(answer) if answer.is_not_found() => Ok(false),
            Some(_) => bail!(coded!(RegistryConfig, "{}: failed to remove the credentials", self.shown())),
            None => bail!(coded!(RegistryConfig, "{}: {} is not in $PATH", self.shown(), self.program())),
        }
    }

    fn program(&self) -> String {
        format!("docker-credential-{}", self.0)
    }

    fn shown(&self) -> String {
        format!("credential helper {:?}", self.0)
    }

    /// Runs the helper with this input; `None` where it is not installed.
    fn run(&self, action: &str, input: &[u8]) -> Result<Option<Answer>> {
        let mut command = Command::new(self.program());
        command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| self.shown())?,
        };
        if let Some(mut to) = child.stdin.take() {
            // a helper may respond without reading its input
            let _ = to.write_all(input);
        }
        let mut output = Vec::new();
        let read = match child.stdout.take() {
            Some(from) => from.take(MAX_FILE).read_to_end(&mut output),
            None => Ok(0),
        };
        let status = child.wait().with_context(|| self.shown())?;
        read.with_context(|| self.shown())?;
        Ok(Some(Answer { success: status.success(), output }))
    }
}

impl Answer {
    fn is_not_found(&self) -> bool {
        String::from_utf8_lossy(&self.output).contains(NOT_FOUND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_a_name_and_no_path() {
        for name in ["../x", "a/b", "", "a b", "$(x)"] {
            assert!(Helper::new(name).is_err(), "{name}");
        }
    }
}
