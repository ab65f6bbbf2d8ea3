//! Debian's docker-registry on loopback: without login, with logins, with TLS.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use crate::fixture::{Fixture, noise, tar_of};
use crate::{corm, corm_at, images, stored};
use test_support::skip;
use test_support::{Cmd, Out, Proc, Sandbox, wait_for};

/// The entry of a user with the password `hunter2`, by bcrypt.
const HTPASSWD: &str = "user:$2b$04$j3SZkUhSXSPgx.E/tziAqOhGFv2o/0EP.OOWZi./UKUcQS7OlTcLi\n";

/// Returns another image, with one layer of the fixture and one of its own.
fn sibling() -> Fixture {
    let tars = [tar_of(&[("etc/hello", b"hello\n"), ("etc/gone", b"x")]), tar_of(&[("own", b"own")])];
    Fixture::of_layers(&tars, &serde_json::json!({ "Cmd": ["own"] }))
}

pub(crate) fn installed(program: &str) -> bool {
    std::env::split_paths("/usr/bin:/bin:/usr/sbin:/sbin").any(|dir| dir.join(program).exists())
}

/// A process of docker-registry, killed when the value is dropped.
pub(crate) struct Registry {
    pub address: String,
    /// The sandbox of the registry's files, which are removed with it.
    _sandbox: Arc<Sandbox>,
    log: Proc,
}

impl Registry {
    /// Starts a registry on a free port; `auth` and `tls` configure its sections `auth` and `http.tls`.
    pub(crate) fn start(auth: bool, tls: Option<(&PathBuf, &PathBuf)>) -> Registry {
        let sandbox = Sandbox::new();
        // another process may take the port before the registry does: then tries another port
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let data = sandbox.mkdir("registry");
            let mut config = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n",
                data.display()
            );
            config.push_str(&format!("http:\n  addr: {free}\n"));
            if let Some((certificate, key)) = tls {
                let (certificate, key) = (certificate.display(), key.display());
                config.push_str(&format!("  tls:\n    certificate: {certificate}\n    key: {key}\n"));
            }
            if auth {
                let file = sandbox.write("htpasswd", HTPASSWD);
                config.push_str(&format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display()));
            }
            let config = sandbox.write("registry.yml", config);
            let mut log = sandbox.program("docker-registry").arg("serve").arg(&config).spawn();
            let mut ended = false;
            wait_for("the registry answers", || {
                ended = log.ended();
                ended || std::net::TcpStream::connect(free).is_ok()
            });
            if !ended {
                return Registry { address: free.to_string(), _sandbox: sandbox, log };
            }
        }
        panic!("docker-registry does not start");
    }

    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Returns the number of lines of the access log that contain all of `words`.
    pub(crate) fn logged(&self, words: &[&str]) -> usize {
        let log = self.log.stdout() + &self.log.stderr();
        log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }
}

pub(crate) fn load(sandbox: &Arc<Sandbox>, fixture: &Fixture, name: &str) {
    let dir = sandbox.path(&format!("layout-{}", &fixture.id()[..8]));
    fixture.write_layout(&dir, "v1");
    let out = corm(sandbox, &["load", dir.to_str().unwrap(), "--name", name]).out().ok();
    assert_eq!(out.stdout.trim(), name);
}

