//! Credentials: the files and helpers of `docker login`, `podman login` and others.
//!
//! Secrets are never shown: not by `Debug`, nor in an error. JSON values are read one by one, because a parser may
//! quote what it did not expect.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use linux::place;

/// Maximum size in bytes of a file or a helper's output.
const MAX_FILE: u64 = 1 << 20;

/// User name that marks a token.
const TOKEN_USER: &str = "<token>";

/// Names of Docker's own registry in Docker's files.
const DOCKER_HUB: [&str; 4] = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// Name of Docker's own registry for credential helpers.
const DOCKER_HUB_URL: &str = "https://index.docker.io/v1/";

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    /// Wraps a password, a token or a header with one.
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the text for a request.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Credentials for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// A user name and a password.
    Password {
        /// User name.
        user: String,
        /// Password.
        password: Secret,
    },
    /// A refresh token of OAuth 2.
    Identity(Secret),
}

impl Credentials {
    fn new(user: &str, password: String) -> Option<Self> {
        match (user, password.is_empty()) {
            (_, true) | ("", _) => None,
            (TOKEN_USER, _) => Some(Self::Identity(Secret(password))),
            _ => Some(Self::Password { user: user.to_owned(), password: Secret(password) }),
        }
    }

    /// Returns the header of basic authentication; `None` for a token.
    pub(super) fn basic(&self) -> Option<Secret> {
        match self {
            Self::Password { user, password } => {
                Some(Secret(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))))
            }
            Self::Identity(_) => None,
        }
    }
}

/// Finds the credentials for a repository: the first in the files of this user.
///
/// # Errors
/// An existing file cannot be read or is no JSON, or a helper fails.
pub(super) fn find(registry: &str, path: &str) -> Result<Option<Credentials>> {
    for file in files(&|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)) {
        if let Some(found) = in_file(&file, registry, path).with_context(|| format!("credentials in {file:?}"))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Returns the paths of the files, in Podman's order. An explicit path replaces the others.
fn files(env: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(named) = env("REGISTRY_AUTH_FILE") {
        return vec![named];
    }
    let uid = linux::process::euid();
    let runtime = match env("XDG_RUNTIME_DIR") {
        Some(dir) => dir.join("containers/auth.json"),
        None => PathBuf::from(format!("/run/containers/{uid}/auth.json")),
    };
    let home = env("HOME");
    let under_home = |dir: &str| home.as_ref().map(|home| home.join(dir));
    let config = env("XDG_CONFIG_HOME").or_else(|| under_home(".config"));
    let docker = env("DOCKER_CONFIG").or_else(|| under_home(".docker"));
    let found = [config.map(|dir| dir.join("containers/auth.json")), docker.map(|dir| dir.join("config.json"))];
    std::iter::once(runtime).chain(found.into_iter().flatten()).collect()
}

fn in_file(file: &Path, registry: &str, path: &str) -> Result<Option<Credentials>> {
    let mut bytes = Vec::new();
    match place::open_to_read(file) {
        // a path below a file does not exist either
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other?.take(MAX_FILE + 1).read_to_end(&mut bytes)?,
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let document: Value = serde_json::from_slice(&bytes).context("not JSON")?;
    for key in keys(registry, path) {
        if let Some(helper) = document.pointer("/credHelpers").and_then(|helpers| helpers.get(&key)) {
            let name = helper.as_str().context("credHelpers: not the name of a helper")?;
            return run_helper(name, server(registry, &key));
        }
        if let Some(found) = entry(&document, &key)? {
            return Ok(Some(found));
        }
    }
    match document.get("credsStore").and_then(Value::as_str) {
        Some(name) if !name.is_empty() => run_helper(name, server(registry, registry)),
        _ => Ok(None),
    }
}

/// Returns the keys for a repository's credentials, the most specific first.
fn keys(registry: &str, path: &str) -> Vec<String> {
    let hosts: &[&str] = if registry == "docker.io" { &DOCKER_HUB } else { &[registry] };
    let mut keys = Vec::new();
    for host in hosts {
        let full = format!("{host}/{path}");
        keys.extend(full.rmatch_indices('/').filter_map(|(at, _)| full.get(..at)).map(str::to_owned));
        keys.push(full);
    }
    // specific ones of any host before the hosts alone
    keys.sort_by_key(|key| std::cmp::Reverse(key.matches('/').count()));
    keys
}

fn server<'a>(registry: &str, key: &'a str) -> &'a str {
    if registry == "docker.io" { DOCKER_HUB_URL } else { key }
}

pub(super) fn entry(document: &Value, key: &str) -> Result<Option<Credentials>> {
    let Some(Value::Object(auths)) = document.get("auths") else { return Ok(None) };
    let Some((_, found)) = auths.iter().find(|(name, _)| normalized(name) == key) else { return Ok(None) };
    let text = |name: &str| found.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::Identity(Secret(token.to_owned()))));
    }
    let Some(encoded) = text("auth") else {
        // with a credential store, `docker login` writes an empty entry here
        return Ok(text("username").and_then(|user| Credentials::new(user, text("password")?.to_owned())));
    };
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((user, password)) = decoded.as_ref().and_then(|text| text.split_once(':')) else {
        bail!("auths: the entry of {key:?} is not base64 of NAME:PASSWORD");
    };
    Ok(Credentials::new(user, password.trim_end_matches('\0').to_owned()))
}

/// Returns the host of `https://host/v1/` and `host/`, as old versions of Docker wrote them.
fn normalized(name: &str) -> &str {
    let rest = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://"));
    let name = rest.unwrap_or(name).trim_end_matches('/');
    let version = name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2"));
    version.unwrap_or(name)
}

