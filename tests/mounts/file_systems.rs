//! New file systems: data of any length, and tmpcopyup.

use super::*;

/// Runs a container with an overlay of `count` directories, each with a file of its own, at /over.
fn overlay(count: usize, name_length: usize) -> Out {
    let c = Container::sh("ls /over | wc -l; cat /over/which; echo new >/over/new");
    let dir = c.sandbox.mkdir("layers");
    let mut lower = Vec::new();
    for number in 0..count {
        let layer = dir.join(format!("{number:0name_length$}"));
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join(format!("file{number}")), "").unwrap();
        std::fs::write(layer.join("which"), number.to_string()).unwrap();
        lower.push(layer.display().to_string());
    }
    for name in ["upper", "work"] {
        std::fs::create_dir(dir.join(name)).unwrap();
    }
    let options = [
        format!("lowerdir={}", lower.join(":")),
        format!("upperdir={},workdir={}", dir.join("upper").display(), dir.join("work").display()),
    ];
    assert!(options[0].len() > 256);
    let c = c.mount(json!({ "destination": "/over", "type": "overlay", "source": "overlay", "options": options }));
    let out = c.run();
    if dir.join("upper/new").exists() {
        c.nothing_left();
    }
    out
}

#[test]
fn mt_7_overlay_with_twelve_and_sixty_lower_directories() {
    need_root!();
    for (count, name_length) in [(12, 20), (60, 20), (60, 60)] {
        let out = overlay(count, name_length).ok();
        assert_eq!(out.lines(), [(count + 1).to_string().as_str(), "0"], "{out:?}");
    }
}

/// A single value of more than 255 bytes needs mount(2).
#[test]
fn mt_7_a_long_value() {
    need_root!();
    for userns in [false, true] {
        let mut c = Container::sh("cat /over/file; echo new >/over/new; grep /over /proc/mounts");
        if userns {
            c = c.edit(bundle::with_userns);
        }
        open_to_all(&c, true);
        std::fs::create_dir(c.file("over")).unwrap();
        let mut deep = c.sandbox.mkdir("deep");
        for letter in ["a", "b", "c"] {
            deep = deep.join(letter.repeat(100));
        }
        for name in ["lower", "upper", "work"] {
            std::fs::create_dir_all(deep.join(name)).unwrap();
            std::os::unix::fs::chown(deep.join(name), Some(100_000), Some(100_000)).unwrap();
        }
        std::fs::write(deep.join("lower/file"), "lower\n").unwrap();
        let option = |name: &str| format!("{name}dir={}", deep.join(name).display());
        let options = [option("lower"), option("upper"), option("work"), "noexec".to_owned(), "nosuid".to_owned()];
        let c = c.mount(json!({ "destination": "/over", "type": "overlay", "source": "over", "options": options }));
        let out = c.run().ok();
        let lines = out.lines();
        assert_eq!(lines[0], "lower", "{out:?}");
        assert!(lines[1].starts_with("over /over overlay rw,nosuid,noexec,relatime,"), "{out:?}");
        assert_eq!(lines.len(), 2, "nothing else is mounted there: {out:?}");
        assert_eq!(std::fs::read_to_string(deep.join("upper/new")).unwrap(), "new\n");
        c.nothing_left();
    }
}

#[test]
fn mt_7_data_that_is_too_long_for_the_kernel_is_an_error() {
    need_root!();
    let c = Container::new(&["true"]);
    let options = [format!("upperdir=/{}", "x/".repeat(2500))];
    let c = c.mount(json!({ "destination": "/over", "type": "overlay", "source": "over", "options": options }));
    c.create().fails().one_line().stderr_contains("at most 4095");
    c.nothing_left();
}

#[test]
fn mt_7_one_word_of_several_options() {
    need_root!();
    let c = Container::sh("stat -c %a /t; grep ' /t ' /proc/mounts").mount(json!({
        "destination": "/t", "type": "tmpfs", "source": "t", "options": ["size=64k,mode=711,nr_inodes=10", "nodev"] }));
    let out = c.run().ok();
    assert_eq!(out.lines()[0], "711");
    assert!(out.text().contains("size=64k") && out.text().contains("nr_inodes=10"), "{out:?}");
}

/// The files of an overlay have the device numbers of their layers: that is no mount point.
#[test]
fn tmpcopyup_of_an_overlay_on_two_file_systems() {
    need_root!();
    let c =
        Container::sh("cd /data; cat lower upper sub/deep; readlink link; stat -c '%a %u' node; stat -c %a /nodes/n");
    let base = c.sandbox.mkdir("two");
    let c = c.mount(json!({ "destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] })).edit(
        |config| {
            config["linux"]["devices"] =
                json!([{ "path": "/nodes/n", "type": "c", "major": 1, "minor": 3, "fileMode": 0o604 }]);
        },
    );
    c.write_config();
    let script = format!(
        "cd {base}; mkdir one two; mount -t tmpfs t one; mount -t tmpfs t two; mkdir one/l two/u two/w\n\
         mkdir -p one/l/data/sub one/l/nodes; echo L >one/l/data/lower; echo D >one/l/data/sub/deep; ln -s to one/l/data/link\n\
         mknod one/l/data/node c 1 3; chmod 640 one/l/data/node; chown 7 one/l/data/node; mknod -m 600 one/l/nodes/n c 1 3\n\
         mkdir -p two/u/data; echo U >two/u/data/upper\n\
         mount -t overlay o -o lowerdir={rootfs}:one/l,upperdir=two/u,workdir=two/w {rootfs}",
        base = base.display(),
        rootfs = c.rootfs.display()
    );
    let out = c.run_by(with_mounts(&c, &script)).ok();
    assert_eq!(out.lines(), ["L", "U", "D", "to", "640 7", "604"], "{out:?}");
    c.nothing_left();
}

#[test]
fn tmpcopyup_leaves_out_what_is_mounted_below() {
    need_root!();
    let c = Container::sh("find /data | sort");
    let inner = c.host_dir("inner");
    std::fs::create_dir_all(c.file("data/kept")).unwrap();
    std::fs::write(c.file("data/kept/file"), "").unwrap();
    let c = c
        .mount(bundle::bind(&inner, "/data/mounted", &[]))
        .mount(json!({ "destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"] }));
    assert_eq!(c.run().ok().lines(), ["/data", "/data/kept", "/data/kept/file", "/data/mounted"]);
}