#[test]
fn what_is_pushed_is_pulled_with_the_same_digests() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, sandbox, fixture) = (Registry::start(false, None), Sandbox::new(), Fixture::new());
    load(&sandbox, &fixture, "web:v1");
    let name = registry.name("team/web:v1");
    let out = corm(&sandbox, &["push", "web:v1", &name]).out().ok();
    assert_eq!(out.stdout.trim(), fixture.manifest);
    assert_eq!(registry.logged(&["PATCH"]), 4);
    // the registry has all blobs already
    corm(&sandbox, &["push", "web:v1", &name]).out().ok();
    assert_eq!(registry.logged(&["PATCH"]), 4);

    let other = Sandbox::new();
    for reference in [name.clone(), registry.name(&format!("team/web@{}", fixture.manifest))] {
        assert_eq!(corm(&other, &["pull", &reference]).out().ok().stdout.trim(), fixture.id());
    }
    let blobs: Vec<String> = fixture.blobs.keys().map(|digest| digest["sha256:".len()..].to_owned()).collect();
    assert_eq!(stored(&other, "blobs/sha256"), blobs);
    assert_eq!(images(&other).len(), 1);
    corm(&other, &["fsck"]).out().ok();

    // layers that the registry has in another repository are not sent again
    load(&sandbox, &sibling(), "sibling:v1");
    corm(&sandbox, &["push", "sibling:v1", &registry.name("team/web:v2")]).out().ok();
    assert_eq!(registry.logged(&["PATCH"]), 6);
    corm(&other, &["push", &name, &registry.name("elsewhere/web:v1")]).out().ok();
    assert_eq!(registry.logged(&["PATCH"]), 6);
    assert_eq!(registry.logged(&["POST", "mount="]), 4);

    let out = corm(&other, &["pull", &registry.name("team/none:v1")]).out().exits(1);
    assert!(out.stderr.contains("HTTP status 404"), "{out:?}");
    let wrong = format!("team/web@{}", fixture.config);
    let out = corm(&sandbox, &["push", "web:v1", &registry.name(&wrong)]).out().exits(1);
    assert!(out.stderr.contains(&fixture.manifest), "{out:?}");
}

#[test]
fn item_14_eight_pulls_at_once_fetch_each_layer_once() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, sandbox, fixture) = (Registry::start(false, None), Sandbox::new(), Fixture::new());
    load(&sandbox, &fixture, "web:v1");
    let name = registry.name("team/web:v1");
    corm(&sandbox, &["push", "web:v1", &name]).out().ok();
    let other = Sandbox::new();
    let all: Vec<Proc> = (0..8).map(|_| corm(&other, &["pull", &name]).spawn()).collect();
    for one in all {
        assert_eq!(one.wait().ok().stdout.trim(), fixture.id());
    }
    for layer in &fixture.layers {
        assert_eq!(registry.logged(&["GET", layer]), 1, "{layer}");
    }
    assert_eq!(stored(&other, "partial"), [""; 0]);
    assert_eq!(stored(&other, "tmp"), [""; 0]);
    corm(&other, &["fsck"]).out().ok();
}

#[test]
fn a_pull_that_was_killed_is_continued() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, sandbox) = (Registry::start(false, None), Sandbox::new());
    let fixture = Fixture::of_layers(&[tar_of(&[("noise", &noise(16 << 20))])], &serde_json::json!({}));
    load(&sandbox, &fixture, "large:v1");
    let name = registry.name("large:v1");
    corm(&sandbox, &["push", "large:v1", &name]).out().ok();
    let other = Sandbox::new();
    let store = other.path("store");
    let partial = store.join("partial").join(&fixture.layers[0]["sha256:".len()..]);
    let pull = corm(&other, &["pull", &name]).spawn();
    wait_for("the download begins", || {
        let there = std::fs::metadata(&partial).map(|meta| meta.len()).unwrap_or(0);
        there > 0 || store.join("blobs/sha256").join(&fixture.layers[0]["sha256:".len()..]).exists()
    });
    pull.signal(libc::SIGKILL);
    drop(pull);
    assert_eq!(images(&other).len(), 0);
    corm(&other, &["fsck", "--repair"]).out().ok();
    assert_eq!(corm(&other, &["pull", &name]).out().ok().stdout.trim(), fixture.id());
    corm(&other, &["fsck"]).out().ok();
}

