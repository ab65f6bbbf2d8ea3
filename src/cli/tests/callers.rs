//! The recorded lines of Podman, Buildah, containerd, Docker, BuildKit and CRI-O (callers' list, section 1).

use super::super::args::{CgroupManager, Delete, Format, Kill, Mounts, Ps, Run, State, Update};
use super::*;

fn json_log(file: &str) -> Global {
    Global { log: Some(file.to_owned()), log_format: LogFormat::Json, ..Global::default() }
}

fn kill(id: &str, signal: Option<&str>, all: bool) -> Verb {
    Verb::Kill(Kill { id: id.to_owned(), signal: signal.map(str::to_owned), all, regex: false })
}

fn delete(id: &str, force: bool) -> Verb {
    Verb::Delete(Delete { ids: vec![id.to_owned()], force, regex: false })
}

fn update(resources: &str) -> Verb {
    Verb::Update(Box::new(Update { id: "c1".to_owned(), resources: Some(resources.into()), settings: Vec::new() }))
}

#[test]
fn cl_4_podman_through_conmon() {
    let global = json_log("/r/oci-log");
    let full = Create {
        bundle: "/b".into(),
        pid_file: Some("/r/pidfile".into()),
        no_pivot: true,
        no_new_keyring: true,
        preserve_fds: 2,
        console_socket: Some("/tmp/conmon-term.X".into()),
        ..create()
    };
    let plain = Create { bundle: "/b".into(), pid_file: Some("/r/pidfile".into()), ..create() };
    let process = Exec {
        pid_file: Some("/b/S/exec_pid".into()),
        process: Some("/b/S/exec-process-1".into()),
        detach: true,
        ..exec()
    };
    let tty = Exec { tty: true, preserve_fds: 1, console_socket: Some("/s".into()), ..process.clone() };
    for (line, global, verb) in [
        (
            "--log-format=json --log /r/oci-log --cgroup-manager disabled create --bundle /b --pid-file /r/pidfile \
             --no-pivot --no-new-keyring --preserve-fds 2 --console-socket /tmp/conmon-term.X c1",
            Global { cgroup_manager: CgroupManager::Disabled, ..global.clone() },
            Verb::Create(full),
        ),
        (
            "--log-format=json --log /r/oci-log create --bundle /b --pid-file /r/pidfile c1",
            global.clone(),
            Verb::Create(plain),
        ),
        ("start c1", Global::default(), Verb::Start(vec!["c1".to_owned()])),
        (
            "--log-format=json --log /r/oci-log exec --pid-file /b/S/exec_pid --process /b/S/exec-process-1 --detach \
             c1",
            global.clone(),
            Verb::Exec(Box::new(process)),
        ),
        (
            "--log-format=json --log /r/oci-log exec --pid-file /b/S/exec_pid --process /b/S/exec-process-1 --detach \
             --tty --preserve-fds 1 --console-socket /s c1",
            global,
            Verb::Exec(Box::new(tty)),
        ),
        ("kill c1 15", Global::default(), kill("c1", Some("15"), false)),
        ("kill --all c1 9", Global::default(), kill("c1", Some("9"), true)),
        ("state c1", Global::default(), Verb::State(State { id: "c1".to_owned(), verify: false })),
        ("delete --force c1", Global::default(), delete("c1", true)),
        ("pause c1", Global::default(), Verb::Pause("c1".to_owned())),
        ("resume c1", Global::default(), Verb::Resume("c1".to_owned())),
        ("update --resources=/var/tmp/podman1 c1", Global::default(), update("/var/tmp/podman1")),
    ] {
        assert_eq!(command(line), Command { global, verb }, "{line}");
    }
}

