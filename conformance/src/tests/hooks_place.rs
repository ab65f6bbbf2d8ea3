//! The surroundings of hooks: namespaces, arguments, environment, descriptors, time (checklist part 3).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde_json::json;

use super::Test;
use super::hooks::{KINDS, add, hook, root};
use crate::container::Container;
use crate::files::read;
use crate::harness::{Harness, wait_until};
use crate::proc_facts::{Facts, expect};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "LC-1", title: "hooks of one kind run in the order of their list", run: lc_1_list },
    Test {
        id: "LC-2",
        title: "when a startContainer or poststart hook fails, later ones of its list do not run",
        run: lc_2_later,
    },
    Test {
        id: "LC-2",
        title: "after a failed start poststop hooks run, with delete at the latest",
        run: lc_2_poststop,
    },
    Test {
        id: "LC-3",
        title: "a poststop hook that is missing or killed does not keep the container",
        run: lc_3_kinds,
    },
    Test {
        id: "HK-1",
        title: "a startContainer or poststart hook that is missing or killed fails start",
        run: hk_1_start,
    },
    Test { id: "HK-1", title: "lists that are empty or absent are no error", run: hk_1_empty },
    Test { id: "HK-3", title: "ociVersion of a hook's state is the runtime's", run: hk_3_version },
    Test {
        id: "HK-5",
        title: "prestart, createRuntime, poststart and poststop hooks run in the runtime's namespaces",
        run: hk_5_runtime,
    },
    Test {
        id: "HK-5",
        title: "createContainer and startContainer hooks run in the container's namespaces",
        run: hk_5_container,
    },
    Test {
        id: "HK-6",
        title: "prestart and createRuntime hooks find the container's network namespace by the pid",
        run: hk_6_network,
    },
    Test {
        id: "HK-6",
        title: "createContainer hooks see the container's mounts below the host's path of its root",
        run: hk_6_mounts,
    },
    Test {
        id: "HK-7",
        title: "poststart hooks run when the program is executed, poststop hooks when the init has ended",
        run: hk_7,
    },
    Test { id: "HK-8", title: "a hook that is done in time is not waited for", run: hk_8_quick },
    Test { id: "HK-8", title: "what a hook has started ends with its timeout", run: hk_8_tree },
    Test { id: "HK-8", title: "a process that a hook leaves behind does not hold up create", run: hk_8_left },
    Test {
        id: "HK-9",
        title: "args and env are exactly the hook's; without args there is its path alone",
        run: hk_9_exact,
    },
    Test {
        id: "HK-9",
        title: "no kind of hook on the host gets the container's environment or works in its root",
        run: hk_9_all,
    },
    Test { id: "HK-10", title: "hooks have no descriptors but 0, 1 and 2", run: hk_10 },
];

const HOST_KINDS: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];

/// Returns the text that a hook of this kind wrote to /KIND.NAME in the container's root.
fn wrote(c: &Container<'_>, kind: &str, name: &str) -> Result<String> {
    let path = c.path(&format!("/{kind}.{name}"));
    fs::read_to_string(&path).with_context(|| format!("the {kind} hook wrote no {}", path.display()))
}

/// Adds a hook whose script's output [`wrote`] returns.
fn add_writer(c: &mut Container<'_>, kind: &str, name: &str, script: &str) {
    let script = format!("{{ {script}; }} >{}/{kind}.{name} 2>&1", root(c, kind));
    add(c, kind, &script);
}

/// Returns the path at which a hook of this kind finds busybox.
fn busybox(c: &Container<'_>, kind: &str) -> String {
    if kind == "startContainer" { "/bin/busybox".into() } else { c.path("/bin/busybox").display().to_string() }
}

fn lc_1_list(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for kind in KINDS {
        for number in 1..=3 {
            let script = format!("echo {kind}{number} >>{}/{kind}.list", root(&c, kind));
            add(&mut c, kind, &script);
        }
    }
    c.live()?;
    for kind in KINDS {
        expect(kind, wrote(&c, kind, "list")?, format!("{kind}1\n{kind}2\n{kind}3\n"))?;
    }
    Ok(())
}