fn with_login(sandbox: &Arc<Sandbox>, registry: &Registry, password: &str, args: &[&str]) -> Cmd {
    let auth = base64(&format!("user:{password}"));
    let text = format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, registry.address);
    let file = sandbox.write("auth.json", text);
    corm(sandbox, args).env("REGISTRY_AUTH_FILE", file)
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn a_registry_with_a_login() {
    if !installed("docker-registry") {
        skip!("docker-registry is not installed");
    }
    let (registry, sandbox, fixture) = (Registry::start(true, None), Sandbox::new(), Fixture::new());
    load(&sandbox, &fixture, "web:v1");
    let name = registry.name("team/web:v1");
    let refused = |out: Out, want: &str| {
        let out = out.exits(1);
        assert!(out.stderr.contains(want) && !out.stderr.contains("hunter"), "{out:?}");
    };
    refused(corm(&sandbox, &["push", "web:v1", &name]).out(), "no credentials");
    refused(with_login(&sandbox, &registry, "hunter3", &["push", "web:v1", &name]).out(), "not accepted");
    with_login(&sandbox, &registry, "hunter2", &["push", "web:v1", &name]).out().ok();
    let other = Sandbox::new();
    refused(corm(&other, &["pull", &name]).out(), "no credentials");
    assert_eq!(with_login(&other, &registry, "hunter2", &["pull", &name]).out().ok().stdout.trim(), fixture.id());
}

