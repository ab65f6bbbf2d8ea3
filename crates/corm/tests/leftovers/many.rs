//! Many verbs at once, and verbs with few descriptors.

use super::Fixture;
use test_support::faults::names_nothing;
use test_support::*;

/// Number of verbs at once.
const MANY: usize = 32;

#[test]
fn many_creates_of_one_name_have_one_winner() {
    need_root!();
    let fixture = Fixture::new();
    let all: Vec<_> = (0..MANY).map(|_| fixture.corm(&["create", "--name", "c", "base", "true"]).spawn()).collect();
    let all: Vec<_> = all.into_iter().map(Proc::wait).collect();
    let (won, lost): (Vec<_>, Vec<_>) = all.iter().partition(|out| out.code == Some(0));
    assert_eq!(won.len(), 1, "{won:#?}");
    assert!(lost.iter().all(|out| out.stderr.contains("exists already")), "{lost:#?}");
    fixture.remove("many creates of one name");
    fixture.is_clean("many creates of one name");
}

#[test]
fn many_containers_are_created_while_as_many_are_removed() {
    need_root!();
    let fixture = Fixture::new();
    let name = |kind: &str, number: usize| format!("{kind}{number}");
    for number in 0..MANY {
        fixture.corm(&["create", "--name", &name("old", number), "base", "true"]).out().ok();
    }
    let removed = (0..MANY).map(|number| fixture.corm(&["rm", "-f", &name("old", number)]).spawn());
    let created =
        (0..MANY).map(|number| fixture.corm(&["create", "--name", &name("new", number), "base", "true"]).spawn());
    for proc in removed.chain(created).collect::<Vec<_>>() {
        proc.wait().ok();
    }
    assert_eq!(fixture.corm(&["ps", "-aq"]).out().ok().stdout.lines().count(), MANY);
    let removed = (0..MANY).map(|number| fixture.corm(&["rm", &name("new", number)]).spawn());
    for proc in removed.collect::<Vec<_>>() {
        proc.wait().ok();
    }
    fixture.is_clean("many removals");
}

#[test]
fn each_verb_with_few_descriptors_works_or_names_what_failed() {
    need_root!();
    let fixture = Fixture::new();
    let mut refused = 0;
    for limit in (3..=48).step_by(3) {
        let mut few = |args: &[&str]| {
            let out = fixture.corm(args).rlimit(libc::RLIMIT_NOFILE, limit).out();
            // fsck lists what it could not verify on standard output
            let silent = out.stderr.is_empty() && out.stdout.is_empty();
            assert!(
                out.code == Some(0) || !silent && !names_nothing("corm", &out.stderr),
                "RLIMIT_NOFILE {limit}: {out:#?}"
            );
            assert!(out.signal.is_none() && !out.stderr.contains("panicked"), "RLIMIT_NOFILE {limit}: {out:#?}");
            refused += usize::from(out.code != Some(0));
            out.code == Some(0)
        };
        few(&["images"]);
        few(&["run", "--rm", "--name", "c", "base", "true"]);
        fixture.remove("run with few descriptors");
        if !few(&["create", "--name", "c", "base", "sleep", "1000"]) {
            fixture.corm(&["system", "prune"]).out().ok();
            fixture.is_clean(&format!("a create that failed with RLIMIT_NOFILE {limit}"));
            fixture.corm(&["create", "--name", "c", "base", "sleep", "1000"]).out().ok();
        }
        few(&["start", "c"]);
        if few(&["rm", "-f", "c"]) {
            fixture.is_clean(&format!("rm with RLIMIT_NOFILE {limit}"));
        }
        few(&["fsck", "--repair"]);
        assert_ne!(fixture.corm(&["images", "-q"]).out().ok().stdout, "", "RLIMIT_NOFILE {limit}: the image is there");
        fixture.remove("verbs with few descriptors");
        fixture.corm(&["system", "prune"]).out().ok();
        fixture.is_clean(&format!("verbs with RLIMIT_NOFILE {limit}"));
    }
    assert!(refused > 0, "the limits were low enough");
}
