//! Groups of verbs, `exists`, `version` and `info`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use crate::fixture::over_one;
use test_support::need_root;

#[test]
fn groups_are_the_same_verbs() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let id = fixture.corm(["container", "create", "--name", "c", "base", "true"]).out().ok().text().to_owned();
        for words in [["container", "ls"], ["container", "list"], ["container", "ps"]] {
            assert_eq!(fixture.corm(words).args(["-aq"]).out().ok().text(), &id[..12]);
        }
        assert_eq!(fixture.corm(["container", "run", "--rm", "base", "echo", "x"]).out().ok().text(), "x");
        assert_eq!(fixture.json(&["container", "inspect", "c"])[0]["Id"], id);
        assert!(fixture.corm(["image", "ls"]).out().ok().stdout.contains("base"));
        fixture.corm(["container", "exists", "c"]).out().ok().silent();
        fixture.corm(["container", "exists", "nope"]).out().exits(1).silent();
        fixture.corm(["image", "exists", "nope"]).out().exits(1).silent();
        fixture.corm(["container", "frob"]).out().exits(1).stderr_contains("unknown verb \"container frob\"");
        fixture.corm(["frob"]).out().exits(1).stderr_contains("unknown verb \"frob\"");
        fixture.corm(["image"]).out().exits(1).stderr_contains("requires a verb");
        fixture.corm(["container", "rm", "c"]).out().ok();
        fixture.corm(["image", "rm", "base"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn version_and_info_are_for_people_and_programs() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.detached(&["--name", "r"], "base", &["sleep", "1000"]);
        fixture.corm(["create", "base", "true"]).out().ok();
        let version = fixture.json(&["version", "--format", "json"]);
        assert_eq!(version["Client"]["Os"], "linux");
        let text = fixture.corm(["version"]).out().ok().stdout;
        assert!(text.contains("Version:") && text.contains(version["Client"]["Version"].as_str().unwrap()), "{text}");
        let info = fixture.json(&["info", "--format", "json"]);
        assert_eq!(info["store"]["graphRoot"], fixture.root().to_str().unwrap());
        assert_eq!(info["store"]["graphDriverName"], fixture.kind.name());
        let counts = &info["store"]["containerStore"];
        assert!(counts["number"] == 2 && counts["running"] == 1 && counts["stopped"] == 1, "{counts}");
        assert!(
            info["host"]["ociRuntime"]["name"].is_string() && info["host"]["memTotal"].as_u64() > Some(0),
            "{info}"
        );
        let text = fixture.corm(["system", "info"]).out().ok().stdout;
        assert!(text.contains("  graphDriverName: overlay\n") && text.starts_with("host:\n"), "{text}");
        fixture.corm(["rm", "-f", "-a"]).out().ok();
        fixture.no_container_left();
    });
}

/// Returns the long flags that a program's help names, each with its short form.
fn flags_of(program: &mut Command) -> Option<BTreeMap<String, Option<char>>> {
    let out = program.arg("--help").output().ok().filter(|out| out.status.success())?;
    let text = String::from_utf8(out.stdout).unwrap();
    let options = text.split_once("\nOptions:").map_or(text.as_str(), |(_, options)| options);
    let flag = |line: &str| {
        let (before, name) = line.trim_start().split_once("--")?;
        let is_flag = line.trim_start().starts_with('-');
        let name: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let short = before.strip_prefix('-').and_then(|before| before.chars().next());
        (is_flag && name != "help" && name != "usage").then_some((name, short))
    };
    Some(options.lines().filter_map(flag).collect())
}

/// Returns the words in backquotes of a cell, as flags without dashes.
fn named(cell: &str) -> BTreeSet<String> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter_map(|word| word.strip_prefix("--")).map(str::to_owned).collect()
}

#[test]
fn the_table_of_flags_of_a_build_has_those_of_all_programs() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/build-flags.md");
    let text = std::fs::read_to_string(page).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `--"));
    let table: BTreeSet<String> = rows.flat_map(|line| named(line.split('|').nth(1).unwrap())).collect();
    let names = |flags: BTreeMap<String, Option<char>>| flags.into_keys().collect::<BTreeSet<_>>();
    let own = names(flags_of(Command::new(test_support::corm()).arg("build")).unwrap());
    assert!(own.is_subset(&table) && own.len() > 70, "{:?}", own.difference(&table));
    for program in ["buildah", "podman", "docker"] {
        let of_peer = names(flags_of(Command::new(program).arg("build")).unwrap_or_default());
        assert!(of_peer.is_subset(&table), "{program}: {:?}", of_peer.difference(&table));
    }
}

#[test]
fn the_table_of_podmans_flags_is_what_both_programs_have() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/podman-flags.md");
    let text = std::fs::read_to_string(page).unwrap();
    let podman = Command::new("podman").arg("--version").output().map(|out| String::from_utf8(out.stdout).unwrap());
    let compared = podman.is_ok_and(|version| version.contains(" 4.3."));
    let mut verbs = 0;
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let verb = cells[0].trim_matches('`');
        let (built, missing) = (named(cells[1]), named(cells[2]));
        let of_corm = flags_of(Command::new(test_support::corm()).args(verb.split(' ')));
        assert_eq!(of_corm.is_some(), cells[1] != "–", "corm {verb}");
        let of_corm = of_corm.unwrap_or_default();
        let has = |name: &&String| of_corm.contains_key(*name);
        let wrong: Vec<_> = built.iter().filter(|name| !has(name)).chain(missing.iter().filter(has)).collect();
        assert!(wrong.is_empty(), "corm {verb}: {wrong:?}");
        verbs += 1;
        if compared && cells[1] != "–" {
            let of_podman = flags_of(Command::new("podman").args(verb.split(' '))).unwrap();
            let all: BTreeSet<String> = built.union(&missing).cloned().collect();
            assert_eq!(all, of_podman.keys().cloned().collect(), "podman {verb}");
            // a short form means the same in both
            for (name, short) in of_podman.iter().filter(|(name, short)| short.is_some() && built.contains(*name)) {
                assert_eq!(of_corm.get(name), Some(short), "{verb} --{name}");
            }
        }
    }
    assert!(verbs > 90, "{verbs} verbs");
}
