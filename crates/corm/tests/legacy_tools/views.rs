//! What `images`, `ps`, `logs`, `inspect`, `history`, `diff` and `system df` print, beside what Podman prints for the same
//! images and containers.

use std::sync::Arc;

use crate::fixture::{CormFixture, over_all, over_one};
use test_support::{Cmd, Sandbox, Value, json, need_root, wait_for};

/// Limits that a caller without CAP_SYS_RESOURCE may set, which Podman's own are not.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// Returns a command of Podman with a store in the sandbox and croci as the runtime; `None` where there is no Podman.
fn podman(sandbox: &Arc<Sandbox>, args: &[&str]) -> Option<Cmd> {
    std::process::Command::new("podman").arg("--version").output().ok()?;
    let (root, run) = (sandbox.path("podman"), sandbox.path("podman-run"));
    let podman = sandbox.program("podman").arg("--root").arg(root).arg("--runroot").arg(run);
    let podman = podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime"]);
    Some(podman.arg(test_support::runtime()).args(args).env("HOME", &sandbox.dir))
}

/// Creates the image in corm's store under two names, and loads it into Podman's where there is one.
fn image_in_both(fixture: &CormFixture) -> bool {
    fixture.image("plain");
    let config = ["--cmd", "[\"sh\"]", "--env", "A=b", "--label", "x=y"];
    fixture.corm(["config", "plain", "localhost/base:1"]).args(config).out().ok();
    fixture.corm(["tag", "localhost/base:1", "docker.io/library/two:v2"]).out().ok();
    fixture.corm(["rmi", "plain"]).out().ok();
    let archive = fixture.sandbox.path("base.tar");
    fixture.corm(["save", "--format", "docker-archive", "localhost/base:1", "-o"]).arg(&archive).out().ok();
    let Some(load) = podman(&fixture.sandbox, &["load", "-q", "-i"]) else { return false };
    load.arg(&archive).out().ok();
    podman(&fixture.sandbox, &["tag", "localhost/base:1", "docker.io/library/two:v2"]).unwrap().out().ok();
    true
}

/// Checks that Podman and corm print the same for each command line.
#[track_caller]
fn same(fixture: &CormFixture, table: &[&[&str]]) {
    for &args in table {
        let ours = fixture.corm(args).out().ok().stdout;
        let theirs = podman(&fixture.sandbox, args).unwrap().out().ok().stdout;
        // older ones print `Up 5 seconds ago`
        let theirs = theirs.replace("seconds ago", "seconds").replace("second ago", "second");
        let ours = ours.replace("seconds ago", "seconds").replace("second ago", "second");
        assert_eq!(sorted(&ours), sorted(&theirs), "{args:?}");
    }
}

/// Returns the lines in an order that does not depend on the names of one image, with blanks of columns as one.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

#[test]
fn images_are_listed_as_podman_does() {
    need_root!();
    over_one(|fixture| {
        let with_podman = image_in_both(fixture);
        let shown = fixture.corm(["images"]).out().ok().stdout;
        let mut lines = shown.lines();
        let heading = "REPOSITORY             TAG         IMAGE ID      CREATED";
        assert!(lines.next().unwrap().starts_with(heading), "{shown}");
        assert!(lines.next().unwrap().starts_with("docker.io/library/two  v2 "), "{shown}");
        assert!(lines.next().unwrap().starts_with("localhost/base         1 "), "{shown}");
        let count = |args: &[&str]| fixture.corm([&["images", "-n"], args].concat()).out().ok().lines().len();
        for (args, want) in [
            (&["-f", "reference=localhost/base"][..], 1),
            (&["--filter", "reference=base:1"], 1),
            (&["--filter", "reference=*/ba*"], 1),
            (&["--filter", "reference=tw?"], 1),
            (&["--filter", "reference=nothing"], 0),
            (&["two"], 1),
            (&["--filter", "label=x=y", "--filter", "dangling=false"], 2),
            (&["--filter", "label=x=z"], 0),
            (&["--filter", "dangling=true"], 0),
            (&["--filter", "since=two:v2"], 0),
            (&["--filter", "before=two:v2"], 0),
            (&["--filter", "until=1m"], 0),
            (&["--filter", "until=2999-01-01"], 2),
            (&["-a", "--sort", "tag"], 2),
        ] {
            assert_eq!(count(args), want, "{args:?}");
        }
        for (args, want) in [
            (&["--filter", "size=3"][..], "unknown name"),
            (&["--filter", "dangling=maybe"], "dangling"),
            (&["--filter", "since=nothing"], "No image named"),
            (&["--format", "{{.Nope}}"], "--format: line 1, column 3: there is no field \"Nope\""),
            (&["--format", "{{.ID"], "--format: line 1, column "),
            (&["--sort", "age"], "--sort"),
        ] {
            fixture.corm([&["images"], args].concat()).out().exits(1).stderr_contains(want);
        }
        let ours = fixture.json(&["images", "--format", "json", "--filter", "reference=base"]);
        assert_eq!((&ours[0]["Repository"], &ours[0]["Tag"]), (&json!("localhost/base"), &json!("1")));
        if with_podman {
            images_as_podman(fixture, &ours[0]);
        }
    });
}

