//! The features document compared with the runtime's behaviour: versions, hooks, mount options, annotations (checklist
//! part 19). Each element that it lists has to work as listed; a runtime without the document is not judged.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use super::Test;
use crate::container::Container;
use crate::harness::{Harness, expect_value, skip};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test { id: "FE-1", title: "the features document is the same whatever the machine offers", run: fe_1 },
    Test {
        id: "FE-2",
        title: "both ends of the version range are versions, in order, and accepted in a config",
        run: fe_2,
    },
    Test {
        id: "FE-2",
        title: "the features document has the properties of its ociVersionMax and no others",
        run: fe_2_known,
    },
    Test { id: "FE-3", title: "each listed kind of hook is run", run: fe_3_hooks },
    Test {
        id: "FE-3",
        title: "each listed mount option is accepted as an option and not as a file system's data",
        run: fe_3_options,
    },
    Test { id: "FE-3", title: "a mount option that is understood is listed", run: fe_3_unlisted },
    Test {
        id: "FE-3",
        title: "the mount options that the specification requires are listed, those of one file system are not",
        run: fe_3_required,
    },
    Test {
        id: "FE-3",
        title: "an annotation that changes what the runtime does is declared as potentially unsafe",
        run: fe_3_unsafe,
    },
];

/// Returns the features document; skips the test where the runtime prints none.
pub fn features(b: &Harness) -> Result<Value> {
    let done = b.call(["features"]);
    let Ok(done) = done.ok() else { return skip("the runtime has no features document") };
    serde_json::from_str(&done.out).with_context(|| format!("features printed no JSON: {}", done.out))
}

/// Returns the strings at a JSON pointer; skips the test where the document leaves the property out, which means
/// "unknown".
pub fn listed(features: &Value, pointer: &str) -> Result<Vec<String>> {
    let Some(list) = features.pointer(pointer).filter(|list| !list.is_null()) else {
        return skip(&format!("the features document has no {pointer}"));
    };
    let strings = list.as_array().into_iter().flatten().map(|item| item.as_str().map(str::to_owned));
    strings
        .collect::<Option<_>>()
        .filter(|_| list.is_array())
        .with_context(|| format!("{pointer} is no list of strings: {list}"))
}