/// Creates a certificate authority, and a certificate and key of it for 127.0.0.1.
fn certificates(sandbox: &Arc<Sandbox>) -> (PathBuf, PathBuf, PathBuf) {
    let file = |name: &str| sandbox.path(name);
    let run = |args: &[&str]| {
        let out = Command::new("openssl").args(args).current_dir(&sandbox.dir).output().unwrap();
        assert!(out.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    run(&[&["req", "-x509", "-days", "2", "-subj", "/CN=test", "-keyout", "ca.key", "-out", "ca.crt"], &key[..]]
        .concat());
    run(&[&["req", "-subj", "/CN=registry", "-keyout", "leaf.key", "-out", "leaf.csr"], &key[..]].concat());
    sandbox.write("leaf.ext", "subjectAltName=IP:127.0.0.1\n");
    run(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        "leaf.csr",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "leaf.ext",
        "-out",
        "leaf.crt",
    ]);
    (file("ca.crt"), file("leaf.crt"), file("leaf.key"))
}

#[test]
fn item_13_certificates_are_verified() {
    if !installed("docker-registry") || !installed("openssl") {
        skip!("docker-registry or openssl is not installed");
    }
    let sandbox = Sandbox::new();
    let (authority, certificate, key) = certificates(&sandbox);
    let (registry, fixture) = (Registry::start(false, Some((&certificate, &key))), Fixture::new());
    load(&sandbox, &fixture, "web:v1");
    let name = registry.name("team/web:v1");
    let unknown = corm(&sandbox, &["push", "web:v1", &name]).out().exits(1);
    assert!(unknown.stderr.contains("certificate"), "{unknown:?}");
    corm(&sandbox, &["push", "web:v1", &name]).env("SSL_CERT_FILE", &authority).out().ok();
    let other = Sandbox::new();
    corm(&other, &["pull", &name]).out().exits(1);
    assert_eq!(images(&other).len(), 0);
    corm(&other, &["pull", "--tls-verify=false", &name]).out().ok();
    // an authority for this registry alone, in addition to the system's
    let third = Sandbox::new();
    let dir = third.mkdir(&format!(".config/containers/certs.d/{}", registry.address));
    std::fs::copy(&authority, dir.join("ca.crt")).unwrap();
    corm(&third, &["pull", &name]).out().ok();
    // the key of another certificate
    std::fs::copy(&certificate, dir.join("client.cert")).unwrap();
    std::fs::copy(sandbox.path("ca.key"), dir.join("client.key")).unwrap();
    let out = corm(&third, &["pull", &name]).out().exits(1);
    assert!(out.stderr.contains("client.key") && !out.stderr.contains("panicked"), "{out:?}");
    let named = corm(&other, &["pull", &name]).env("SSL_CERT_FILE", sandbox.path("none")).out().exits(1);
    assert!(named.stderr.contains("none"), "{named:?}");
}

/// `openssl req -x509` makes a certificate that is its own authority. In certs.d it is taken, as Podman takes it, but only
/// for its name.
#[test]
fn a_self_signed_certificate_in_certs_d_is_trusted() {
    if !installed("docker-registry") || !installed("openssl") {
        skip!("docker-registry or openssl is not installed");
    }
    for (name, trusted) in [("subjectAltName=IP:127.0.0.1", true), ("subjectAltName=DNS:elsewhere.invalid", false)] {
        let sandbox = Sandbox::new();
        let (key, certificate) = (sandbox.path("own.key"), sandbox.path("own.crt"));
        let args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry", "-addext"];
        let make = |to: &std::path::Path| {
            let files = [name, "-keyout", key.to_str().unwrap(), "-out", to.to_str().unwrap()];
            sandbox.program("openssl").args(args).args(files).out().ok();
        };
        make(&certificate);
        let registry = Registry::start(false, Some((&certificate, &key)));
        load(&sandbox, &Fixture::new(), "web:v1");
        let push = || corm(&sandbox, &["push", "web:v1", &registry.name("team/web:v1")]).out();
        let place = format!("/etc/containers/certs.d/{}/ca.crt, or use --tls-verify=false", registry.address);
        push().exits(1).stderr_contains(&place).stderr_contains("[registry.certificate]");
        let dir = sandbox.mkdir(&format!(".config/containers/certs.d/{}", registry.address));
        std::fs::copy(&certificate, dir.join("ca.crt")).unwrap();
        if trusted {
            push().ok();
        } else {
            push().exits(1).stderr_contains("the certificate is not for this name");
        }
        // of another, with the same name
        make(&dir.join("ca.crt"));
        push().exits(1).stderr_contains("[registry.certificate]");
        std::fs::write(dir.join("ca.crt"), "words").unwrap();
        push().exits(1).stderr_contains("ca.crt\": no certificate in it");
    }
}

#[test]
fn what_skopeo_pushes_and_pulls_has_the_same_digest() {
    if !installed("docker-registry") || !installed("skopeo") {
        skip!("docker-registry or skopeo is not installed");
    }
    let (registry, sandbox, fixture) = (Registry::start(false, None), Sandbox::new(), Fixture::new());
    let layout = sandbox.path("layout");
    fixture.write_layout(&layout, "v1");
    let skopeo = |args: &[&str]| sandbox.program("skopeo").args(args).env("HOME", &sandbox.dir).out().ok();
    let (from, name) = (format!("oci:{}:v1", layout.display()), registry.name("sk/web:v1"));
    skopeo(&["copy", "--dest-tls-verify=false", &from, &format!("docker://{name}")]);
    let docker = registry.name("sk/docker:v1");
    skopeo(&["copy", "--dest-tls-verify=false", "--format", "v2s2", &from, &format!("docker://{docker}")]);
    assert_eq!(corm(&sandbox, &["pull", &name]).out().ok().stdout.trim(), fixture.id());
    // the same with Docker's manifests; a pushed manifest is the one that was pulled
    let digest = |name: &str| {
        let out = skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")]);
        out.stdout.trim().to_owned()
    };
    let store = sandbox.path("docker");
    corm_at(&sandbox, &store, &["pull", &docker]).out().ok();
    let again = registry.name("again/docker:v1");
    let pushed = corm_at(&sandbox, &store, &["push", &docker, &again]).out().ok();
    assert_eq!(pushed.stdout.trim(), digest(&docker));
    assert_eq!(digest(&again), digest(&docker));
    assert_ne!(digest(&docker), fixture.manifest);
}