#[test]
fn cl_2_containerd() {
    let lead = "--root /run/containerd/runc/k8s.io --log /t/log.json --log-format json";
    let global = Global { root: Some("/run/containerd/runc/k8s.io".into()), ..json_log("/t/log.json") };
    let old = Global { criu: Some("/usr/bin/criu".into()), ..global.clone() };
    let created = Create {
        bundle: "/t".into(),
        pid_file: Some("/t/init.pid".into()),
        console_socket: Some("/tmp/pty1/pty.sock".into()),
        no_pivot: true,
        no_new_keyring: true,
        ..create()
    };
    let process = Exec {
        process: Some("/tmp/runc-process1".into()),
        console_socket: Some("/s".into()),
        detach: true,
        pid_file: Some("/t/e.pid".into()),
        ..exec()
    };
    let ps = Ps { id: "c1".to_owned(), format: Format::Json, options: Vec::new() };
    for (tail, verb) in [
        (
            "create --bundle /t --pid-file /t/init.pid --console-socket /tmp/pty1/pty.sock --no-pivot \
             --no-new-keyring c1",
            Verb::Create(created),
        ),
        ("start c1", Verb::Start(vec!["c1".to_owned()])),
        (
            "exec --process /tmp/runc-process1 --console-socket /s --detach --pid-file /t/e.pid c1",
            Verb::Exec(Box::new(process)),
        ),
        ("ps --format json c1", Verb::Ps(ps)),
        ("kill c1 15", kill("c1", Some("15"), false)),
        ("kill --all c1 9", kill("c1", Some("9"), true)),
        ("pause c1", Verb::Pause("c1".to_owned())),
        ("resume c1", Verb::Resume("c1".to_owned())),
        ("update --resources - c1", update("-")),
        ("update --resources=- c1", update("-")),
        ("delete c1", delete("c1", false)),
        ("delete --force c1", delete("c1", true)),
    ] {
        let line = format!("{lead} {tail}");
        assert_eq!(command(&line), Command { global: global.clone(), verb: verb.clone() }, "{line}");
        let line = format!("{lead} --criu /usr/bin/criu {tail}");
        assert_eq!(command(&line), Command { global: old.clone(), verb }, "{line}");
    }
    // further flags that go-runc can send (checklist CL-1)
    let line = "create --bundle /t --pidfd-socket /p --detach --preserve-fds 0 c1";
    let want = Create { bundle: "/t".into(), pidfd_socket: Some("/p".into()), ..create() };
    assert_eq!(verb(line), Verb::Create(want));
}

#[test]
fn cl_5_docker_buildkit_buildah_cri_o() {
    let buildkit = Run { create: Create { bundle: "/b".into(), ..create() }, detach: false, keep: true };
    let waiting = Exec { process: Some("/f".into()), pid_file: Some("/p".into()), ..exec() };
    let attached = Exec { process: Some("/f".into()), ..exec() };
    let built = Create {
        bundle: "/var/tmp/buildah1".into(),
        pid_file: Some("/var/tmp/buildah1/pid".into()),
        no_new_keyring: true,
        id: "buildah-buildah1".to_owned(),
        ..create()
    };
    let moby = Global { root: Some("/run/docker/runtime-runc/moby".into()), ..Global::default() };
    let crio = Global { root: Some("/r".into()), ..Global::default() };
    for (line, global, verb) in [
        ("--log /d/l.json --log-format json run --bundle /b --keep c1", json_log("/d/l.json"), Verb::Run(buildkit)),
        ("kill c1 9", Global::default(), kill("c1", Some("9"), false)),
        ("exec --process /f --pid-file /p c1", Global::default(), Verb::Exec(Box::new(waiting))),
        (
            "create --bundle /var/tmp/buildah1 --pid-file /var/tmp/buildah1/pid --no-new-keyring buildah-buildah1",
            Global::default(),
            Verb::Create(built),
        ),
        ("kill c1", Global::default(), kill("c1", None, false)),
        ("kill c1 SIGKILL", Global::default(), kill("c1", Some("SIGKILL"), false)),
        ("features", Global::default(), Verb::Features),
        ("--root /run/docker/runtime-runc/moby update --resources - c1", moby, update("-")),
        ("--root=/r exec --process /f c1", crio.clone(), Verb::Exec(Box::new(attached))),
        ("--root /r kill -a c1 9", crio.clone(), kill("c1", Some("9"), true)),
        ("--root /r kill c1 KILL", crio, kill("c1", Some("KILL"), false)),
    ] {
        assert_eq!(command(line), Command { global, verb }, "{line}");
    }
}

