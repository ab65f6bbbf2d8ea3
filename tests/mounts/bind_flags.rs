//! MT-9: the flags of a bind, by those of its source and those that are named, without and with a user namespace. The
//! table is that of docs/reference/bind-flags.md; its right values are runc's.

use super::*;

/// The kernel refuses: a flag of the source is locked.
const REFUSED: &str = "refused";

/// Flags of the source, options of the bind, flags of the bind without and with a user namespace. Flags are the words of
/// /proc/mounts; without a word for access times they are strict.
const TABLE: &[(&str, &str, &str, &str)] = &[
    // no flag is named: all stay
    (
        "ro,noexec,nosymfollow,nodiratime",
        "bind",
        "ro,noexec,nosymfollow,nodiratime,relatime",
        "ro,noexec,nosymfollow,nodiratime,relatime",
    ),
    ("ro,nosuid,nodev", "bind,rprivate", "ro,nosuid,nodev", "ro,nosuid,nodev"),
    // one is named: the others are cleared, but those that are locked
    ("ro,noexec,nosymfollow,nodiratime", "bind,dev", "rw,nodiratime,relatime", "ro,noexec,nodiratime,relatime"),
    ("ro", "bind,nosuid,nodev,rprivate", "rw,nosuid,nodev", "ro,nosuid,nodev"),
    ("nodev,nosuid,noexec,noatime", "bind,ro", "ro,noatime", "ro,nosuid,nodev,noexec,noatime"),
    ("nodev,nosuid,noatime", "bind,ro,exec", "ro,noatime", "ro,nosuid,nodev,noatime"),
    ("nodev,nosymfollow", "bind,ro,symfollow", "ro", "ro,nodev"),
    ("nodev,nosymfollow", "bind,rw", "rw", "rw,nodev"),
    ("noexec", "bind,sync", "rw", "rw,noexec"),
    // a locked flag is named to be cleared
    ("ro", "bind,rw,nosuid,nodev,rprivate", "rw,nosuid,nodev", REFUSED),
    ("nosuid,nodev,noexec,noatime", "bind,dev,suid,exec,atime", "rw,noatime", REFUSED),
    ("noexec", "bind,exec", "rw", REFUSED),
    ("nosuid", "bind,suid", "rw", REFUSED),
    ("nodev", "bind,dev", "rw", REFUSED),
    // flags of the tree come after those of the mount
    ("noexec", "rbind,rro,nosuid", "ro,nosuid", "ro,nosuid,noexec"),
    ("rw", "rbind,rro,rw", "ro", "ro"),
    // access times: nothing is named, or only that something is not wanted
    ("strictatime", "bind", "rw", "rw"),
    ("relatime", "bind", "rw,relatime", "rw,relatime"),
    ("noatime", "bind", "rw,noatime", "rw,noatime"),
    ("nodiratime", "bind", "rw,nodiratime,relatime", "rw,nodiratime,relatime"),
    ("noatime,nodiratime", "bind", "rw,noatime,nodiratime", "rw,noatime,nodiratime"),
    ("noatime", "bind,norelatime", "rw,noatime", "rw,noatime"),
    ("noatime", "bind,atime", "rw,noatime", "rw,noatime"),
    ("noatime,nodiratime", "bind,atime", "rw,noatime,nodiratime", "rw,noatime,nodiratime"),
    ("noatime,nodiratime", "bind,norelatime", "rw,noatime,nodiratime", "rw,noatime,nodiratime"),
    ("strictatime", "bind,nostrictatime", "rw", "rw"),
    ("nodiratime", "bind,diratime", "rw,nodiratime,relatime", "rw,nodiratime,relatime"),
    ("nodiratime", "bind,norelatime", "rw,nodiratime,relatime", "rw,nodiratime,relatime"),
    ("relatime", "bind,norelatime", "rw,relatime", "rw,relatime"),
    // access times are named
    ("noatime", "bind,relatime", "rw,relatime", REFUSED),
    ("noatime", "bind,strictatime", "rw", REFUSED),
    ("noatime", "bind,nodiratime", "rw,nodiratime,relatime", REFUSED),
    ("noatime", "bind,nodiratime,strictatime", "rw,nodiratime", REFUSED),
    ("noatime", "bind,nodiratime,norelatime", "rw,nodiratime,relatime", REFUSED),
    ("nodiratime", "bind,strictatime", "rw", REFUSED),
    ("nodiratime", "bind,noatime", "rw,noatime", REFUSED),
    ("relatime", "bind,strictatime", "rw", REFUSED),
    ("relatime", "bind,noatime", "rw,noatime", REFUSED),
    ("relatime", "bind,nodiratime", "rw,nodiratime,relatime", REFUSED),
    ("strictatime", "bind,relatime", "rw,relatime", REFUSED),
    ("strictatime", "bind,noatime", "rw,noatime", REFUSED),
    ("strictatime", "bind,nodiratime", "rw,nodiratime,relatime", REFUSED),
    ("noatime", "bind,noatime", "rw,noatime", "rw,noatime"),
];

