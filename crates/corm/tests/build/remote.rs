//! Contexts and sources of `ADD` from elsewhere: files by HTTP, repositories of git, served on loopback.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use corm::model::digest::Digest;

use crate::fixture::{CormFixture, over_all, over_one};
use crate::{built, prints};
use test_support::{Cmd, Proc, need_root, wait_for};

/// A server on loopback, which ends with the value.
struct Server {
    address: SocketAddr,
    process: Proc,
}

impl Server {
    /// Starts a program, whose arguments `command` adds for a free port.
    fn start(command: impl FnOnce(u16) -> Cmd) -> Server {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = command(address.port()).limit(Duration::from_secs(100_000)).spawn();
        wait_for("the server answers", || TcpStream::connect(address).is_ok());
        Server { address, process }
    }

    /// Serves the files of a directory by HTTP.
    fn http(fixture: &CormFixture, dir: &Path) -> Server {
        Server::start(|port| {
            let python = fixture.sandbox.program("python3").args(["-m", "http.server", "--bind", "127.0.0.1"]);
            python.arg("--directory").arg(dir).arg(port.to_string())
        })
    }

    /// Serves the repositories of a directory by the protocol of git.
    fn git(fixture: &CormFixture, dir: &Path) -> Server {
        Server::start(|port| {
            let daemon = fixture.sandbox.program("/usr/lib/git-core/git-daemon");
            daemon.args(["--export-all", "--listen=127.0.0.1"]).arg(format!("--port={port}")).arg(base_path(dir))
        })
    }

    /// Returns the lines of its log on standard error that have a text: what it was asked for.
    fn asked(&self, text: &str) -> usize {
        self.process.stderr().matches(text).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.signal(libc::SIGKILL);
    }
}

fn base_path(dir: &Path) -> String {
    format!("--base-path={}", dir.display())
}

/// Writes an archive with the file `f`.
fn archive(fixture: &CormFixture, to: &Path, files: &[(&str, &str)]) {
    let dir = fixture.sandbox.mkdir("packed");
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
    fixture.sandbox.program("tar").arg("-C").arg(&dir).arg("-czf").arg(to).arg(".").out().ok();
}

#[test]
fn files_come_by_http_and_are_compared_with_their_checksum() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let dir = fixture.sandbox.mkdir("served");
        let file = dir.join("file");
        std::fs::write(&file, "content\n").unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        std::fs::File::options().append(true).open(&file).unwrap().set_modified(time).unwrap();
        archive(fixture, &dir.join("a.tar.gz"), &[("f", "F\n")]);
        let server = Server::http(fixture, &dir);
        let at = format!("http://{}", server.address);
        let digest = Digest::of(b"content\n").to_string();
        let text = format!(
            "FROM base\nADD {at}/file /got\nARG SUM={digest}\nADD --checksum=$SUM --chmod=640 --chown=3:4 {at}/file /dir/\n\
             ADD {at}/a.tar.gz /dir/\nADD --unpack=true {at}/a.tar.gz /open/\n"
        );
        built(fixture, &text, &[], &[]).ok();
        let script = "cat /got; stat -c '%a %u:%g %Y' /got /dir/file; ls /dir; cat /open/f";
        let wanted = "content\n600 0:0 1000000000\n640 3:4 1000000000\na.tar.gz\nfile\nF";
        assert_eq!(prints(fixture, script), wanted);
        assert!(server.asked("GET /file") > 0, "the server was asked");
        // cached as long as the content is the same
        let again = built(fixture, &text, &[], &[]).ok();
        assert!(!again.stderr.contains("] done"), "{again:?}");
        let zero = format!("sha256:{}", "0".repeat(64));
        for (line, wanted) in [
            (format!("--checksum={zero} {at}/file /a"), "the download has the digest"),
            (format!("{at}/none /a"), "HTTP status 404"),
            (format!("{at}/ /a"), "no name of a file"),
            (format!("--checksum=sha256:00 {at}/file /a"), "--checksum"),
            (format!("--checksum=md5:00 {at}/file /a"), "--checksum"),
            ("--checksum=md5:00 Containerfile /a".into(), "\"Containerfile\" is no address"),
            (format!("--checksum={digest} Containerfile /a"), "\"Containerfile\" is no address"),
            (format!("--checksum={digest} Contain* /a"), "\"Contain*\" is no address"),
            (format!("--checksum={digest} {at}/file {at}/file /a/"), "must have one source"),
            (format!("--checksum={digest} <<E /a\nx\nE"), "must have one source"),
        ] {
            let out = built(fixture, &format!("FROM base\nADD {line}\n"), &[], &[]).fails();
            assert!(out.stderr.contains(wanted) && out.stderr.contains("Containerfile:2"), "{line}: {out:?}");
        }
        std::fs::write(&file, "changed\n").unwrap();
        let out = built(fixture, &text, &[], &[]).fails();
        assert!(out.stderr.contains("--checksum"), "{out:?}");
        drop(server);
        fixture.no_container_left();
    });
}

