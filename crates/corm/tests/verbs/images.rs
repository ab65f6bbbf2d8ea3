//! Verbs on images, and on containers by the files that name them.

use crate::fixture::over_one;
use test_support::{need_root, wait_for};

#[test]
fn import_changes_the_configuration() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let tar = fixture.sandbox.path("base.tar");
        fixture.corm(["export", "base", "-o"]).arg(&tar).out().ok();
        let flags = ["import", "-q", "-m", "from a tar", "-c", "CMD [\"echo\", \"hello\"]", "--change", "ENV A=b"];
        let id = fixture.corm(flags).arg(&tar).arg("new").out().ok().text().to_owned();
        assert_eq!(fixture.run(&["--rm"], "new", &[]).out().ok().text(), "hello");
        let image = fixture.inspected("new");
        assert!(id.contains(image["Id"].as_str().unwrap()) || image["Id"].as_str().unwrap().contains(&id));
        assert_eq!(
            (&image["Config"]["Env"][0], &image["History"][0]["comment"]),
            (&"A=b".into(), &"from a tar".into())
        );
        let platform = |name: &str| {
            let image = fixture.inspected(name);
            ["Os", "Architecture", "Variant"].map(|key| image[key].as_str().unwrap_or_default().to_owned())
        };
        let host = corm::model::platform::Platform::host();
        assert_eq!(platform("new")[1], host.parts().1);
        fixture.corm(["import", "--platform", "linux/arm/v6"]).arg(&tar).arg("arm").out().ok();
        assert_eq!(platform("arm"), ["linux", "arm", "v6"]);
        let parts = ["import", "--os", "freebsd", "--arch", "arm64", "--variant", "v8"];
        fixture.corm(parts).arg(&tar).arg("parts").out().ok();
        assert_eq!(platform("parts"), ["freebsd", "arm64", "v8"]);
        fixture.corm(["import", "--platform", "linux"]).arg(&tar).arg("bad").out().fails().stderr_contains("platform");
        fixture.corm(["import", "-c", "NOPE x"]).arg(&tar).arg("bad").out().fails().stderr_contains("--change");
        fixture.corm(["image", "exists", "bad"]).out().exits(1);
        fixture.no_container_left();
    });
}

#[test]
fn names_are_removed_and_the_image_stays() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for name in ["two", "three"] {
            fixture.corm(["tag", "base", name]).out().ok();
        }
        let names = || fixture.inspected("base")["RepoTags"].as_array().map_or(0, Vec::len);
        fixture.corm(["untag", "base", "two"]).out().ok();
        assert_eq!(names(), 2);
        fixture.corm(["untag", "base", "two"]).out().fails().stderr_contains("[image.name]");
        fixture.corm(["image", "untag", "base", "nope", "three"]).out().fails();
        assert_eq!(names(), 2, "one unknown name changes nothing");
        let id = fixture.inspected("base")["Id"].as_str().unwrap().to_owned();
        fixture.corm(["untag", "base"]).out().ok();
        fixture.corm(["image", "exists", "base"]).out().exits(1);
        fixture.run(&["--rm"], &id, &["true"]).out().ok();
        fixture.corm(["rmi", "-i", "--no-prune", "nope", &id]).out().ok();
        fixture.corm(["rmi", &id]).out().fails();
    });
}

#[test]
fn the_image_of_run_is_removed_with_its_last_container() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.corm(["create", "--name", "c", "base", "true"]).out().ok();
        fixture.run(&["--rmi"], "base", &["sh", "-c", "exit 3"]).out().exits(3);
        fixture.corm(["image", "exists", "base"]).out().ok();
        fixture.corm(["rm", "c"]).out().ok();
        fixture.run(&["--rmi"], "base", &["sh", "-c", "exit 4"]).out().exits(4);
        fixture.corm(["image", "exists", "base"]).out().exits(1);
        fixture.run(&["--rmi", "-d"], "base", &["true"]).out().exits(125).stderr_contains("--rmi");
        fixture.no_container_left();
    });
}