fn lc_2_later(b: &Harness) -> Result<()> {
    for kind in ["startContainer", "poststart"] {
        let mut c = Container::new(b)?;
        add(&mut c, kind, "exit 3");
        add_writer(&mut c, kind, "later", "echo ran");
        c.create().ok()?;
        c.start().error().context(kind)?;
        ensure!(!c.path(&format!("/{kind}.later")).exists(), "{kind}: the hook after the failed one ran");
    }
    Ok(())
}

fn lc_2_poststop(b: &Harness) -> Result<()> {
    for kind in ["startContainer", "poststart"] {
        let mut c = Container::new(b)?;
        add(&mut c, kind, "exit 3");
        add_writer(&mut c, "poststop", "seen", "echo ran");
        c.create().ok()?;
        c.start().error().context(kind)?;
        if c.state().is_ok() {
            c.wait_stopped().context(kind)?;
            c.delete().ok().context(kind)?;
        }
        expect(&format!("poststop after a failed {kind} hook"), wrote(&c, "poststop", "seen")?, "ran\n")?;
        c.must_be_gone()?;
    }
    Ok(())
}

fn lc_3_kinds(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.config["hooks"] = json!({"poststop": [{"path": "/nonexistent/hook"}]});
    add(&mut c, "poststop", "kill -9 $$");
    add_writer(&mut c, "poststop", "last", "echo ran");
    c.live()?;
    expect("the last poststop hook", wrote(&c, "poststop", "last")?, "ran\n")?;
    c.must_be_gone()
}

fn hk_1_start(b: &Harness) -> Result<()> {
    for kind in ["startContainer", "poststart"] {
        for how in ["missing", "killed"] {
            let mut c = Container::new(b)?;
            match how {
                "missing" => c.config["hooks"] = json!({kind: [{"path": "/nonexistent/hook"}]}),
                _ => add(&mut c, kind, "kill -9 $$"),
            }
            c.create().ok().with_context(|| format!("{kind}, {how}"))?;
            c.start().error().with_context(|| format!("{kind}, {how}"))?;
        }
    }
    Ok(())
}

fn hk_1_empty(b: &Harness) -> Result<()> {
    for hooks in [json!({}), json!({"prestart": [], "createRuntime": [], "startContainer": [], "poststop": []})] {
        let mut c = Container::new(b)?;
        c.config["hooks"] = hooks.clone();
        c.live().with_context(|| format!("hooks {hooks}"))?;
    }
    Ok(())
}

fn hk_3_version(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    // a version that no runtime has as its own
    c.config["ociVersion"] = json!("1.0.0-rc6");
    add_writer(&mut c, "createRuntime", "json", "cat");
    c.create().ok()?;
    let state: serde_json::Value = serde_json::from_str(&wrote(&c, "createRuntime", "json")?)?;
    expect("ociVersion of the hook's state", &state["ociVersion"], &c.state()?["ociVersion"])?;
    ensure!(state["ociVersion"] != "1.0.0-rc6", "the hook received the configuration's version");
    Ok(())
}

const SHOW_NAMESPACES: &str = "for n in mnt net ipc uts; do BUSYBOX readlink /proc/self/ns/$n; done";

fn namespaces_of(read_link: impl Fn(&str) -> Result<String>) -> Result<String> {
    ["mnt", "net", "ipc", "uts"].iter().map(|kind| Ok(read_link(kind)? + "\n")).collect()
}

fn own_namespaces() -> Result<String> {
    namespaces_of(|kind| Ok(fs::read_link(format!("/proc/thread-self/ns/{kind}"))?.to_string_lossy().into_owned()))
}

fn hk_5_runtime(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for kind in HOST_KINDS {
        let script = SHOW_NAMESPACES.replace("BUSYBOX", &busybox(&c, kind));
        add_writer(&mut c, kind, "ns", &script);
    }
    c.live()?;
    let host = own_namespaces()?;
    for kind in HOST_KINDS {
        expect(&format!("namespaces of the {kind} hook"), wrote(&c, kind, "ns")?, host.clone())?;
    }
    Ok(())
}

