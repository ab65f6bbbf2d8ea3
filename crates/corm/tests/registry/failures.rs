//! What people meet: each failure is one line with its cause, a code, a status and what to do, and leaves nothing.

use std::sync::Arc;

use crate::corm;
use crate::fixture::Fixture;
use crate::server::{Request, Response, Server};
use test_support::{Out, Sandbox};

/// A failure: the arguments of corm, its code, and words of the cause.
type Case<'a> = (Vec<&'a str>, &'a str, &'a str);

/// Checks the line of a failure; the words that tell what to do stand in parentheses, or the cause has them.
fn judge(out: &Out, code: &str, words: &str) -> Result<(), String> {
    let lines: Vec<&str> = out.stderr.lines().collect();
    let line = lines.iter().find(|line| line.starts_with("corm: ")).copied().unwrap_or_default();
    let is_usage = code.starts_with("usage.");
    let wrong = |what: &str| Err(format!("{what} ({code}, {words}): {:?} {}", out.code, out.stderr));
    // a build shows its steps before
    let errors = lines.iter().filter(|line| line.starts_with("corm: ")).count();
    if errors != 1 || lines.len() != 1 && !is_usage && !line.contains("Containerfile:") {
        return wrong("not one line");
    }
    if !line.ends_with(&format!(" [{code}]")) {
        return wrong("another code");
    }
    if !line.contains(words) {
        return wrong("another cause");
    }
    let advice =
        ["(", "must", "of the form", "is no ", "unknown", "requires", "exclude", "needs", "neither", "no FROM"];
    if !advice.iter().any(|word| line.contains(word)) {
        return wrong("nothing about what to do");
    }
    if !matches!(out.code, Some(1 | 125..=127)) {
        return wrong("another status");
    }
    Ok(())
}

/// Runs the cases in one store, and fails with a list of all that are not as they must be.
#[track_caller]
fn check(sandbox: &Arc<Sandbox>, cases: &[Case<'_>]) {
    let mut wrong = Vec::new();
    for (args, code, words) in cases {
        let out = corm(sandbox, args).cwd(&sandbox.dir).out().no_panic();
        wrong.extend(judge(&out, code, words).err());
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), cases.len());
    assert_eq!(corm(sandbox, &["images", "--quiet"]).out().ok().stdout, "", "an image is left");
    assert_eq!(corm(sandbox, &["ps", "--all", "--quiet"]).out().ok().stdout, "", "a container is left");
}

/// A registry whose repository's name chooses what goes wrong.
fn server(fixture: &Fixture) -> Server {
    let fixture = fixture.clone();
    Server::new(move |request: &Request| {
        let error = |status, code: &str| {
            Response::new(status, &[], format!("{{\"errors\":[{{\"code\":\"{code}\",\"message\":\"words\"}}]}}"))
        };
        let path = request.path.as_str();
        if path == "/v2/" {
            return Response::new(200, &[], "{}");
        }
        match path.split('/').nth(2).unwrap_or_default() {
            "page" => Response::new(200, &[("content-type", "text/html")], "<!DOCTYPE html><html></html>"),
            "text" => Response::new(200, &[], "hello"),
            "login" => Response::new(401, &[("www-authenticate", "Basic realm=\"x\"")], "{}"),
            "denied" => error(403, "DENIED"),
            "unknown" => error(404, "MANIFEST_UNKNOWN"),
            "teapot" => Response::new(418, &[], ""),
            "silent" => Response::raw(|_| Ok(())),
            "elsewhere" if path.contains("/blobs/") => Response::new(307, &[("location", "ftp://127.0.0.1/x")], ""),
            "md5" => {
                let text = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"md5:ab","size":2},"layers":[]}"#;
                Response::new(200, &[("content-type", "application/vnd.oci.image.manifest.v1+json")], text)
            }
            "digest" if path.contains("/blobs/") => match fixture.answer(request) {
                Response::WellFormed { status, headers, body } => {
                    Response::WellFormed { status, headers, body: body.iter().map(|byte| !byte).collect() }
                }
                raw => raw,
            },
            "index" if path.contains("/manifests/") => {
                let entry = |arch: &str| {
                    format!(
                        "{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"{}\",\"size\":100,\
                         \"platform\":{{\"os\":\"linux\",\"architecture\":\"{arch}\"}}}}",
                        fixture.manifest
                    )
                };
                let text = format!(
                    "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{},{}]}}",
                    entry("s390x"),
                    entry("ppc64le")
                );
                Response::new(200, &[("content-type", "application/vnd.oci.image.index.v1+json")], text)
            }
            _ => fixture.answer(request),
        }
    })
}

#[test]
fn of_registries() {
    let server = server(&Fixture::new());
    let sandbox = Sandbox::new();
    let name = |path: &str| server.name(path);
    let (page, text, login, denied) = (name("page/b:1"), name("text/b:1"), name("login/b:1"), name("denied/b:1"));
    let (unknown, teapot, index) = (name("unknown/b:1"), name("teapot/b:1"), name("index/b:1"));
    let (digest, silent) = (name("digest/b:v1"), name("silent/b:1"));
    let (md5, elsewhere) = (name("md5/b:1"), name("elsewhere/b:v1"));
    let wanted = format!("`corm login {}` stores", server.address);
    check(
        &sandbox,
        &[
            (vec!["pull", &page], "registry.answer", "a web page answers there"),
            (vec!["pull", &text], "image.invalid", "not valid JSON"),
            (vec!["pull", &login], "registry.login", &wanted),
            (vec!["pull", &denied], "registry.login", "HTTP status 403, DENIED: words"),
            (vec!["pull", &unknown], "registry.not_found", "HTTP status 404, MANIFEST_UNKNOWN: words"),
            (vec!["pull", &teapot], "registry.failed", "HTTP status 418"),
            (
                vec!["pull", &index],
                "image.platform",
                "(there are linux/s390x, linux/ppc64le: choose one with --platform)",
            ),
            (vec!["pull", &digest], "image.digest", "with the digest"),
            (vec!["pull", &md5], "image.invalid", "no other algorithm is supported"),
            (vec!["pull", &elsewhere], "registry.answer", "ftp://127.0.0.1/x: neither http nor https"),
            (vec!["--log-level=error", "pull", &silent], "registry.cut", "manifests/1"),
            (vec!["pull", "--authfile", "/no/auth.json", &text], "file.missing", "--authfile \"/no/auth.json\""),
            (vec!["pull", "127.0.0.1:1/a/b:1"], "registry.unreachable", "connection refused"),
            (vec!["pull", "no-such-host.invalid/a/b:1"], "registry.unreachable", "no-such-host.invalid"),
            (vec!["run", "--pull=always", &unknown], "registry.not_found", "HTTP status 404"),
        ],
    );
}

