//! The configurations that croci refuses and runc takes, as docs/user/differences.md lists them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

/// A change of a configuration, and a text that the error contains.
type Refused = (fn(&mut Value), &'static str);

#[test]
fn what_the_page_of_differences_lists_is_refused_with_its_words() {
    need_root!();
    if !is_croci() {
        skip!("the other runtimes take them");
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/user/differences.md")).unwrap();
    let table = page.split("## Configurations").nth(1).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| configuration")).count();
    let list: [Refused; 7] = [
        (
            |config| {
                let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 10, "hard": 10 });
                config["process"]["rlimits"] = json!([limit, limit]);
            },
            "is given twice",
        ),
        (|config| config["ociVersion"] = json!("garbage"), "is not a semantic version"),
        (|config| config["linux"]["readonlyPaths"] = json!(["/"]), "is the root"),
        (|config| config["linux"]["maskedPaths"] = json!(["proc/kcore"]), "is not an absolute path"),
        (
            |config| {
                config["domainname"] = json!("one");
                config["linux"]["sysctl"] = json!({ "kernel.domainname": "two" });
            },
            "and the property \"domainname\" is",
        ),
        (|config| config["annotations"] = json!({ "": "x" }), "a key is empty"),
        (|config| config["linux"]["cgroupsPath"] = json!("/a/../b"), "contains \"..\""),
    ];
    assert_eq!(rows, list.len(), "{table}");
    for (edit, text) in list {
        assert!(table.contains(text), "{text} is not on the page");
        let c = Container::new(&["true"]).edit(edit);
        c.create().fails().one_line().stderr_contains(text);
        c.nothing_left();
    }
}