fn fe_1(b: &Harness) -> Result<()> {
    let usual = features(b)?;
    // in this test's own mount namespace, an empty /sys hides cgroups, security modules and devices
    let sys = Path::new("/sys");
    mount(Some("tmpfs"), sys, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
    let bare = features(b);
    umount2(sys, MntFlags::MNT_DETACH)?;
    expect_value("features with an empty /sys", &bare?, &usual)
}

/// Returns the three numbers of a version, without its pre-release and build parts.
pub fn version(features: &Value, end: &str) -> Result<Vec<u64>> {
    let text = features[end].as_str().with_context(|| format!("{end} is {}", features[end]))?;
    let numbers = text.split(['-', '+']).next().unwrap_or_default().split('.').map(str::parse);
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().with_context(|| format!("{end} is {text:?}"))?;
    ensure!(numbers.len() == 3, "{end} is {text:?}");
    Ok(numbers)
}

fn fe_2(b: &Harness) -> Result<()> {
    let features = features(b)?;
    let (min, max) = (version(&features, "ociVersionMin")?, version(&features, "ociVersionMax")?);
    ensure!(min <= max, "ociVersionMin is {min:?}, ociVersionMax {max:?}");
    for end in ["ociVersionMin", "ociVersionMax"] {
        let mut c = Container::new(b)?;
        c.config["ociVersion"] = features[end].clone();
        c.create().ok().context(end)?;
    }
    Ok(())
}

/// The properties, and the minor version of 1.x that introduced each.
const PROPERTIES: &[(&str, u64)] = &[
    ("/ociVersionMin", 1),
    ("/ociVersionMax", 1),
    ("/hooks", 1),
    ("/mountOptions", 1),
    ("/annotations", 1),
    ("/potentiallyUnsafeConfigAnnotations", 2),
    ("/linux", 1),
    ("/linux/namespaces", 1),
    ("/linux/capabilities", 1),
    ("/linux/cgroup", 1),
    ("/linux/seccomp", 1),
    ("/linux/apparmor", 1),
    ("/linux/selinux", 1),
    ("/linux/intelRdt", 2),
    ("/linux/mountExtensions", 2),
    ("/linux/memoryPolicy", 3),
    ("/linux/netDevices", 3),
];

fn fe_2_known(b: &Harness) -> Result<()> {
    let features = features(b)?;
    let minor = version(&features, "ociVersionMax")?.get(1).copied().unwrap_or_default();
    for (above, object) in [("", &features), ("/linux", &features["linux"])] {
        for key in object.as_object().into_iter().flat_map(|object| object.keys()) {
            let pointer = format!("{above}/{key}");
            let since = PROPERTIES.iter().find(|(known, _)| *known == pointer);
            let (_, since) = since.with_context(|| format!("{pointer} is no property of the specification"))?;
            // 1.1 introduced the document itself, but runtimes that name their version 1.0.2-dev print it too
            ensure!(
                *since <= minor.max(1),
                "{pointer} came with 1.{since}, ociVersionMax is {}",
                features["ociVersionMax"]
            );
        }
    }
    Ok(())
}

fn fe_3_hooks(b: &Harness) -> Result<()> {
    let kinds = listed(&features(b)?, "/hooks")?;
    for wanted in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        ensure!(kinds.iter().any(|kind| kind == wanted), "{wanted} is not listed: {kinds:?}");
    }
    let mut c = Container::new(b)?;
    for kind in &kinds {
        // the container's program tree is the bundle's on either side: only the path to it differs
        let root = if kind == "startContainer" { "/".into() } else { c.path("/") };
        let (shell, mark) = (root.join("bin/busybox"), root.join(format!("ran-{kind}")));
        let hook = json!({"path": shell, "args": ["touch", mark]});
        c.push(&["hooks", kind.as_str()], hook);
    }
    c.create().ok()?;
    c.start().ok()?;
    c.kill("KILL").ok()?;
    c.wait_stopped()?;
    c.delete().ok()?;
    for kind in kinds {
        ensure!(c.path(&format!("/ran-{kind}")).exists(), "the listed hook {kind} did not run");
    }
    Ok(())
}

