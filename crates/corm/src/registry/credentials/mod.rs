//! Credentials: the files and helpers of `docker login`, `podman login` and others.
//!
//! Secrets are never shown: not by `Debug`, nor in an error. JSON values are read one by one, because a parser may
//! quote what it did not expect.

mod helper;
mod stored;

use base::coded;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::model::secret::Secret;
use helper::Helper;
use linux::place;
pub use stored::AuthFile;

/// Maximum size in bytes of a file or a helper's output.
const MAX_FILE: u64 = 1 << 20;

/// User name that marks a token.
const TOKEN_USER: &str = "<token>";

/// Names of Docker's own registry in Docker's files.
const DOCKER_HUB: [&str; 4] = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// Name of Docker's own registry for credential helpers.
const DOCKER_HUB_URL: &str = "https://index.docker.io/v1/";

/// Credentials for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
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
    /// Creates them from a user name and a password or token; `None` where one is empty.
    pub fn new(user: &str, password: String) -> Option<Self> {
        match (user, password.is_empty()) {
            (_, true) | ("", _) => None,
            (TOKEN_USER, _) => Some(Self::Identity(Secret::new(password))),
            _ => Some(Self::Password { user: user.to_owned(), password: Secret::new(password) }),
        }
    }

    /// Returns the user name; of a token the word that marks one.
    pub fn user(&self) -> &str {
        match self {
            Self::Password { user, .. } => user,
            Self::Identity(_) => TOKEN_USER,
        }
    }

    /// Returns the header of basic authentication; `None` for a token.
    pub(super) fn basic(&self) -> Option<Secret> {
        match self {
            Self::Password { user, password } => {
                Some(Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))))
            }
            Self::Identity(_) => None,
        }
    }
}

/// Where the credentials of a verb come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthSource {
    /// `--authfile`: the only file, in the place of the environment's.
    pub file: Option<PathBuf>,
    /// `--creds`: credentials for the registry that the user named, in the place of all files.
    pub given: Option<Credentials>,
}

impl AuthSource {
    /// Finds the credentials for a repository: the first in the files of this user.
    ///
    /// # Errors
    /// An existing file cannot be read or is no JSON, or a helper fails.
    pub fn find(&self, registry: &str, path: &str) -> Result<Option<Credentials>> {
        for file in self.files() {
            if let Some(found) = in_file(&file, registry, path).with_context(|| format!("credentials in {file:?}"))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Returns the paths of the files that are read, the first of which is also written.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.file {
            Some(file) => vec![file.clone()],
            None => files(&|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)),
        }
    }
}

/// Returns the paths of the files, in Podman's order. An explicit path or directory replaces the others.
fn files(env: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(named) = env("REGISTRY_AUTH_FILE").or_else(|| env("DOCKER_CONFIG").map(|dir| dir.join("config.json"))) {
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
    let found = [config.map(|dir| dir.join("containers/auth.json")), under_home(".docker/config.json")];
    std::iter::once(runtime).chain(found.into_iter().flatten()).collect()
}

/// Reads a file of credentials; a missing or empty one is an empty object.
fn read(file: &Path) -> Result<Map<String, Value>> {
    let mut bytes = Vec::new();
    match place::open_to_read(file) {
        // a path below a file does not exist either
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Map::new());
        }
        other => other?.take(MAX_FILE + 1).read_to_end(&mut bytes)?,
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    if bytes.len() as u64 > MAX_FILE {
        bail!(coded!(RegistryConfig, "larger than {MAX_FILE} bytes"));
    }
    // the parser's error is omitted, because it could quote a secret
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(document)) => Ok(document),
        _ => bail!(coded!(RegistryConfig, "not a JSON object")),
    }
}

fn in_file(file: &Path, registry: &str, path: &str) -> Result<Option<Credentials>> {
    let document = read(file)?;
    for key in keys(registry, path) {
        if let Some(name) = helper_of(&document, &key)? {
            return Helper::new(name)?.get(server(registry, &key));
        }
        if let Some(found) = entry(&document, &key)? {
            return Ok(Some(found));
        }
    }
    match store_of(&document) {
        Some(name) => Helper::new(name)?.get(server(registry, registry)),
        None => Ok(None),
    }
}

/// Returns the name of the helper that has the credentials of this key.
fn helper_of<'a>(document: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>> {
    let helper = document.get("credHelpers").and_then(|helpers| helpers.get(key));
    helper.map(|name| name.as_str().context("credHelpers: not the name of a helper")).transpose()
}

/// Returns the name of the helper that has all credentials without a helper of their own.
fn store_of(document: &Map<String, Value>) -> Option<&str> {
    document.get("credsStore").and_then(Value::as_str).filter(|name| !name.is_empty())
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

/// Returns the credentials under a key of a file's `auths`.
pub(super) fn entry(document: &Map<String, Value>, key: &str) -> Result<Option<Credentials>> {
    let Some(Value::Object(auths)) = document.get("auths") else { return Ok(None) };
    let Some((_, found)) = auths.iter().find(|(name, _)| normalized(name) == key) else { return Ok(None) };
    let text = |name: &str| found.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Credentials::Identity(Secret::new(token.to_owned()))));
    }
    let Some(encoded) = text("auth") else {
        // with a credential store, `docker login` writes an empty entry here
        return Ok(text("username").and_then(|user| Credentials::new(user, text("password")?.to_owned())));
    };
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((user, password)) = decoded.as_ref().and_then(|text| text.split_once(':')) else {
        bail!(coded!(RegistryConfig, "auths: the entry of {key:?} is not base64 of NAME:PASSWORD"));
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
        let Value::Object(document) = document else { panic!("no object") };
        let find =
            |registry: &str, path: &str| keys(registry, path).iter().find_map(|key| entry(&document, key).unwrap());
        let identity = |text: &str| Some(Credentials::Identity(Secret::new(text.to_owned())));
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
        let docker = files(&|name| (name == "DOCKER_CONFIG").then(|| PathBuf::from("/d")));
        assert_eq!(docker, [PathBuf::from("/d/config.json")]);
        let want =
            ["/run/user/7/containers/auth.json", "/home/u/.config/containers/auth.json", "/home/u/.docker/config.json"];
        assert_eq!(found, want.map(PathBuf::from));
    }

    #[test]
    fn secrets_stay_out_of_errors_and_debug_output() {
        let secret = Credentials::new("user", "hunter2".to_owned()).unwrap();
        assert!(!format!("{secret:?} {:?}", secret.basic()).contains("hunter2"));
        assert_eq!(secret.basic().unwrap().expose(), "Basic dXNlcjpodW50ZXIy");
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
}