/// Runs `docker-credential-NAME` (its protocol: the server on standard input, JSON on standard output).
fn run_helper(name: &str, server: &str) -> Result<Option<Credentials>> {
    let context = || format!("credential helper {name:?}");
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        bail!("{}: not the name of a helper", context());
    }
    let program = format!("docker-credential-{name}");
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = match command.spawn() {
        // a file of another machine must not stop a pull that needs no login
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let _ = writeln!(io::stderr(), "corm: warning: {}: {program} is not in $PATH", context());
            return Ok(None);
        }
        other => other.with_context(context)?,
    };
    if let Some(mut input) = child.stdin.take() {
        // a helper may respond without reading its input
        let _ = input.write_all(server.as_bytes());
    }
    let mut reply = Vec::new();
    let read = match child.stdout.take() {
        Some(output) => output.take(MAX_FILE).read_to_end(&mut reply),
        None => Ok(0),
    };
    let status = child.wait().with_context(context)?;
    read.with_context(context)?;
    if !status.success() {
        // helpers print this for missing credentials
        if String::from_utf8_lossy(&reply).contains("credentials not found") {
            return Ok(None);
        }
        bail!("{}: failed with {status}", context());
    }
    let Ok(reply) = serde_json::from_slice::<Value>(&reply) else { bail!("{}: its output is not JSON", context()) };
    let text = |key: &str| reply.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Credentials::new(&text("Username"), text("Secret")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::json;

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Credentials::new(user, password.to_owned())
    }

    #[test]
    fn entries_are_found_under_every_name_that_tools_write() {
        let auth = |text: &str| json!({ "auth": STANDARD.encode(text) });
        let document = json!({ "auths": {
            "https://index.docker.io/v1/": auth("hub:a:b"),
            "r.io:5000": auth("r:x"),
            "r.io:5000/team": auth("team:y"),
            "http://old.io/v2/": auth("old:z"),
            "plain.io": { "username": "p", "password": "q" },
            "token.io": { "identitytoken": "t", "auth": "" },
            "az.io": auth("<token>:refresh"),
            "empty.io": {},
        }});
        let find =
            |registry: &str, path: &str| keys(registry, path).iter().find_map(|key| entry(&document, key).unwrap());
        let identity = |text: &str| Some(Credentials::Identity(Secret(text.to_owned())));
        let table = [
            ("docker.io", "library/busybox", password("hub", "a:b")),
            ("r.io:5000", "x", password("r", "x")),
            ("r.io:5000", "team/x", password("team", "y")),
            ("r.io:5000", "teams/x", password("r", "x")),
            ("old.io", "a/b/c", password("old", "z")),
            ("plain.io", "x", password("p", "q")),
            ("token.io", "x", identity("t")),
            ("az.io", "x", identity("refresh")),
            ("empty.io", "x", None),
            ("r.io", "x", None),
        ];
        for (registry, path, want) in table {
            assert_eq!(find(registry, path), want, "{registry}/{path}");
        }
    }

    #[test]
    fn a_named_file_is_the_only_one() {
        let named = files(&|name| (name == "REGISTRY_AUTH_FILE").then(|| PathBuf::from("/x")));
        assert_eq!(named, [PathBuf::from("/x")]);
        let found = files(&|name| match name {
            "HOME" => Some("/home/u".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/7".into()),
            _ => None,
        });
        let want =
            ["/run/user/7/containers/auth.json", "/home/u/.config/containers/auth.json", "/home/u/.docker/config.json"];
        assert_eq!(found, want.map(PathBuf::from));
    }

    #[test]
    fn secrets_stay_out_of_errors_and_debug_output() {
        let secret = Credentials::new("user", "hunter2".to_owned()).unwrap();
        assert!(!format!("{secret:?} {:?}", secret.basic()).contains("hunter2"));
        assert_eq!(secret.basic().unwrap().expose(), "Basic dXNlcjpodW50ZXIy");
        let bad = json!({ "auths": { "r.io": { "auth": "hunter2!" } } });
        assert!(!format!("{:#}", entry(&bad, "r.io").unwrap_err()).contains("hunter2"));
        let dir = std::env::temp_dir().join(format!("corm-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("config.json");
        for text in [
            "{\"auths\": hunter2}",
            "{\"auths\":{\"r.io\":{\"auth\":\"hunter2!\"}}}",
            "{\"credHelpers\":{\"r.io\":[\"hunter2\"]}}",
        ] {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", in_file(&file, "r.io", "x").unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_that_others_planted_is_neither_waited_for_nor_followed() {
        use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let dir = linux::testing::TempDir::new();
        let at = |name: &str| dir.path().join(name);
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        chown(at("fifo"), Some(1000), Some(1000)).unwrap();
        dir.write("real", b"{}");
        symlink(at("real"), at("link")).unwrap();
        for name in ["fifo", "link"] {
            let (sender, receiver) = std::sync::mpsc::channel();
            let file = at(name);
            std::thread::spawn(move || sender.send(in_file(&file, "r.io", "x").map_err(|err| format!("{err:#}"))));
            let reply = receiver.recv_timeout(std::time::Duration::from_secs(5)).expect("an answer at once");
            assert!(reply.unwrap_err().contains("in a directory that others may write to"), "{name}");
        }
        assert_eq!(in_file(&at("real"), "r.io", "x").unwrap(), None);
        assert_eq!(in_file(&at("none"), "r.io", "x").unwrap(), None);
        assert_eq!(in_file(&at("real/none"), "r.io", "x").unwrap(), None);
    }

    #[test]
    fn a_helper_is_a_name_and_no_path() {
        for name in ["../x", "a/b", "", "a b", "$(x)"] {
            assert!(run_helper(name, "r.io").is_err(), "{name}");
        }
    }
}