/// Prepares a container with a mount for each option, and the source and destination that the option needs.
fn with_options<'a>(b: &'a Harness, options: &[&str]) -> Result<Container<'a>> {
    let mut c = Container::new(b)?;
    let source = c.bundle.join("source");
    fs::create_dir(&source)?;
    for (number, option) in options.iter().enumerate() {
        let place = format!("/m{number}");
        let bind =
            |options: &[&str]| json!({"destination": place, "type": "bind", "source": source, "options": options});
        let tmpfs =
            |options: &[&str]| json!({"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options});
        let mounts = match *option {
            "bind" | "rbind" => vec![bind(&[option])],
            "remount" => vec![tmpfs(&[]), tmpfs(&["remount", "nosuid"])],
            "idmap" | "ridmap" => {
                let mut mount = bind(&["rbind", option]);
                mount["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
                mount["gidMappings"] = mount["uidMappings"].clone();
                vec![mount]
            }
            // these say whether a source or a destination that is a symlink is followed
            "copy-symlink" | "src-nofollow" | "dest-nofollow" => vec![bind(&["bind", option])],
            _ => vec![tmpfs(&[option])],
        };
        mounts.into_iter().for_each(|mount| c.push(&["mounts"], mount));
    }
    Ok(c)
}

fn fe_3_options(b: &Harness) -> Result<()> {
    let options = listed(&features(b)?, "/mountOptions")?;
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    if let Err(err) = with_options(b, &options)?.create().ok() {
        // find the option that was refused
        for option in options {
            with_options(b, &[option])?.create().ok().with_context(|| format!("the listed option {option}"))?;
        }
        return Err(err.context("all listed options, each on a mount of its own"));
    }
    with_options(b, &["nosuchoption"])?.must_be_refused().context("an unknown option")?;
    Ok(())
}

/// Option words of the mount, not of a file system, that runtimes use; a tmpfs accepts none of them as data.
const FLAG_WORDS: &str = "async atime dev diratime dirsync exec iversion lazytime loud mand noatime nodev nodiratime noexec \
    noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private relatime ro rprivate rshared rslave \
    runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable rasync ratime rdev rdiratime \
    rdirsync rexec riversion rlazytime rmand rnoatime rnodev rnodiratime rnoexec rnoiversion rnolazytime rnomand rnorelatime \
    rnostrictatime rnosuid rnosymfollow rrelatime rro rrw rstrictatime rsuid rsymfollow rsync";

fn fe_3_unlisted(b: &Harness) -> Result<()> {
    let options = listed(&features(b)?, "/mountOptions")?;
    for option in FLAG_WORDS.split_whitespace().filter(|word| !options.iter().any(|option| option == word)) {
        with_options(b, &[option])?.must_be_refused().with_context(|| format!("{option} is not listed, and"))?;
    }
    Ok(())
}

fn fe_3_required(b: &Harness) -> Result<()> {
    let options = listed(&features(b)?, "/mountOptions")?;
    let has = |wanted: &str| options.iter().any(|option| option == wanted);
    let required = "async sync atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime defaults dev \
                    nodev exec noexec suid nosuid ro rw dirsync remount bind rbind private rprivate shared rshared slave \
                    rslave unbindable runbindable iversion noiversion lazytime nolazytime loud silent";
    let missing: Vec<_> = required.split_whitespace().filter(|option| !has(option)).collect();
    ensure!(missing.is_empty(), "not listed: {missing:?}");
    let data: Vec<_> =
        ["size", "mode", "uid", "gid", "nr_inodes", "lowerdir", "upperdir", "newinstance", "ptmxmode", "hidepid"]
            .into_iter()
            .filter(|data| options.iter().any(|option| option.split('=').next() == Some(data)))
            .collect();
    ensure!(data.is_empty(), "listed, and data of one file system: {data:?}");
    ensure!(options.iter().collect::<BTreeSet<_>>().len() == options.len(), "an option is listed twice: {options:?}");
    Ok(())
}

/// Returns whether the document declares an annotation: by its name, or by a prefix that ends in a dot.
fn declared(features: &Value, annotation: &str) -> bool {
    let list = features["potentiallyUnsafeConfigAnnotations"].as_array().into_iter().flatten();
    list.filter_map(Value::as_str)
        .any(|entry| entry == annotation || entry.ends_with('.') && annotation.starts_with(entry))
}

fn fe_3_unsafe(b: &Harness) -> Result<()> {
    let features = features(b)?;
    let unsafe_one = |annotation: &str, honoured: bool| {
        let fine = !honoured || declared(&features, annotation);
        ensure!(fine, "{annotation} is honoured, and not in potentiallyUnsafeConfigAnnotations");
        Ok(())
    };
    let mut c = Container::new(b)?;
    let output = c.bundle.join("hook-output");
    let hook = json!({"path": c.path("/bin/busybox"), "args": ["echo", "words of the hook"]});
    c.config["hooks"] = json!({"createRuntime": [hook]});
    c.config["annotations"] = json!({"run.oci.hooks.stdout": output});
    c.create().ok()?;
    unsafe_one("run.oci.hooks.stdout", output.exists())?;
    let mut c = Container::new(b)?;
    c.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}]});
    c.create().ok()?;
    c.config["annotations"] = json!({"run.oci.seccomp_fail_unknown_syscall": "1"});
    c.id = b.fresh_name();
    unsafe_one("run.oci.seccomp_fail_unknown_syscall", c.create().ok().is_err())?;
    let mut c = Container::new(b)?;
    let socket = c.bundle.join("pidfd");
    let listener = UnixListener::bind(&socket)?;
    listener.set_nonblocking(true)?;
    c.config["annotations"] = json!({"run.oci.pidfd_receiver": socket});
    c.create().ok()?;
    unsafe_one("run.oci.pidfd_receiver", listener.accept().is_ok())
}