/// Checks what Podman prints for the same image.
fn images_as_podman(fixture: &CormFixture, ours: &Value) {
    same(
        fixture,
        &[
            &["images", "-q"],
            &["images", "--quiet", "--no-trunc"],
            &["images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.CreatedAt}}"],
            &["images", "--format", "table {{.Repository}}\t{{.ID}}"],
            &["images", "--format", "table {{.ID}} {{.Tag}}", "--noheading"],
            &["images", "--no-trunc", "--format", "{{.ID}}"],
            &["images", "--format", "{{json .Labels}} {{len .Labels}}"],
            &["images", "-n", "--sort", "repository", "--format", "{{upper .Repository}}"],
            &["history", "--format", "{{.Comment}}|{{.ID}}", "localhost/base:1"],
            &[
                "inspect",
                "-f",
                "{{.Id}} {{.Architecture}} {{.Os}} {{.RootFS.Layers}} {{.Config.Cmd}}",
                "localhost/base:1",
            ],
            &["inspect", "--type", "image", "-f", "{{json .Config.Env}} {{.Config.Labels.x}}", "localhost/base:1"],
            &["inspect", "-f", "{{range .RootFS.Layers}}{{println .}}{{end}}", "localhost/base:1"],
            &["inspect", "-f", "{{.RootFS.Type}} {{index .Labels \"x\"}} {{.Config.Labels.none}}", "localhost/base:1"],
        ],
    );
    // every key of Podman's rows is in ours
    let theirs = podman(&fixture.sandbox, &["images", "--format", "json"]).unwrap().out().ok().json();
    has_keys(ours, &theirs[0]);
    let theirs = podman(&fixture.sandbox, &["inspect", "localhost/base:1"]).unwrap().out().ok().json();
    has_keys(&fixture.inspected("localhost/base:1"), &theirs[0]);
}

