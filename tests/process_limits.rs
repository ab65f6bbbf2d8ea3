//! Credentials and limits as the peers set them, and limits of croci itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

/// Returns the lines of capabilities and groups that a container of user 1000 reads.
fn status_of(capabilities: &Value) -> Vec<String> {
    let c = Container::new(&["grep", "-E", "^(Groups|Cap(Inh|Prm|Eff|Amb))", "/proc/self/status"]);
    let out = c.edit(|config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5, 2000] });
        config["process"]["capabilities"] = capabilities.clone();
    });
    let text = out.run().ok().stdout;
    text.split_whitespace().map(str::to_owned).collect()
}

/// A user who is not root has inheritable capabilities without permitted ones, and supplementary groups, as with runc.
#[test]
fn pr_12_inheritable_capabilities_of_an_ordinary_user() {
    need_root!();
    let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
    let none = "0000000000000000";
    let both = "0000000000000021";
    let groups = ["Groups:", "5", "2000"].map(str::to_owned).to_vec();
    let sets = |inheritable: &str, others: &str| {
        let lines = [("CapInh:", inheritable), ("CapPrm:", others), ("CapEff:", others), ("CapAmb:", others)];
        let words = lines.into_iter().flat_map(|(name, bits)| [name.to_owned(), bits.to_owned()]);
        groups.iter().cloned().chain(words).collect::<Vec<_>>()
    };
    assert_eq!(status_of(&json!({ "bounding": caps, "inheritable": caps })), sets(both, none));
    let all = json!({ "bounding": caps, "effective": caps, "permitted": caps, "inheritable": caps, "ambient": caps });
    assert_eq!(status_of(&all), sets(both, both));
}

/// A limit that the kernel refuses is named, in runc's words.
#[test]
fn pr_8_a_refused_limit_is_named() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| {
        let limit = 1_u64 << 40; // above fs.nr_open
        config["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": limit, "hard": limit }]);
    });
    let out = c.create().fails().one_line();
    out.stderr_contains("process.rlimits: RLIMIT_NOFILE: ").stderr_contains("error setting rlimit type 7");
    c.nothing_left();
}

/// A limit of the caller for the size of files is an error of the write and not the end of croci, which would leave a
/// half-made container; the program gets the signal's default action.
#[test]
fn a_file_size_limit_of_the_caller_is_an_error_and_no_death() {
    need_root!();
    let c = Container::new(&["grep", "Sig\\(Ign\\|Cgt\\)", "/proc/self/status"]);
    c.write_config();
    // the error text is short enough for the file that it is printed to, the copy of the configuration is not
    c.create_with(&[]).rlimit(libc::RLIMIT_FSIZE, 400).out().fails().one_line().stderr_contains("file too large");
    c.nothing_left();
    let out = c.run().ok();
    let bit = 1_u64 << (libc::SIGXFSZ - 1);
    let masks: Vec<u64> = out.lines().iter().map(|line| u64::from_str_radix(line[7..].trim(), 16).unwrap()).collect();
    assert!(masks.len() == 2 && masks.iter().all(|mask| mask & bit == 0), "{out:?}");
}
