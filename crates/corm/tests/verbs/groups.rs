//! Groups of verbs, `exists`, `version` and `info`.

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