#[test]
fn cl_2_single_dash_as_containerd_writes_it() {
    let want = Create { bundle: "/t".into(), no_subreaper: true, console_socket: Some("/s".into()), ..create() };
    for line in [
        "create -no-subreaper --bundle /t --console-socket /s c1",
        "create -no-subreaper -bundle /t -console-socket=/s c1",
        "create -no-subreaper=true -bundle=/t c1 -console-socket /s",
    ] {
        assert_eq!(verb(line), Verb::Create(want.clone()), "{line}");
    }
    assert_eq!(verb("exec -detach -env A=1 c1 ls -all"), {
        let exec = Exec { detach: true, env: words("A=1"), command: words("ls -all"), ..exec() };
        Verb::Exec(Box::new(exec))
    });
    assert_eq!(command("-log-format json -root=/r state c1").global, {
        Global { root: Some("/r".into()), log_format: LogFormat::Json, ..Global::default() }
    });
    // a value is not changed, even if it looks like the name of a flag
    assert_eq!(verb("exec --cwd -tty c1 ls"), {
        Verb::Exec(Box::new(Exec { cwd: Some("-tty".to_owned()), command: words("ls"), ..exec() }))
    });
}

#[test]
fn cl_4_checkpoint_and_restore_as_podman_and_containerd_write_them() {
    let Verb::Checkpoint(got) =
        verb("checkpoint --image-path B/checkpoint --work-path B --leave-running --leave-running --tcp-established c1")
    else {
        panic!("no checkpoint")
    };
    assert!(got.leave_running && got.criu.tcp_established && !got.pre_dump);
    assert_eq!((got.criu.image_path, got.criu.work_path), ("B/checkpoint".into(), Some("B".into())));
    let Verb::Restore(got) = verb(
        "restore --image-path D --work-path T/work --detach --pid-file T/init.pid --no-pivot -no-subreaper --bundle T \
         --lsm-profile=selinux:a:b --lsm-mount-context=c c1",
    ) else {
        panic!("no restore")
    };
    assert!(got.detach && got.create.no_subreaper && got.create.no_pivot);
    assert_eq!(got.create.bundle, std::path::Path::new("T"));
    assert_eq!((got.lsm_profile.as_deref(), got.lsm_mount_context.as_deref()), (Some("selinux:a:b"), Some("c")));
    // Podman's two probes
    assert!(shown("checkpoint --help").contains("--leave-running"));
    assert!(refused("restore --lsm-mount-context").0.contains("requires an argument"));
}

#[test]
fn mounts_has_a_direction() {
    for (word, remove) in [("add", false), ("remove", true)] {
        let want = Verb::Mounts(Mounts { id: "c1".to_owned(), file: "f".into(), remove });
        assert_eq!(verb(&format!("mounts {word} c1 f")), want);
    }
    assert_eq!(refused("mounts move c1 f").0, "mounts: \"move\": must be add or remove");
    for (line, want) in [
        ("checkpoint --parent-path /x c1", "checkpoint: --parent-path: must be relative to --image-path"),
        ("checkpoint --page-server x c1", "checkpoint: --page-server \"x\": must be ADDRESS:PORT"),
        ("checkpoint --page-server [::1]:0 c1", "checkpoint: --page-server \"[::1]:0\": must be ADDRESS:PORT"),
        ("checkpoint --empty-ns pid c1", "checkpoint: --empty-ns \"pid\": must be network"),
        ("restore --lsm-profile x c1", "restore: --lsm-profile \"x\": must be apparmor:NAME or selinux:LABEL"),
    ] {
        assert_eq!(refused(line).0, want);
    }
}
