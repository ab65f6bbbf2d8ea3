//! `cp` between a container, running and stopped, and the host.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::fixture::{CormFixture, over_all, over_one};
use test_support::{host, need_root};

/// Creates files to copy: `h/f`, `h/sub/g`, a symlink, two names of one file, a fifo.
fn files(fixture: &CormFixture) -> PathBuf {
    let dir = fixture.sandbox.mkdir("h");
    fs::create_dir_all(dir.join("sub")).unwrap();
    fs::write(dir.join("f"), "text").unwrap();
    fs::set_permissions(dir.join("f"), fs::Permissions::from_mode(0o4750)).unwrap();
    std::os::unix::fs::chown(dir.join("sub"), Some(1234), Some(1234)).unwrap();
    fs::write(dir.join("sub/g"), "g").unwrap();
    fs::hard_link(dir.join("sub/g"), dir.join("same")).unwrap();
    symlink("f", dir.join("l")).unwrap();
    fixture.sandbox.program("mkfifo").arg(dir.join("fifo")).out().ok();
    dir
}

/// Runs a shell script on the container's tree: in the container, or for a stopped one in its next run.
#[track_caller]
fn seen(fixture: &CormFixture, name: &str, script: &str) -> String {
    if fixture.status(name) == "running" {
        return fixture.corm(["exec", name, "sh", "-c", script]).out().ok().text().to_owned();
    }
    fixture.corm(["start", name]).out().ok();
    let text = fixture.corm(["exec", name, "sh", "-c", script]).out().ok().text().to_owned();
    fixture.corm(["stop", "-t", "0", name]).out().ok();
    text
}