fn hk_5_container(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for kind in ["createContainer", "startContainer"] {
        let script = SHOW_NAMESPACES.replace("BUSYBOX", &busybox(&c, kind));
        add_writer(&mut c, kind, "ns", &script);
    }
    let facts = Facts::run(&c)?;
    let inside = namespaces_of(|kind| facts.link(&format!("ns/{kind}")))?;
    for kind in ["createContainer", "startContainer"] {
        expect(&format!("namespaces of the {kind} hook"), wrote(&c, kind, "ns")?, inside.clone())?;
    }
    Ok(())
}

/// A script that puts the pid in the state on standard input into $pid.
const PID: &str = "pid=$(BUSYBOX tr -d ' \\n' | BUSYBOX sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')";

fn hk_6_network(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for kind in ["prestart", "createRuntime"] {
        let script = format!("{PID}; BUSYBOX readlink /proc/$pid/ns/net").replace("BUSYBOX", &busybox(&c, kind));
        add_writer(&mut c, kind, "net", &script);
    }
    let facts = Facts::run(&c)?;
    for kind in ["prestart", "createRuntime"] {
        let wanted = facts.link("ns/net")? + "\n";
        expect(&format!("the network namespace that the {kind} hook found"), wrote(&c, kind, "net")?, wanted)?;
    }
    Ok(())
}

fn hk_6_mounts(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["mounts"], json!({"destination": "/tmp", "type": "tmpfs", "source": "seen-by-the-hook"}));
    let script = format!("{} cat /proc/self/mountinfo", busybox(&c, "createContainer"));
    add_writer(&mut c, "createContainer", "mounts", &script);
    c.create().ok()?;
    let mounts = wrote(&c, "createContainer", "mounts")?;
    let place = c.path("/tmp");
    let line = mounts.lines().find(|line| line.contains("seen-by-the-hook"));
    let line = line.with_context(|| format!("the hook saw no mount at {}:\n{mounts}", place.display()))?;
    expect("where the hook saw it", line.split(' ').nth(4), place.to_str())
}

fn hk_7(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let (busybox, root) = (busybox(&c, "poststart"), root(&c, "poststart"));
    let script = format!("{PID}; echo $pid >{root}/pid; BUSYBOX cat /proc/$pid/cmdline").replace("BUSYBOX", &busybox);
    add_writer(&mut c, "poststart", "program", &script);
    // the command line of a process that has ended and is not yet reaped is empty
    let script = format!("{busybox} cat /proc/$({busybox} cat {root}/pid)/cmdline");
    add_writer(&mut c, "poststop", "left", &script);
    c.live()?;
    expect("the command line that the poststart hook saw", wrote(&c, "poststart", "program")?, "sleep\x001000\0")?;
    let left = wrote(&c, "poststop", "left")?;
    ensure!(!left.contains("sleep"), "the poststop hook saw the program: {left:?}");
    Ok(())
}

fn hk_8_quick(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let mut quick = hook(&c, "createRuntime", "exit 0");
    quick["timeout"] = json!(15);
    c.config["hooks"] = json!({"createRuntime": [quick.clone()], "poststop": [quick]});
    let start = Instant::now();
    c.live()?;
    ensure!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    Ok(())
}

fn ended(pid: &str) -> Result<()> {
    let number = Pid::from_raw(pid.trim().parse().with_context(|| format!("{pid:?} is no pid"))?);
    let gone = wait_until("the hook's process ends", || {
        let stat = read(&Path::new("/proc").join(number.to_string()).join("stat"));
        Ok((stat.is_empty() || stat.contains(") Z ")).then_some(()))
    });
    if gone.is_err() {
        let _ = kill(number, Signal::SIGKILL);
    }
    let _ = waitpid(number, None);
    gone
}

fn hk_8_tree(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let file = root(&c, "createRuntime") + "/child";
    let mut slow = hook(&c, "createRuntime", &format!("sleep 30 & echo $! >{file}; wait"));
    slow["timeout"] = json!(1);
    c.config["hooks"] = json!({"createRuntime": [slow]});
    c.must_be_refused()?;
    ended(&read(Path::new(&file)))
}