/// Checks that an object has the keys of another.
#[track_caller]
fn has_keys(ours: &Value, theirs: &Value) {
    let missing: Vec<_> = theirs.as_object().unwrap().keys().filter(|key| ours.get(key).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {ours}");
}

#[test]
fn containers_are_listed_and_inspected_as_podman_does() {
    need_root!();
    over_one(|fixture| {
        let with_podman = image_in_both(fixture);
        // a container has the first name of its image
        fixture.corm(["rmi", "docker.io/library/two:v2"]).out().ok();
        let script = "echo out; echo err >&2; exit 3";
        let containers: [(&[&str], &[&str]); 2] = [
            (&["--name", "done", "-l", "k=w"], &["sh", "-c", script]),
            (
                &["-d", "--name", "up", "-l", "k=v", "-w", "/tmp", "-m", "64m"],
                &["sh", "-c", "trap exit TERM; sleep 1000 & wait"],
            ),
        ];
        for (flags, command) in containers {
            fixture.run(flags, "localhost/base:1", command).out();
            if let Some(run) = podman(&fixture.sandbox, &["run", "--network", "none"]) {
                run.args(LIMITS).args(flags).arg("localhost/base:1").args(command).out();
            }
        }
        lists_with_filters(fixture);
        if with_podman {
            containers_as_podman(fixture);
        }
        // several names: what is found is printed, and the rest is an error
        let out = fixture.corm(["inspect", "up", "nothing", "done"]).out().exits(1).stderr_contains("nothing");
        assert_eq!(out.json().as_array().unwrap().len(), 2);
        let sizes = fixture.corm(["ps", "-as", "--format", "{{.Names}} {{.Size}}"]).out().ok().stdout;
        assert!(sizes.contains("up 0B (virtual "), "{sizes}");
        assert_eq!(fixture.corm(["inspect", "-s", "-f", "{{.SizeRw}}", "up"]).out().ok().stdout, "0\n");
        fixture.corm(["inspect", "-f", "{{.State.Foo}}", "up"]).out().exits(1).stderr_contains("column 3");
        fixture.corm(["rm", "-f", "up", "done"]).out().ok();
        fixture.no_container_left();
    });
}

/// Checks the table and the filters of `ps`.
fn lists_with_filters(fixture: &CormFixture) {
    let shown = fixture.corm(["ps", "-a"]).out().ok().stdout;
    let heading = "CONTAINER ID  IMAGE             COMMAND               CREATED";
    assert!(shown.starts_with(heading) && shown.lines().count() == 3, "{shown}");
    assert!(shown.contains("sh -c echo out; e...  ") && shown.contains("Exited (3) "), "{shown}");
    let names = |args: &[&str]| {
        let out = fixture.corm([&["ps", "--format", "{{.Names}}"], args].concat()).out().ok();
        out.lines().join(" ")
    };
    let id = fixture.inspected("up")["Id"].as_str().unwrap()[..8].to_owned();
    for (args, want) in [
        (&[][..], "up"),
        (&["-a"], "done up"),
        (&["-l"], "up"),
        (&["-n", "1"], "up"),
        (&["--last", "9"], "done up"),
        (&["-a", "--sort", "names"], "done up"),
        (&["-a", "--filter", "name=^d"], "done"),
        (&["-a", "--filter", "name=d", "--filter", "name=u"], "done up"),
        (&["--filter", &format!("id={id}")], "up"),
        (&["--filter", "status=exited"], "done"),
        (&["-a", "--filter", "exited=3"], "done"),
        (&["-a", "--filter", "exited=0"], ""),
        (&["-a", "--filter", "label=k"], "done up"),
        (&["-a", "--filter", "label=k=v", "--filter", "label=x=y"], "up"),
        (&["-a", "--filter", "ancestor=localhost/base:1"], "done up"),
        (&["-a", "--filter", "ancestor=other"], ""),
        (&["-a", "--filter", "before=up"], "done"),
        (&["-a", "--filter", "since=done"], "up"),
        (&["-a", "--filter", "until=1h"], ""),
        (&["-a", "--filter", "status=running", "--filter", "status=exited"], "done up"),
    ] {
        assert_eq!(names(args), want, "{args:?}");
    }
    for bad in ["status=gone", "exited=x", "name=[", "before=none", "colour=red", "name"] {
        fixture.corm(["ps", "--filter", bad]).out().exits(1);
    }
}

/// Checks what Podman prints for the same containers.
fn containers_as_podman(fixture: &CormFixture) {
    let format = "{{.Names}}|{{.Image}}|{{.Command}}|{{.ExitCode}}|{{.Mounts}}|{{.Exited}}|{{.Ports}}";
    same(
        fixture,
        &[
            &["ps", "-a", "--format", format],
            &["ps", "-a", "--no-trunc", "--format", "table {{.Names}}\t{{.Command}}"],
            &["ps", "--filter", "status=exited", "--format", "{{.Names}} {{.ImageID}}"],
            &["inspect", "done", "-f", "{{.State.ExitCode}} {{.State.Status}} {{.State.Running}} {{.State.Pid}}"],
            &["inspect", "-f", "{{.Name}} {{.Path}} {{json .Args}} {{.Image}} {{.ImageName}}", "done"],
            &["inspect", "-f", "{{.State.OOMKilled}} {{.State.Paused}} {{.HostConfig.NetworkMode}}", "up"],
            &["inspect", "-f", "{{.Config.WorkingDir}} {{.Config.Cmd}} {{.Config.Labels}} {{.Config.Tty}}", "up"],
            &["inspect", "-f", "{{.HostConfig.Memory}} {{.HostConfig.ReadonlyRootfs}} {{.Mounts}}", "up"],
            &["inspect", "-f", "{{.Config.User}}|{{.NetworkSettings.IPAddress}}|{{.RestartCount}}", "up"],
            &["inspect", "-f", "{{.Name}}", "done", "up"],
            &["inspect", "--type", "container", "-f", "{{.HostConfig.AutoRemove}}", "up"],
            &["logs", "done"],
            &["logs", "--tail", "0", "done"],
            &["logs", "--since", "1h", "--until", "1s", "done"],
        ],
    );
    let theirs = podman(&fixture.sandbox, &["ps", "-a", "--format", "json"]).unwrap().out().ok().json();
    has_keys(&fixture.shown("up"), &theirs[0]);
    inspects_with_podmans_keys(fixture);
    podman(&fixture.sandbox, &["rm", "-fa", "-t", "0"]).unwrap().out().ok();
}

/// Checks that the document of a container has the keys of Podman's.
fn inspects_with_podmans_keys(fixture: &CormFixture) {
    let theirs = podman(&fixture.sandbox, &["inspect", "up"]).unwrap().out().ok().json();
    let ours = fixture.inspected("up");
    for part in ["State", "Config", "HostConfig", "NetworkSettings"] {
        for key in theirs[0][part].as_object().unwrap().keys() {
            // of Podman's own files, of other systems and of what corm does not build
            let own = [
                "CheckpointedAt",
                "RestoredAt",
                "HealthcheckOnFailureAction",
                "CreateCommand",
                "Timeout",
                "StopTimeout",
                "Passwd",
                "sdNotifyMode",
                "CgroupManager",
                "CgroupMode",
                "Cgroup",
                "ConsoleSize",
                "BlkioWeightDevice",
                "BlkioDeviceReadBps",
                "BlkioDeviceWriteBps",
                "BlkioDeviceReadIOps",
                "BlkioDeviceWriteIOps",
                "CpuRealtimePeriod",
                "CpuRealtimeRuntime",
                "DiskQuota",
                "KernelMemory",
                "CpuCount",
                "CpuPercent",
                "IOMaximumIOps",
                "IOMaximumBandwidth",
                "CgroupConf",
                "ConmonPid",
                "CgroupPath",
            ];
            assert!(
                own.contains(&key.as_str()) || !ours[part][key].is_null() || ours[part].get(key).is_some(),
                "{part}.{key}"
            );
        }
    }
}

#[test]
fn logs_are_cut_by_number_and_time_and_keep_their_order() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script = "for n in 1 2 3; do echo out $n; sleep 0.05; echo err $n >&2; sleep 0.05; done; printf end";
        fixture.run(&["--name", "c"], "base", &["sh", "-c", script]).out().ok();
        let logs = |args: &[&str]| fixture.corm([&["logs"], args, &["c"]].concat()).out().ok();
        // both streams on one descriptor: the order of the log
        let both = |args: &str| {
            let command = format!("exec 2>&1; exec \"$0\" \"$@\" logs {args} c");
            let words = ["sh", "-c", &command];
            let corm = fixture.corm([""; 0]).command;
            let mut sh = std::process::Command::new(words[0]);
            sh.args(&words[1..]).arg(corm.get_program()).args(corm.get_args());
            for (name, value) in corm.get_envs() {
                value.map(|value| sh.env(name, value));
            }
            String::from_utf8(sh.output().unwrap().stdout).unwrap()
        };
        assert_eq!(both(""), "out 1\nerr 1\nout 2\nerr 2\nout 3\nerr 3\nend");
        assert_eq!(both("--tail 3"), "out 3\nerr 3\nend");
        assert_eq!(both("--tail=4 -f"), "err 2\nout 3\nerr 3\nend");
        assert_eq!((logs(&["--tail", "0"]).stdout, logs(&["--tail", "-1"]).stdout.lines().count()), (String::new(), 4));
        let timed = logs(&["-t", "--tail", "1"]).stdout;
        let (time, text) = timed.split_once(' ').unwrap();
        assert!(text == "end" && time.ends_with('Z') && time.len() == 30, "{timed}");
        assert_eq!(logs(&["--since", time]).stdout, "end");
        assert_eq!(logs(&["--until", time]).stdout, "out 1\nout 2\nout 3\n");
        assert_eq!(logs(&["--since", "1h", "--tail", "2"]).stdout, "end");
        assert_eq!(logs(&["--since", "2999-01-01"]).stdout, "");
        fixture.run(&["--name", "d"], "base", &["echo", "other"]).out().ok();
        let several = fixture.corm(["logs", "-n", "--tail", "1", "c", "d"]).out().ok().stdout;
        assert_eq!(several, "c endd other\n");
        for bad in ["--since=x", "--tail=x", "--until=x"] {
            fixture.corm(["logs", bad, "c"]).out().exits(1);
        }
        // two followers at once, until both end
        let loops = "n=0; while test $n -lt 5; do echo $n; n=$((n+1)); sleep 0.1; done";
        fixture.detached(&["--name", "e"], "base", &["sh", "-c", loops]);
        fixture.detached(&["--name", "f"], "base", &["sh", "-c", loops]);
        let followed = fixture.corm(["logs", "-f", "-n", "e", "f"]).out().ok();
        let lines = followed.lines();
        for name in ["e", "f"] {
            let own: Vec<_> = lines.iter().filter(|line| line.starts_with(name)).collect();
            assert_eq!(own.len(), 5, "{followed:?}");
        }
        wait_for("both ended", || fixture.status("e") == "exited" && fixture.status("f") == "exited");
        fixture.corm(["rm", "c", "d", "e", "f"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn history_diff_and_disk_usage_have_podmans_forms() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let script = "echo new > /new; rm /bin/ls; chmod 700 /tmp";
        fixture.run(&["--name", "c"], "base", &["sh", "-c", script]).out().ok();
        let diff = fixture.json(&["diff", "--format", "json", "c"]);
        assert_eq!((&diff["added"], &diff["deleted"]), (&json!(["/new"]), &json!(["/bin/ls"])));
        assert!(diff["changed"].as_array().unwrap().contains(&json!("/tmp")), "{diff}");
        fixture.corm(["commit", "-m", "second", "c", "made"]).out().ok();
        let shown = fixture.corm(["history", "made"]).out().ok().stdout;
        let mut lines = shown.lines();
        assert_eq!(
            lines.next().unwrap().split_whitespace().collect::<Vec<_>>(),
            ["ID", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
        );
        assert!(lines.next().unwrap().ends_with("second") && lines.next().unwrap().starts_with("<missing>"), "{shown}");
        let ids = fixture.corm(["history", "-q", "--no-trunc", "made"]).out().ok();
        assert_eq!(ids.lines()[0], fixture.inspected("made")["Id"].as_str().unwrap());
        let sizes = fixture.corm(["history", "--human=false", "--format", "{{.Size}}", "made"]).out().ok();
        assert!(sizes.lines().iter().all(|size| size.parse::<u64>().is_ok()), "{sizes:?}");
        let df = fixture.json(&["system", "df", "--format", "json"]);
        let row = |kind: &str| df.as_array().unwrap().iter().find(|row| row["Type"] == kind).unwrap().clone();
        assert_eq!((&row("Images")["Total"], &row("Images")["Active"]), (&json!(2), &json!(1)));
        assert!(row("Containers")["RawSize"].is_u64() && row("Layers")["Total"].as_u64() >= Some(1), "{df}");
        let verbose = fixture.corm(["system", "df", "-v"]).out().ok().stdout;
        for heading in ["Images space usage:", "SHARED SIZE", "UNIQUE SIZE", "Containers space usage:", "LOCAL VOLUMES"]
        {
            assert!(verbose.contains(heading), "{verbose}");
        }
        fixture.corm(["system", "df", "-v", "--format", "json"]).out().exits(1);
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}