/// Mounts the source of each row at `s0`, `s1`…, runs a container with all of them, and returns its output.
fn run(rows: &[(&str, &str)], userns: bool, open: bool) -> Out {
    let mut c = Container::sh("cat /proc/self/mounts");
    if userns {
        c = c.edit(bundle::with_userns);
    }
    open_to_all(&c, true);
    let sources = c.sandbox.mkdir("sources");
    std::fs::set_permissions(&sources, Permissions::from_mode(if open { 0o755 } else { 0o700 })).unwrap();
    let mut script = format!("cd {}\n", sources.display());
    for (index, (flags, options)) in rows.iter().enumerate() {
        // two steps, because a flag of the first would be of the superblock, and mount(8) adds to the flags that are there
        script += &format!(
            "mkdir s{index}; mount -t tmpfs t s{index}; chmod 755 s{index}\n\
             mount --bind -o remount,diratime,atime,strictatime s{index}; mount --bind -o remount,{flags} s{index}\n"
        );
        let options: Vec<_> = options.split(',').collect();
        c = c.mount(json!({ "destination": format!("/tmp/c{index}"), "type": "bind", "options": options,
                            "source": sources.join(format!("s{index}")) }));
    }
    c.write_config();
    let out = c.run_by(with_mounts(&c, &script));
    c.nothing_left();
    out
}

/// Returns the words of /proc/mounts that are flags of the mount.
fn flags(out: &Out, index: usize) -> Vec<String> {
    const WORDS: [&str; 9] =
        ["ro", "rw", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "nosymfollow"];
    let place = format!("/tmp/c{index}");
    let line = out.stdout.lines().find(|line| line.split(' ').nth(1) == Some(&place));
    let options = line.unwrap_or_else(|| panic!("nothing is mounted at {place}: {out:?}")).split(' ').nth(3).unwrap();
    sorted(options.split(',').filter(|word| WORDS.contains(word)))
}

fn sorted<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut words: Vec<_> = words.map(str::to_owned).collect();
    words.sort();
    words
}

fn check(rows: &[(&str, &str, &str)], userns: bool, open: bool) {
    let sources: Vec<_> = rows.iter().map(|row| (row.0, row.1)).collect();
    let out = run(&sources, userns, open).ok();
    let mut wrong = Vec::new();
    for (index, (source, options, expected)) in rows.iter().enumerate() {
        let mut wanted = sorted(expected.split(','));
        if !expected.contains("ro") && !expected.contains("rw") {
            wanted.push("rw".to_owned());
        }
        let seen = flags(&out, index);
        // "ro" and "rw" in "rprivate" and others do not count: the lists are of words
        if seen != wanted {
            wrong.push(format!("{source:?} with {options:?}: {seen:?}, not {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "userns {userns}, open {open}: {wrong:#?}");
}

#[test]
fn mt_9_flags_of_a_bind() {
    need_root!();
    let rows: Vec<_> = TABLE.iter().map(|row| (row.0, row.1, row.2)).collect();
    check(&rows, false, true);
}

/// Sources that the user namespace can reach are cloned in it, the others outside.
#[test]
fn mt_9_flags_of_a_bind_in_a_user_namespace() {
    need_root!();
    let rows: Vec<_> = TABLE.iter().filter(|row| row.3 != REFUSED).map(|row| (row.0, row.1, row.3)).collect();
    check(&rows, true, true);
    check(&rows, true, false);
}

#[test]
fn mt_9_locked_flags_that_are_named_are_refused() {
    need_root!();
    for row in TABLE.iter().filter(|row| row.3 == REFUSED) {
        for open in [true, false] {
            let out = run(&[(row.0, row.1)], true, open).fails().one_line();
            assert!(out.stderr.contains("locked") && out.stderr.contains("/tmp/c0"), "{row:?}, open {open}: {out:?}");
            assert!(out.stderr.to_lowercase().contains("operation not permitted"), "{row:?}: {out:?}");
        }
    }
}

/// Podman and Buildah pass on options that have no effect in a runtime; anything else that is no option is an error.
#[test]
fn options_without_an_effect_on_a_bind() {
    need_root!();
    let c = Container::sh("cat /data/marker");
    let dir = c.host_dir("shared");
    let c = c.mount(bundle::bind(&dir, "/data", &["z", "Z", "U", "size=1m,mode=700"]));
    c.write_config();
    let out = c.croci(["--log-level", "warning", "run", "--bundle"]).arg(&c.bundle).arg(&c.id).out().ok();
    assert_eq!(out.text(), "host-marker");
    for word in ["z", "Z", "U", "size=1m", "mode=700"] {
        assert!(out.stderr.contains(&format!("option {word:?} has no effect on a bind mount")), "{out:?}");
    }
    let c = Container::new(&["true"]).mount(bundle::bind(&dir, "/data", &["sise=1m"]));
    c.create().fails().one_line().stderr_contains("sise=1m");
}

#[test]
fn the_table_is_in_the_documentation() {
    let page = include_str!("../../docs/reference/bind-flags.md");
    let documented: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let cell = |text: &str| if text == REFUSED { "an error".to_owned() } else { format!("`{text}`") };
    let tested: Vec<_> = TABLE
        .iter()
        .map(|row| format!("| {} | {} | {} | {} |", cell(row.0), cell(row.1), cell(row.2), cell(row.3)))
        .collect();
    assert_eq!(documented, tested);
}
