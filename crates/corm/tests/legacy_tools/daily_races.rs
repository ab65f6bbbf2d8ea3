//! Commits at the same time, a name used again at once, and what a commit and `inspect` keep of a container.

use crate::commits::{counted_at_one_moment, start_counting};
use crate::fixture::{CormFixture, over_all};
use test_support::{Value, json, need_root};

#[test]
fn several_commits_of_one_running_container_see_it_paused_one_after_the_other() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        start_counting(fixture);
        let images: Vec<String> = (0..6).map(|number| format!("image{number}")).collect();
        let all: Vec<_> = images.iter().map(|image| fixture.corm(["commit", "busy", image]).spawn()).collect();
        all.into_iter().for_each(|commit| drop(commit.wait().ok()));
        assert_eq!(fixture.status("busy"), "running");
        for image in &images {
            counted_at_one_moment(fixture, image);
        }
        fixture.corm(["rm", "-f", "busy"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn the_name_of_a_killed_container_is_free_at_once() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        for _ in 0..10 {
            fixture.detached(&["--rm", "--name", "again"], "base", &["sleep", "1000"]);
            fixture.corm(["kill", "again"]).out().ok();
        }
        fixture.no_container_left();
    });
}

#[test]
fn a_container_that_ran_out_of_memory_says_so() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let oom = |name: &str, script: &str, status: i32| {
            let out = fixture.run(&["--name", name, "-m", "24m"], "base", &["sh", "-c", script]).out().exits(status);
            let state = fixture.inspected(name)["State"].clone();
            assert_eq!((&state["Status"], &state["ExitCode"]), (&json!("exited"), &json!(status)), "{state}");
            fixture.corm(["rm", name]).out().ok();
            assert_eq!(out.stderr.contains("[cgroup.oom]"), state["OOMKilled"] == true, "{out:?}");
            state["OOMKilled"].clone()
        };
        assert_eq!(oom("hog", "x=0123456789abcdef; while :; do x=$x$x; done", 137), true);
        assert_eq!(oom("modest", "exit 137", 137), false);
        fixture.detached(&["--name", "c"], "base", &["sleep", "1000"]);
        let state = fixture.inspected("c")["State"].clone();
        assert!(state["Status"] == "running" && state["Pid"].as_i64().unwrap() > 1, "{state}");
        fixture.corm(["rm", "-f", "c"]).out().ok();
        fixture.no_container_left();
    });
}

/// Returns the `Config` object of an image.
#[track_caller]
fn config(fixture: &CormFixture, image: &str) -> Value {
    fixture.inspected(image)["Config"].clone()
}

#[test]
fn a_commit_keeps_what_the_container_was_run_with() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let set = ["--env", "A=old", "--env", "B=base", "--label", "one=1"];
        fixture
            .corm(["config", "base", "app", "--entrypoint", "[\"/bin/sh\",\"-c\"]", "--cmd", "[\"true\"]"])
            .args(set)
            .out()
            .ok();
        let flags = ["--name", "c", "-e", "A=new", "-u", "user", "-w", "/tmp", "-l", "two=2", "-l", "bare"];
        fixture.run(&flags, "app", &["echo ran as $(id -u) in $(pwd) with $A"]).out().ok();
        fixture.corm(["commit", "c", "kept"]).out().ok();
        let kept = config(fixture, "kept");
        assert_eq!(kept["Cmd"], json!(["echo ran as $(id -u) in $(pwd) with $A"]), "{kept}");
        assert_eq!((&kept["User"], &kept["WorkingDir"]), (&json!("user"), &json!("/tmp")));
        for (label, value) in [("one", "1"), ("two", "2"), ("bare", "")] {
            assert_eq!(kept["Labels"][label], value, "{kept}");
        }
        let out = fixture.corm(["run", "--rm", "kept"]).out().ok();
        assert_eq!(out.stdout, "ran as 1000 in /tmp with new\n");
        // instructions change it, and the entrypoint of a run is kept
        let change = ["-c", "CMD [\"hello\"]", "--change", "USER root", "-c", "ENV A=3 C=\"c d\""];
        fixture.corm(["commit"]).args(change).args(["c", "changed"]).out().ok();
        let changed = config(fixture, "changed");
        assert_eq!((&changed["Cmd"], &changed["User"]), (&json!(["hello"]), &json!("root")));
        assert!(
            changed["Env"].to_string().contains("A=3") && changed["Env"].to_string().contains("C=c d"),
            "{changed}"
        );
        fixture.corm(["commit", "-c", "RUN x", "c", "refused"]).out().exits(1).one_line();
        fixture.run(&["--name", "e", "--entrypoint", "/bin/echo"], "app", &["x"]).out().ok();
        assert_eq!(fixture.corm(["logs", "e"]).out().ok().stdout, "x\n");
        fixture.corm(["commit", "e", "echoes"]).out().ok();
        let echoes = config(fixture, "echoes");
        assert_eq!((&echoes["Entrypoint"], &echoes["Cmd"]), (&json!(["/bin/echo"]), &json!(["x"])));
        fixture.corm(["rm", "c", "e"]).out().ok();
        fixture.no_container_left();
    });
}
