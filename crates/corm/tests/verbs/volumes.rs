//! Named volumes, and volumes without a name.

use crate::fixture::{CormFixture, over_all, over_one};
use test_support::need_root;

/// Runs a shell script in a container that is removed; returns its output.
#[track_caller]
fn prints(fixture: &CormFixture, volume: &str, script: &str) -> String {
    fixture.run(&["--rm", "-v", volume], "base", &["sh", "-c", script]).out().ok().text().to_owned()
}

#[test]
fn a_named_volume_outlives_its_containers() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        // created by its first use, with what the image has there
        let script = "chown 33:44 /d/own; stat -c %a:%u:%g /d; ls /d; echo new > /d/new";
        let build = "mkdir -m 1750 /d; chown 7:8 /d; echo x > /d/own";
        fixture.run(&["--name", "k"], "base", &["sh", "-c", build]).out().ok();
        fixture.corm(["commit", "k", "base"]).out().ok();
        fixture.corm(["rm", "k"]).out().ok();
        assert_eq!(prints(fixture, "v:/d", script), "1750:7:8\nown");
        assert_eq!(prints(fixture, "v:/d", "ls /d; stat -c %u:%g /d/own"), "new\nown\n33:44");
        assert_eq!(prints(fixture, "v:/elsewhere:ro", "cat /elsewhere/new; touch /elsewhere/x 2>&1 | wc -l"), "new\n1");
        assert_eq!(prints(fixture, "empty:/d:nocopy", "ls /d"), "");
        assert_eq!(fixture.corm(["volume", "ls", "-q"]).out().ok().lines(), ["empty", "v"]);
        // no copy into what a container already has
        let id = fixture.detached(&["-v", "shared:/new"], "base", &["sleep", "1000"]);
        assert_eq!(prints(fixture, "shared:/d", "ls /d; touch /d/seen"), "");
        assert_eq!(fixture.corm(["exec", &id, "ls", "/new"]).out().ok().text(), "seen");
        let used = fixture.corm(["volume", "rm", "shared"]).out().fails();
        assert!(used.stderr.contains("is being used by") && used.stderr.contains(&id), "{used:?}");
        fixture.corm(["volume", "prune", "-f"]).out().ok();
        assert_eq!(fixture.corm(["volume", "ls", "-q"]).out().ok().lines(), ["shared"]);
        fixture.corm(["volume", "rm", "-f", "shared"]).out().ok();
        assert_eq!(fixture.entries("volumes"), Vec::<String>::new());
        fixture.no_container_left();
    });
}

#[test]
fn a_volume_without_a_name_is_of_one_container() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script = "ls /etc/passwd; echo x > /etc/own; cat /etc/own";
        let flags = ["--name", "c", "-v", "/etc"];
        assert_eq!(fixture.run(&flags, "base", &["sh", "-c", script]).out().ok().text(), "/etc/passwd\nx");
        // a volume is no change of the tree
        assert!(!fixture.corm(["diff", "c"]).out().ok().stdout.contains("own"));
        assert_eq!(fixture.corm(["volume", "ls", "-q"]).out().ok().stdout, "");
        fixture.corm(["rm", "-v", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn volumes_are_made_shown_and_removed_by_name() {
    need_root!();
    over_one(|fixture| {
        assert_eq!(fixture.corm(["volume", "create", "-l", "k=v", "data"]).out().ok().text(), "data");
        fixture.corm(["volume", "create", "data"]).out().fails().stderr_contains("volume already exists");
        fixture.corm(["volume", "create", "--ignore", "data"]).out().ok();
        let random = fixture.corm(["volume", "create"]).out().ok().text().to_owned();
        assert_eq!(random.len(), 64);
        for bad in ["a/b", "..", "-x", "a b"] {
            fixture.corm(["volume", "create", "--", bad]).out().fails();
        }
        let shown = fixture.json(&["volume", "inspect", "data"]);
        assert_eq!((shown[0]["Name"].as_str(), shown[0]["Labels"]["k"].as_str()), (Some("data"), Some("v")));
        assert!(std::path::Path::new(shown[0]["Mountpoint"].as_str().unwrap()).is_dir(), "{shown}");
        let out = fixture.corm(["volume", "ls"]).out().ok();
        assert_eq!(out.lines()[0].split_whitespace().collect::<Vec<_>>(), ["DRIVER", "VOLUME", "NAME"]);
        assert!(out.lines().iter().any(|line| line.split_whitespace().eq(["local", "data"])), "{out:?}");
        assert_eq!(fixture.json(&["volume", "ls", "--format", "json"]).as_array().unwrap().len(), 2);
        fixture.corm(["volume", "exists", "data"]).out().ok();
        fixture.corm(["volume", "exists", "nope"]).out().exits(1).silent();
        fixture.corm(["volume", "exists", "../.."]).out().exits(1).silent();
        let out = fixture.corm(["volume", "rm", "data", "nope"]).out().fails();
        assert!(out.text() == "data" && out.stderr.contains("no such volume"), "{out:?}");
        fixture.corm(["volume", "rm", "-f", "nope"]).out().ok();
        fixture.corm(["volume", "prune"]).stdin("n\n").out().ok();
        assert_eq!(fixture.corm(["volume", "ls", "-q"]).out().ok().text(), random);
        fixture.corm(["volume", "rm", "-a"]).out().ok();
        assert_eq!(fixture.entries("volumes"), Vec::<String>::new());
        assert_eq!(fixture.entries("tmp"), Vec::<String>::new());
    });
}

#[test]
fn the_content_of_a_volume_leaves_and_comes_as_a_tar() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        prints(fixture, "v:/d", "mkdir /d/sub; echo x > /d/sub/f; chown 33:44 /d/sub/f; chmod 600 /d/sub/f");
        let tar = fixture.sandbox.path("v.tar");
        fixture.corm(["volume", "export", "v", "-o"]).arg(&tar).out().ok();
        assert_eq!(fixture.corm(["volume", "export", "v"]).out().ok().stdout.len() % 512, 0);
        fixture.corm(["volume", "create", "--label", "a=b", "w"]).out().ok();
        fixture.corm(["volume", "import", "w"]).arg(&tar).out().ok();
        assert_eq!(prints(fixture, "w:/d", "cat /d/sub/f; stat -c %a:%u:%g /d/sub/f"), "x\n600:33:44");
        fixture.corm(["volume", "import", "none"]).arg(&tar).out().fails();
        fixture.corm(["volume", "import", "w", "/etc/passwd"]).out().fails();
        let list = |flags: &[&str]| fixture.corm(["volume", "ls"]).args(flags).out().ok().stdout;
        assert_eq!(list(&["--format", "{{.Name}} {{.Driver}}"]), "v local\nw local\n");
        assert_eq!(list(&["-n", "-f", "label=a=b"]).split_whitespace().collect::<Vec<_>>(), ["local", "w"]);
        let place = fixture.corm(["volume", "inspect", "-f", "{{.Mountpoint}}", "w"]).out().ok();
        assert!(std::path::Path::new(place.text()).join("sub/f").exists(), "{place:?}");
        fixture.corm(["volume", "rm", "v", "w"]).out().ok();
    });
}