fn hk_8_left(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let file = root(&c, "createRuntime") + "/child";
    // the child keeps the hook's standard output and error
    let entry = hook(&c, "createRuntime", &format!("sleep 30 & echo $! >{file}"));
    c.config["hooks"] = json!({"createRuntime": [entry]});
    let start = Instant::now();
    let created = c.create().ok();
    let took = start.elapsed();
    let child = read(Path::new(&file)).trim().parse().map(Pid::from_raw);
    if let Ok(child) = child {
        let _ = kill(child, Signal::SIGKILL);
        let _ = waitpid(child, None);
    }
    created?;
    ensure!(took < Duration::from_secs(8), "create took {took:?}: it waited for the hook's child");
    Ok(())
}

fn hk_9_exact(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    let busybox = busybox(&c, "createRuntime");
    let script = c.bundle.join("hook.sh");
    let root = root(&c, "createRuntime");
    let show = format!(
        "#!{busybox} sh\n{busybox} cat /proc/$$/cmdline >{root}/$1args\n{busybox} cat /proc/$$/environ >{root}/$1env\n"
    );
    fs::write(&script, show)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let env = ["EMPTY=", "ONE=1", "TWO=a b"];
    c.config["hooks"] = json!({"createRuntime": [
        {"path": script, "args": ["a name of its own", "given-", "", "last word"], "env": env},
        {"path": script, "env": env},
    ]});
    c.create().ok()?;
    // the kernel puts the interpreter in front, and replaces the first argument by the script's path
    let head = format!("{busybox}\0sh\0{}\0", script.display());
    expect("args", read(&c.path("/given-args")), format!("{head}given-\0\0last word\0"))?;
    expect("args when there are none", read(&c.path("/args")), head)?;
    for file in ["/given-env", "/env"] {
        let seen = read(&c.path(file));
        let mut seen: Vec<_> = seen.split_terminator('\0').collect();
        seen.sort_unstable();
        expect("env", seen, env)?;
    }
    Ok(())
}

fn hk_9_all(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    c.push(&["process", "env"], json!("OF_THE_CONTAINER=1"));
    for kind in HOST_KINDS {
        let mut entry = hook(
            &c,
            kind,
            &format!("{{ env; pwd; }} >{}/{kind}.env", root(&c, kind))
                .replace("env;", &format!("{} env;", busybox(&c, kind))),
        );
        entry.as_object_mut().map(|entry| entry.remove("env"));
        c.push(&["hooks", kind], entry);
    }
    c.write_config()?;
    c.create_as_it_is(c.create_command().env("OF_THE_RUNTIME", "1")).ok()?;
    let run = |verb: &[&str]| {
        b.call_to(b.command(verb).env("OF_THE_RUNTIME", "1"), &c.bundle.join("verb.out"), &c.bundle.join("verb.err"))
    };
    run(&["start", &c.id]).ok()?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    run(&["delete", &c.id]).ok()?;
    for kind in HOST_KINDS {
        let seen = wrote(&c, kind, "env")?;
        ensure!(!seen.contains("OF_THE_CONTAINER"), "the {kind} hook saw OF_THE_CONTAINER");
        let cwd = seen.lines().last().unwrap_or_default();
        ensure!(!Path::new(cwd).starts_with(c.path("/")), "the {kind} hook works in the container's root, {cwd}");
    }
    Ok(())
}

fn hk_10(b: &Harness) -> Result<()> {
    let mut c = Container::new(b)?;
    for kind in KINDS {
        // the listing program has one more descriptor: its directory
        let script = format!("{} ls /proc/self/fd", busybox(&c, kind));
        add_writer(&mut c, kind, "fds", &script);
    }
    c.live()?;
    for kind in KINDS {
        expect(
            &format!("descriptors of the {kind} hook, and of its listing"),
            wrote(&c, kind, "fds")?,
            "0\n1\n2\n3\n",
        )?;
    }
    Ok(())
}