#[test]
fn of_names_and_stores() {
    let sandbox = Sandbox::new();
    check(
        &sandbox,
        &[
            (vec!["frob"], "usage.verb", "unknown verb \"frob\""),
            (vec!["pull", "--frob", "x"], "usage.flag", "unknown flag \"--frob\""),
            (vec!["pull"], "usage.arguments", "requires"),
            (vec!["pull", "UPPER/Case:1"], "image.name", "image name"),
            (vec!["pull", "a/b:t:u"], "image.name", "image name"),
            (vec!["pull", "a/b@sha256:12"], "image.name", "sha256:12"),
            (vec!["network", "create", "--subnet", "10.0.0.0/99", "n"], "usage.value", "10.0.0.0/99"),
            (vec!["pull", "--platform", "foo", "a/b"], "usage.value", "must be of the form OS/ARCH"),
            (vec!["inspect", "nothing"], "image.not_found", "`corm pull nothing` fetches an image"),
            (vec!["rmi", "nothing"], "image.not_found", "`corm pull nothing` fetches it"),
            (vec!["tag", "nothing", "x"], "image.not_found", "`corm pull nothing` fetches it"),
            (vec!["push", "nothing", "127.0.0.1:1/x"], "image.not_found", "`corm pull nothing` fetches it"),
            (vec!["save", "-o", "x.tar", "nothing"], "image.not_found", "`corm pull nothing` fetches it"),
            (vec!["history", "nothing"], "image.not_found", "No image named"),
            (vec!["start", "nothing"], "container.not_found", "No container named"),
            (vec!["exec", "nothing", "true"], "container.not_found", "No container named"),
            (vec!["logs", "nothing"], "container.not_found", "No container named"),
            (vec!["stop", "nothing"], "container.not_found", "No container named"),
            (vec!["cp", "nothing:/a", "b"], "container.not_found", "No container named"),
            (vec!["volume", "inspect", "nothing"], "volume.not_found", "nothing"),
            (vec!["network", "inspect", "nothing"], "network.not_found", "nothing"),
            (vec!["explain", "image.not_foun"], "usage.value", "(did you mean \"image.not_found\"?)"),
        ],
    );
}

#[test]
fn of_archives_and_builds() {
    let sandbox = Sandbox::new();
    let write = |name: &str, bytes: &[u8]| std::fs::write(sandbox.path(name), bytes).unwrap();
    write("words", b"hello\n");
    write("noise", &(0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<u8>>());
    write("zip", b"PK\x03\x04rest of it");
    write("empty", b"");
    std::fs::create_dir(sandbox.path("manifest")).unwrap();
    write("manifest/manifest.json", b"x");
    for (dir, file) in [
        ("none", None),
        ("frm", Some("FRM x\n")),
        ("copy", Some("FROM scratch\nCOPY nothing /\n")),
        ("user", Some("RUN x\n")),
        ("env", Some("FROM scratch\nENV A\n")),
    ] {
        std::fs::create_dir(sandbox.path(dir)).unwrap();
        if let Some(text) = file {
            std::fs::write(sandbox.path(dir).join("Containerfile"), text).unwrap();
        }
    }
    check(
        &sandbox,
        &[
            (vec!["load", "-i", "words"], "archive.invalid", "\"words\": not an archive of any kind"),
            (vec!["load", "-i", "noise"], "archive.invalid", "\"noise\": not an archive of any kind"),
            (vec!["load", "-i", "zip"], "archive.invalid", "\"zip\": not an archive of any kind"),
            (vec!["load", "-i", "empty"], "archive.invalid", "\"empty\": "),
            (vec!["load", "-i", "missing"], "file.missing", "open \"missing\""),
            (vec!["load", "-i", "none"], "archive.invalid", "no OCI layout"),
            (vec!["import", "missing"], "file.missing", "\"missing\""),
            (vec!["import", "words", "x:1"], "archive.invalid", "archive"),
            (vec!["build", "missing"], "file.missing", "context"),
            (vec!["build", "frm"], "build.invalid", "Containerfile:1: \"FRM x\""),
            (vec!["build", "copy"], "file.missing", "Containerfile:2: \"COPY nothing /\""),
            (vec!["build", "user"], "build.invalid", "Containerfile:1"),
            (vec!["build", "env"], "build.invalid", "not of the form NAME=VALUE"),
            (vec!["build", "none"], "file.missing", "neither Containerfile nor Dockerfile"),
            (vec!["build", "-f", "/no/Containerfile", "frm"], "file.missing", "\"/no/Containerfile\""),
            (vec!["load", "-i", "manifest"], "archive.invalid", "manifest.json: not valid JSON"),
        ],
    );
}
