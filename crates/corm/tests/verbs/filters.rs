//! `--filter` of the verbs that remove, stop and start: only what the filter names is touched.

use crate::fixture::{CormFixture, over_one};
use crate::user::User;
use test_support::{bundle, need_root, skip};

/// Creates containers, each with its name and a label `of=NAME`; the last two run.
fn containers(fixture: &CormFixture) {
    fixture.image("base");
    for name in ["one", "two"] {
        fixture.corm(["create", "--name", name, "-l", &format!("of={name}"), "base", "true"]).out().ok();
    }
    for name in ["three", "four"] {
        fixture.detached(&["--name", name, "-l", &format!("of={name}"), "-l", "runs"], "base", &["sleep", "1000"]);
    }
}

/// Returns the names of the containers that there are, sorted.
fn names(fixture: &CormFixture) -> Vec<String> {
    let out = fixture.corm(["ps", "-a", "--format", "{{.Names}}"]).out().ok();
    let mut names: Vec<String> = out.lines().into_iter().map(Into::into).collect();
    names.sort();
    names
}

#[test]
fn verbs_on_containers_choose_them_by_filters() {
    need_root!();
    over_one(|fixture| {
        containers(fixture);
        let status = |name: &str| fixture.status(name);
        let verb = |args: &[&str]| fixture.corm(args).out();
        verb(&["pause", "--filter", "label=of=three"]).ok();
        assert_eq!((status("three"), status("four")), ("paused".to_owned(), "running".to_owned()));
        assert_eq!(verb(&["unpause", "-f", "status=paused"]).ok().lines().len(), 1);
        assert_eq!(status("three"), "running");
        assert_eq!(verb(&["restart", "-t", "0", "-f", "name=^four$"]).ok().lines().len(), 1);
        assert_eq!(verb(&["stop", "-t", "0", "-f", "label=runs", "-f", "name=three"]).ok().lines().len(), 1);
        assert_eq!((status("three"), status("four")), ("exited".to_owned(), "running".to_owned()));
        // of the three that do not run, one
        assert_eq!(verb(&["start", "--filter", "label=of=three"]).ok().lines().len(), 1);
        assert_eq!((status("three"), status("one")), ("running".to_owned(), "created".to_owned()));
        // one that fits none touches none
        for verbs in [&["rm", "--filter"][..], &["rm", "--force", "--all", "--filter"], &["stop", "--all", "-f"]] {
            verb(&[verbs, &["name=^nobody$"]].concat()).ok().silent();
        }
        assert_eq!(names(fixture), ["four", "one", "three", "two"]);
        verb(&["rm", "--filter", "label!=runs", "--filter", "label=of=one"]).ok();
        verb(&["rm", "--force", "--filter", "label=of=three"]).ok();
        assert_eq!(names(fixture), ["four", "two"]);
        verb(&["stop", "-f", "name=four", "four"]).fails().stderr_contains("--filter takes no arguments");
        verb(&["stop", "-f", "nonsense=four"]).fails().stderr_contains("unknown name");
        assert_eq!(status("four"), "running");
        verb(&["rm", "-f", "-a"]).ok();
        fixture.no_container_left();
    });
}

