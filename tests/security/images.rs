//! Class 22: images of a checkpoint are not trusted, and their directory may be another user's.

use super::files::{OPEN, open_dir};
use std::time::Duration;
use test_support::container::Untouched;
use test_support::*;

/// Returns a `restore` command with a CRIU that does nothing, because croci reads the images before it starts CRIU.
fn restore(c: &Container, flags: &[&str]) -> Cmd {
    c.write_config();
    let words = ["--criu", "/bin/true", "restore", "--detach", "--bundle"];
    let cmd = c.croci(words).arg(&c.bundle).arg("--image-path").arg(c.sandbox.path("images")).args(flags).arg(&c.id);
    // limits time and memory for a croci that reads without end
    cmd.limit(Duration::from_secs(10)).rlimit(libc::RLIMIT_AS, 1 << 30)
}

#[test]
fn class_22_the_streams_file_of_hostile_images() {
    need_root!();
    if !is_croci() {
        test_support::skip!("its own messages");
    }
    let c = Container::new(&["true"]);
    let images = c.sandbox.mkdir("images");
    let file = images.join("descriptors.json");
    std::fs::write(images.join("good.json"), r#"["/dev/null","/dev/null","/dev/null"]"#).unwrap();
    let makers: [(&str, &dyn Fn()); 7] = [
        ("is not a regular file", &|| nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("is a symlink", &|| host::symlink("/dev/zero", &file)),
        ("is a symlink", &|| host::symlink("good.json", &file)),
        ("is not a regular file", &|| std::fs::create_dir(&file).unwrap()),
        ("is not a regular file", &|| drop(std::os::unix::net::UnixListener::bind(&file).unwrap())),
        ("is larger than", &|| std::fs::File::create(&file).unwrap().set_len(1 << 40).unwrap()),
        ("is larger than", &|| std::fs::File::create(&file).unwrap().set_len((1 << 20) + 1).unwrap()),
    ];
    for (wanted, make) in makers {
        make();
        restore(&c, &[]).out().fails().stderr_contains("descriptors.json").stderr_contains(wanted).one_line();
        c.nothing_left();
        std::fs::remove_file(&file).or_else(|_| std::fs::remove_dir(&file)).unwrap();
    }
    // with a valid file, or none, CRIU fails
    for name in ["good.json", "none.json"] {
        let _ = std::fs::rename(images.join(name), &file);
        let out = restore(&c, &[]).out().fails();
        assert!(!out.stderr.contains("descriptors.json") && out.stderr.contains("criu"), "{name}: {out:?}");
        std::fs::remove_file(&file).unwrap_or_default();
    }
}

#[test]
fn class_8_criu_writes_in_no_directory_of_others() {
    need_root!();
    if !is_croci() {
        test_support::skip!("runc does not look");
    }
    let c = Container::running();
    let host = c.host_dir("host");
    let before = Untouched::watch(&host);
    for mode in OPEN {
        let dir = open_dir(&c, mode);
        for name in ["dump.log", "restore.log", "descriptors.json", "descriptors.json.new"] {
            host::symlink(host.join("marker"), dir.join(name));
        }
        let dir = dir.to_str().unwrap();
        let images = c.sandbox.path("fresh");
        let images = images.to_str().unwrap();
        for flags in [&["--image-path", dir][..], &["--image-path", images, "--work-path", dir]] {
            let out = c.croci(["--criu", "/bin/true", "checkpoint"]).args(flags).arg(&c.id).out();
            out.fails().stderr_contains(dir).stderr_contains("other users may write").one_line();
        }
        c.sandbox.mkdir("images");
        let other = Container::within(&c.sandbox, &["true"]);
        restore(&other, &["--work-path", dir])
            .out()
            .fails()
            .stderr_contains(dir)
            .stderr_contains("other users may write");
        before.check();
    }
    assert_eq!(c.status(), "running");
}