#[test]
fn an_address_is_a_context() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let dir = fixture.sandbox.mkdir("served");
        let text = "FROM base\nCOPY f /f\n";
        archive(
            fixture,
            &dir.join("c.tar.gz"),
            &[("f", "F\n"), ("Containerfile", text), ("Other", "FROM base\nCOPY f /o\n")],
        );
        std::fs::write(dir.join("Dockerfile"), "FROM base\nRUN echo alone > /alone\n").unwrap();
        let server = Server::http(fixture, &dir);
        let of = |name: &str| format!("http://{}/{name}", server.address);
        fixture.corm(["build", "-t", "x"]).arg(of("c.tar.gz")).out().ok();
        assert_eq!(prints(fixture, "cat /f"), "F");
        fixture.corm(["build", "-t", "x", "-f", "Other"]).arg(of("c.tar.gz")).out().ok();
        assert_eq!(prints(fixture, "cat /o"), "F");
        // a text is a Containerfile without a context
        fixture.corm(["build", "-t", "x"]).arg(of("Dockerfile")).out().ok();
        assert_eq!(prints(fixture, "cat /alone"), "alone");
        let out = fixture.corm(["build"]).arg(of("none")).out().fails();
        assert!(out.stderr.contains("HTTP status 404") && out.stderr.contains("/none"), "{out:?}");
    });
}

/// A repository with two commits, a tag, a directory, a symlink out of it, and a submodule.
struct Repository<'a> {
    fixture: &'a CormFixture,
    first: String,
    second: String,
}

impl Repository<'_> {
    fn git(fixture: &CormFixture, name: &str, args: &[&str]) -> String {
        let git = fixture.sandbox.program("git").arg("-C").arg(fixture.sandbox.mkdir(name));
        let git = git.args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]);
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").args(args).out().ok().text().to_owned()
    }

    fn commit(fixture: &CormFixture, name: &str) -> String {
        Self::git(fixture, name, &["add", "-A"]);
        Self::git(fixture, name, &["commit", "-q", "-m", "x"]);
        Self::git(fixture, name, &["rev-parse", "HEAD"])
    }

    fn new(fixture: &CormFixture) -> Repository<'_> {
        for name in ["work", "module"] {
            Self::git(fixture, name, &["init", "-q"]);
        }
        fixture.sandbox.write("module/m", "M\n");
        Self::commit(fixture, "module");
        fixture.sandbox.write("work/Containerfile", "FROM base\nCOPY . /all\n");
        fixture.sandbox.write("work/f", "one\n");
        fixture.sandbox.mkdir("work/sub");
        fixture.sandbox.write("work/sub/Containerfile", "FROM base\nCOPY g /g\n");
        fixture.sandbox.write("work/sub/g", "G\n");
        test_support::host::symlink("/", fixture.sandbox.path("work/out"));
        let first = Self::commit(fixture, "work");
        Self::git(fixture, "work", &["tag", "v1"]);
        fixture.sandbox.write("work/f", "two\n");
        let second = Self::commit(fixture, "work");
        Repository { fixture, first, second }
    }

    /// Makes what a server has.
    fn publish(&self) {
        let bare = self.fixture.sandbox.mkdir("served");
        for name in ["work", "module"] {
            let _ = std::fs::remove_dir_all(bare.join(format!("{name}.git")));
            Self::git(
                self.fixture,
                "served",
                &["clone", "-q", "--bare", &format!("../{name}"), &format!("{name}.git")],
            );
            // for servers of plain files
            Self::git(self.fixture, &format!("served/{name}.git"), &["update-server-info"]);
        }
    }
}