#[test]
fn container_prune_keeps_what_its_filters_do_not_name() {
    need_root!();
    over_one(|fixture| {
        containers(fixture);
        let prune = |filters: &[&str]| fixture.corm([&["container", "prune", "--force"], filters].concat()).out();
        prune(&["--filter", "until=1h"]).ok().silent();
        prune(&["--filter", "label=of=nobody"]).ok().silent();
        prune(&["--filter", "name=one"]).fails().stderr_contains("unknown name");
        prune(&["--filter", "until=yesterday"]).fails().stderr_contains("until");
        assert_eq!(names(fixture), ["four", "one", "three", "two"]);
        prune(&["--filter", "label!=of=two", "--filter", "until=0s"]).ok();
        // those that run are never removed
        assert_eq!(names(fixture), ["four", "three", "two"]);
        prune(&["--filter", "label=of=two"]).ok();
        assert_eq!(names(fixture), ["four", "three"]);
        fixture.corm(["rm", "-f", "-a"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn volume_prune_keeps_what_its_filters_do_not_name() {
    need_root!();
    over_one(|fixture| {
        for name in ["one", "two", "three"] {
            fixture.corm(["volume", "create", "--label", &format!("of={name}"), name]).out().ok();
        }
        let left = || fixture.corm(["volume", "ls", "--quiet"]).out().ok().stdout;
        let prune = |verb: &[&str]| fixture.corm(verb).out();
        prune(&["volume", "prune", "-f", "--filter", "until=1h"]).ok().silent();
        assert_eq!(fixture.corm(["volume", "ls", "-q", "--filter", "until=1h"]).out().ok().stdout, "");
        assert_eq!(prune(&["volume", "prune", "-f", "--filter", "label=of=one"]).ok().stdout, "one\n");
        assert_eq!(left(), "three\ntwo\n");
        prune(&["system", "prune", "-f", "--volumes", "--filter", "label!=of=two"]).ok();
        assert_eq!(left(), "two\n");
        prune(&["system", "prune", "-f", "--filter", "name=two"]).fails().stderr_contains("unknown name");
        // as in Podman without the flag, too
        assert_eq!(prune(&["volume", "prune", "-a", "-f"]).ok().stdout, "two\n");
        assert_eq!(left(), "");
    });
}

#[test]
fn image_prune_keeps_what_its_filters_do_not_name() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for name in ["one", "two", "three"] {
            let label = format!("of={name}");
            fixture.corm(["config", "--label", &label, "base", name]).out().ok();
        }
        // an image without a name
        fixture.corm(["config", "--label", "of=nothing", "base", "four"]).out().ok();
        fixture.corm(["untag", "four"]).out().ok();
        let left = || {
            let out = fixture.corm(["images", "--format", "{{.Repository}}"]).out().ok();
            let mut names: Vec<String> =
                out.lines().into_iter().map(|name| name.trim_start_matches("localhost/").to_owned()).collect();
            names.sort();
            names
        };
        let prune = |verb: &[&str]| fixture.corm(verb).out();
        prune(&["image", "prune", "-a", "-f", "--filter", "until=1h"]).ok().silent();
        prune(&["image", "prune", "-f", "--filter", "label=of=one"]).ok().silent();
        assert_eq!(left(), ["<none>", "base", "one", "three", "two"]);
        prune(&["system", "prune", "-a", "-f", "--filter", "label=of=one"]).ok();
        assert_eq!(left(), ["<none>", "base", "three", "two"]);
        prune(&["image", "prune", "-a", "-f", "--filter", "label=of=two", "--filter", "dangling=true"]).ok().silent();
        prune(&["image", "prune", "-f", "--filter", "dangling=false", "--filter", "label=of=two"]).ok();
        assert_eq!(left(), ["<none>", "base", "three"]);
        prune(&["image", "prune", "-f"]).ok();
        assert_eq!(left(), ["base", "three"]);
        prune(&["image", "prune", "-a", "-f", "--filter", "reference=three"]).ok();
        assert_eq!(left(), ["base"]);
    });
}

#[test]
fn network_prune_keeps_what_its_filters_do_not_name() {
    need_root!();
    over_one(|fixture| {
        for (name, subnet) in [("one", "10.97.1.0/24"), ("two", "10.97.2.0/24"), ("three", "10.97.3.0/24")] {
            let label = format!("of={name}");
            fixture.corm(["network", "create", "--subnet", subnet, "--label", &label, name]).out().ok();
        }
        let left = || fixture.corm(["network", "ls", "-q", "-f", "label=of"]).out().ok().stdout;
        let prune = |filter: &str| fixture.corm(["network", "prune", "-f", "--filter", filter]).out();
        prune("until=1h").ok().silent();
        assert_eq!(fixture.corm(["network", "ls", "-q", "-f", "until=1h"]).out().ok().stdout, "");
        assert_eq!(prune("label=of=one").ok().stdout, "one\n");
        assert_eq!(left(), "three\ntwo\n");
        assert_eq!(prune("label!=of=two").ok().stdout, "three\n");
        assert_eq!(left(), "two\n");
        fixture.corm(["network", "rm", "two"]).out().ok();
    });
}

#[test]
fn an_ordinary_user_chooses_containers_by_filters() {
    need_root!();
    let Some(user) = User::new() else { skip!("no user has subordinate ids") };
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("image"));
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    let mark = format!("CROCI_TEST={}", user.sandbox.token);
    for name in ["one", "two", "three"] {
        let label = format!("of={name}");
        user.corm(&["run", "-d", "-e", &mark, "--name", name, "-l", &label, "base", "sleep", "1000"]).out().ok();
    }
    let running = || user.corm(&["ps", "--format", "{{.Names}}"]).out().ok().stdout;
    assert_eq!(user.corm(&["stop", "-t", "0", "-f", "label=of=two"]).out().ok().lines().len(), 1);
    assert_eq!(running(), "one\nthree\n");
    user.corm(&["rm", "-f", "--filter", "name=one", "--filter", "name=two"]).out().ok();
    assert_eq!(user.corm(&["ps", "-a", "--format", "{{.Names}}"]).out().ok().stdout, "three\n");
    user.corm(&["stop", "-t", "0", "-a"]).out().ok();
    user.corm(&["container", "prune", "-f", "--filter", "label!=of=three"]).out().ok().silent();
    user.corm(&["container", "prune", "-f", "--filter", "label=of=three"]).out().ok();
    assert_eq!(user.corm(&["ps", "-aq"]).out().ok().stdout, "");
    user.sandbox.nothing_left();
}