#[test]
fn a_status_is_waited_for() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.corm(["create", "--name", "c", "base", "sh", "-c", "sleep 1000 & wait; exit 5"]).out().ok();
        assert_eq!(fixture.corm(["wait", "--condition", "created", "c"]).out().ok().text(), "-1");
        let mut running = fixture.corm(["wait", "--condition", "running", "-i", "20ms", "c"]).spawn();
        assert!(!running.ended());
        fixture.corm(["start", "c"]).out().ok();
        assert_eq!(running.wait().ok().text(), "-1");
        let paused = fixture.corm(["wait", "--condition=paused", "--condition=exited", "-i", "20ms", "c"]).spawn();
        fixture.corm(["pause", "c"]).out().ok();
        assert_eq!(paused.wait().ok().text(), "-1");
        fixture.corm(["unpause", "c"]).out().ok();
        let stopped = fixture.corm(["wait", "--condition=stopped", "-i", "20ms", "c"]).spawn();
        fixture.corm(["kill", "c"]).out().ok();
        assert_eq!(stopped.wait().ok().text(), "137");
        let mut gone = fixture.corm(["wait", "--condition=removing", "-i", "20ms", "c"]).spawn();
        wait_for("it waits", || !gone.ended());
        fixture.corm(["rm", "c"]).out().ok();
        assert_eq!(gone.wait().ok().text(), "-1");
        assert_eq!(fixture.corm(["wait", "--ignore", "c"]).out().ok().text(), "-1");
        fixture.corm(["wait", "c"]).out().fails();
        fixture.corm(["wait", "--condition", "healthy", "c"]).out().fails().stderr_contains("--condition");
        fixture.no_container_left();
    });
}

#[test]
fn containers_are_named_by_files_and_variables_of_exec_by_others() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let file = fixture.sandbox.path("id");
        let flag = format!("--cidfile={}", file.display());
        fixture.detached(&[&flag, "--stop-timeout", "0"], "base", &["sleep", "1000"]);
        let verb = |verb: &[&str]| fixture.corm(verb).arg(&flag).out();
        for words in [&["pause"][..], &["unpause"], &["restart", "-t", "0"], &["stop"]] {
            verb(words).ok();
        }
        let id = std::fs::read_to_string(&file).unwrap();
        assert_eq!(fixture.status(&id), "exited");
        fixture.corm(["start", &id]).out().ok();
        let list = fixture.sandbox.write("list", "# variables\nA=1\nB=2\n");
        let exec = ["exec", "--env-file", list.to_str().unwrap(), "-e", "B=3", &id, "sh", "-c", "echo $A$B"];
        assert_eq!(fixture.corm(exec).out().ok().text(), "13");
        verb(&["kill"]).ok();
        verb(&["rm", "-f"]).ok();
        std::fs::remove_file(&file).unwrap();
        verb(&["rm"]).fails().stderr_contains("--cidfile");
        verb(&["rm", "-i"]).ok();
        verb(&["stop", "--ignore"]).ok();
        fixture.no_container_left();
    });
}

#[test]
fn commit_writes_the_id_to_a_file_and_system_prune_removes_volumes() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.run(&["--name", "c", "-v", "used:/used"], "base", &["true"]).out().ok();
        fixture.corm(["volume", "create", "unused"]).out().ok();
        let file = fixture.sandbox.path("iid");
        let commit = ["commit", "-q", "-p", "--iidfile", file.to_str().unwrap(), "c", "new"];
        let id = fixture.corm(commit).out().ok().text().to_owned();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("sha256:{id}"));
        fixture.corm(["commit", "--pause=false", "c", "other"]).out().fails().stderr_contains("--pause");
        fixture.corm(["system", "prune", "-f"]).out().ok();
        let volumes = || fixture.corm(["volume", "ls", "-q"]).out().ok().stdout;
        assert_eq!(volumes(), "unused\nused\n");
        fixture.corm(["system", "prune", "-f", "--volumes"]).out().ok();
        assert_eq!(volumes(), "used\n");
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}