#[test]
fn a_tree_and_back_is_the_same_running_and_stopped() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let dir = files(fixture);
        fixture.detached(&["--name", "run", "-v", "vol:/vol"], "base", &["sleep", "1000"]);
        fixture.corm(["create", "--name", "stop", "-v", "vol2:/vol", "base", "sleep", "1000"]).out().ok();
        let mounts = || host::mounts_below(&fixture.root().join("containers")).len();
        let before = mounts();
        for name in ["run", "stop"] {
            let cp = |from: &str, to: &str| fixture.corm(["cp", from, to]).out().ok().silent();
            let host = dir.to_str().unwrap();
            // into an existing directory, as a new one, and the content alone
            cp(host, &format!("{name}:/tmp"));
            cp(host, &format!("{name}:/new"));
            cp(&format!("{host}/."), &format!("{name}:/vol"));
            cp(&format!("{host}/l"), &format!("{name}:/tmp/followed"));
            let script = "for d in /tmp/h /new /vol; do cd $d; ls; stat -c '%n %a %u:%g %h' f sub/g; readlink l; done; \
                          cat /tmp/followed";
            let one = "f\nfifo\nl\nsame\nsub\nf 4750 0:0 1\nsub/g 644 0:0 2\nf\n";
            assert_eq!(seen(fixture, name, script), format!("{}text", one.repeat(3)), "{name}");
            let back = fixture.sandbox.path(&format!("back-{name}"));
            cp(&format!("{name}:/new"), back.to_str().unwrap());
            assert_eq!(fs::read_to_string(back.join("sub/g")).unwrap(), "g");
            assert_eq!(fs::read_link(back.join("l")).unwrap(), Path::new("f"));
            assert_eq!(fs::metadata(back.join("same")).unwrap().ino(), fs::metadata(back.join("sub/g")).unwrap().ino());
            // no set-id program of a container gets onto the host
            assert_eq!(fs::metadata(back.join("f")).unwrap().mode() & 0o7777, 0o750);
            cp(&format!("{name}:/vol/sub/g"), back.join("g2").to_str().unwrap());
            assert_eq!(fs::read_to_string(back.join("g2")).unwrap(), "g");
            // the owners of the source, where the caller wants them
            fixture.corm(["cp", "-a=false", host, &format!("{name}:/owned")]).out().ok();
            assert_eq!(seen(fixture, name, "stat -c %u:%g /owned/sub"), "1234:1234");
        }
        // between two containers
        fixture.corm(["cp", "run:/new/sub", "stop:/etc"]).out().ok();
        assert_eq!(seen(fixture, "stop", "cat /etc/sub/g"), "g");
        // inside of one, whose tree is mounted once
        for name in ["run", "stop"] {
            fixture.corm(["cp", &format!("{name}:/new/sub"), &format!("{name}:/tmp")]).out().ok();
            assert_eq!(seen(fixture, name, "cat /tmp/sub/g"), "g");
        }
        assert_eq!(mounts(), before);
        fixture.corm(["rm", "-f", "-a"]).out().ok();
        fixture.corm(["volume", "rm", "-a"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_path_means_what_it_means_in_docker_and_podman() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let dir = files(fixture);
        let host = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        fixture.detached(&["--name", "c", "-u", "1000"], "base", &["sleep", "1000"]);
        fixture.corm(["cp", &host("f"), "c:/tmp/x"]).out().ok();
        // an existing file is replaced, through a symlink too; it belongs to the container's user
        fixture.corm(["exec", "-u", "0", "c", "ln", "-s", "/tmp/x", "/tmp/link"]).out().ok();
        fixture.corm(["cp", &host("sub/g"), "c:/tmp/link"]).out().ok();
        let out =
            fixture.corm(["exec", "c", "sh", "-c", "cat /tmp/x; stat -c %u /tmp/x; readlink /tmp/link"]).out().ok();
        assert_eq!(out.stdout, "g1000\n/tmp/x\n");
        // a symlink as the source is followed, as Docker has it with -L and Podman always
        for flags in [&["cp"][..], &["cp", "-L", "-q"], &["cp", "--follow-link", "--quiet"]] {
            fixture.corm(flags).args([&*host("l"), "c:/tmp/followed"]).out().ok().silent();
            let out =
                fixture.corm(["exec", "-u", "0", "c", "sh", "-c", "cat /tmp/followed; readlink /tmp/followed"]).out();
            assert_eq!(out.stdout, "text", "{flags:?}");
            fixture.corm(["exec", "-u", "0", "c", "rm", "/tmp/followed"]).out().ok();
        }
        for (from, to, message) in [
            (host("f"), "c:/tmp/no/", "\"/tmp/no/\" could not be found on container c: no such file or directory"),
            (host("f"), "c:/no/x", "could not be found on container c"),
            (host("f"), "c:/tmp/x/", "is not a directory"),
            (host("h"), "c:/tmp", "could not be found on the host"),
            (dir.to_str().unwrap().to_owned(), "c:/tmp/x", "destination must be a directory when copying a directory"),
            ("c:/nope".to_owned(), "/tmp", "\"/nope\" could not be found on container c"),
            ("nope:/x".to_owned(), "/tmp", "No container named 'nope' exists"),
            ("/a".to_owned(), "/b", "one of the two paths must be of a container"),
            ("-".to_owned(), "c:/tmp/x", "destination must be a directory when copying from stdin"),
            ("-".to_owned(), "-", "one of the two paths must be of a container"),
            (":/x".to_owned(), "/tmp", "not of the form CONTAINER:PATH"),
        ] {
            let out = fixture.corm(["cp", &from, to]).stdin("").out().fails().one_line().no_panic();
            assert!(out.stderr.contains(message), "{from} {to}: {out:?}");
        }
        // a directory in the place of a file needs the flag
        fixture.corm(["exec", "-u", "0", "c", "mkdir", "-p", "/tmp/h/f"]).out().ok();
        fixture.corm(["cp", dir.to_str().unwrap(), "c:/tmp"]).out().fails().stderr_contains("--overwrite");
        fixture.corm(["cp", "--overwrite", dir.to_str().unwrap(), "c:/tmp"]).out().ok();
        assert_eq!(fixture.corm(["exec", "-u", "0", "c", "cat", "/tmp/h/f"]).out().ok().text(), "text");
        // mounted files are written in place
        let hosts = fixture.sandbox.write("hosts", "127.0.0.9 here\n");
        fixture.corm(["cp", hosts.to_str().unwrap(), "c:/etc/hosts"]).out().ok();
        assert_eq!(fixture.corm(["exec", "c", "cat", "/etc/hosts"]).out().ok().text(), "127.0.0.9 here");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_tar_comes_and_goes_by_the_standard_streams() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let dir = files(fixture);
        fixture.detached(&["--name", "c"], "base", &["sleep", "1000"]);
        fixture.corm(["cp", dir.to_str().unwrap(), "c:/tmp"]).out().ok();
        let tar = fixture.sandbox.path("out.tar");
        for (from, names) in [
            ("c:/tmp/h", "h/ h/f h/fifo h/l h/same h/sub/ h/sub/g"),
            ("c:/tmp/h/f", "f"),
            ("c:/tmp/h/.", "./ f fifo l same sub/ sub/g"),
        ] {
            let mut cp = fixture.corm(["cp", from, "-"]).command;
            assert!(cp.stdout(fs::File::create(&tar).unwrap()).status().unwrap().success());
            let list = fixture.sandbox.program("tar").arg("-tf").arg(&tar).out().ok().stdout;
            assert_eq!(list.split_whitespace().collect::<Vec<_>>().join(" "), names, "{from}");
        }
        fixture.corm(["exec", "c", "mkdir", "/in", "/in2"]).out().ok();
        fixture.corm(["exec", "c", "ln", "-s", "/etc", "/in/link"]).out().ok();
        for compress in ["--gzip", "--zstd", "--no-auto-compress"] {
            let pack =
                fixture.sandbox.program("tar").arg(compress).arg("-C").arg(dir.parent().unwrap()).arg("-cf").arg(&tar);
            pack.arg("h").out().ok();
            let packed = fs::File::open(&tar).unwrap();
            fixture.corm(["cp", "-", "c:/in"]).stdin_from(packed).out().ok();
            assert_eq!(fixture.corm(["exec", "c", "cat", "/in/h/sub/g"]).out().ok().text(), "g");
        }
        fixture.corm(["cp", "-", "c:/in"]).stdin("no tar").out().fails();
        fixture.corm(["cp", "-", "c:/in"]).stdin("").out().fails().stderr_contains("is empty");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn links_of_a_container_lead_nowhere_on_the_host() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let secret = fixture.sandbox.write("secret", "of the host");
        let outside = fixture.sandbox.mkdir("outside");
        let script = format!(
            "mkdir -p /d; ln -s {0} /d/out; ln -s ../../../../../../../..{0} /d/up; ln -s {1} /d/secret; sleep 1000",
            outside.display(),
            secret.display()
        );
        fixture.detached(&["--name", "c"], "base", &["sh", "-c", &script]);
        test_support::wait_for("the links", || fixture.corm(["exec", "c", "ls", "/d"]).out().lines().len() == 3);
        let file = fixture.sandbox.write("f", "x");
        for running in [true, false] {
            if !running {
                fixture.corm(["stop", "-t", "0", "c"]).out().ok();
            }
            for to in ["c:/d/out/f", "c:/d/up/f", "c:/d/out/", "c:/d/up/new/"] {
                fixture.corm(["cp", file.to_str().unwrap(), to]).out().fails();
            }
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
            fixture.corm(["cp", "c:/d/secret"]).arg(fixture.sandbox.path("stolen")).out().fails();
            // copied as links, not followed
            let to = fixture.sandbox.path(&format!("tree-{running}"));
            fixture.corm(["cp", "c:/d"]).arg(&to).out().ok();
            assert_eq!(fs::read_link(to.join("secret")).unwrap(), secret);
        }
        // a tar whose link leads out, and a file behind it
        let tar = fixture.sandbox.path("evil.tar");
        let pack = fixture.sandbox.mkdir("pack");
        symlink(&outside, pack.join("a")).unwrap();
        fixture.sandbox.program("tar").arg("-C").arg(&pack).arg("-cf").arg(&tar).arg("a").out().ok();
        fs::remove_file(pack.join("a")).unwrap();
        fs::create_dir(pack.join("a")).unwrap();
        fs::write(pack.join("a/b"), "x").unwrap();
        fixture.sandbox.program("tar").arg("-C").arg(&pack).arg("-rf").arg(&tar).arg("a/b").out().ok();
        fixture.corm(["cp", "-", "c:/tmp"]).stdin_from(fs::File::open(&tar).unwrap()).out();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}