#[test]
fn repositories_are_contexts_and_sources() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let repository = Repository::new(fixture);
        repository.publish();
        let served = fixture.sandbox.path("served");
        let (daemon, plain) = (Server::git(fixture, &served), Server::http(fixture, &served));
        for at in [format!("git://{}/work.git", daemon.address), format!("http://{}/work.git", plain.address)] {
            let commit = format!("#{}", repository.first);
            let short = format!("#{}", &repository.first[..10]);
            for (end, script, wanted) in [
                ("", "cat /all/f; ls -A /all | grep -c git", "two\n0"),
                ("#v1", "cat /all/f", "one"),
                ("#main", "cat /all/f", "two"),
                (&commit, "cat /all/f", "one"),
                (&short, "cat /all/f", "one"),
                ("#main:sub", "cat /g", "G"),
                ("?branch=main&subdir=sub", "cat /g", "G"),
            ] {
                fixture.corm(["build", "-t", "x"]).arg(format!("{at}{end}")).out().ok();
                // grep -c fails where it counts none
                assert_eq!(prints(fixture, &format!("{script}; true")), wanted, "{at}{end}");
            }
            for (end, wanted) in [("#none", "none"), ("#main:none", "none"), ("#main:out/etc", "out/etc")] {
                let out = fixture.corm(["build"]).arg(format!("{at}{end}")).out().fails();
                assert!(out.stderr.contains(wanted), "{at}{end}: {out:?}");
            }
            let text = |commit: &str| {
                format!("FROM base\nADD --keep-git-dir=true {at}#v1 /k/\nADD --checksum={commit} {at} /c/\n")
            };
            built(fixture, &text(&repository.second), &[], &[]).ok();
            assert_eq!(prints(fixture, "cat /k/f /c/f; ls -d /k/.git /c/.git 2>/dev/null; true"), "one\ntwo\n/k/.git");
            let out = built(fixture, &text(&repository.first), &[], &[]).fails();
            assert!(out.stderr.contains("--checksum: the commit is"), "{out:?}");
        }
        assert!(plain.asked("GET /work.git/info/refs") > 0, "the server was asked");
        drop((daemon, plain));
        fixture.no_container_left();
    });
}

#[test]
fn submodules_are_fetched_but_from_no_file_of_the_host() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let repository = Repository::new(fixture);
        repository.publish();
        let daemon = Server::git(fixture, &fixture.sandbox.path("served"));
        let at = |name: &str| format!("git://{}/{name}.git", daemon.address);
        Repository::git(fixture, "work", &["submodule", "--quiet", "add", &at("module"), "mod"]);
        Repository::commit(fixture, "work");
        repository.publish();
        fixture.corm(["build", "-t", "x"]).arg(at("work")).out().ok();
        assert_eq!(prints(fixture, "cat /all/mod/m; ls -A /all/mod"), "M\nm");
        let local = fixture.sandbox.path("served/module.git");
        fixture
            .sandbox
            .write("work/.gitmodules", format!("[submodule \"mod\"]\npath = mod\nurl = {}\n", local.display()));
        Repository::commit(fixture, "work");
        repository.publish();
        let out = fixture.corm(["build", "-t", "x"]).arg(at("work")).out().fails();
        assert!(out.stderr.contains("submodules of") && out.stderr.contains("not allowed"), "{out:?}");
    });
}
