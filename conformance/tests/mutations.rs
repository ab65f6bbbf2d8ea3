//! The suite against croci with one fault at a time: the test of that requirement has to fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// The fault (src/bin/mutant.rs), and the requirement of which one test has to fail; words of the test's title instead
/// where the requirement's other tests would take long.
const MUTATIONS: &[(&str, &str)] = &[
    ("a capability too many", "the five capability sets are exactly the configured ones"),
    ("capabilities ignored", "the five capability sets are exactly the configured ones"),
    ("the inheritable capabilities ignored", "each set alone is applied"),
    ("kept groups dropped", "run.oci.keep_original_groups keeps them in a user namespace, without ids"),
    ("rlimits ignored", "rlimits are exactly the configured ones"),
    ("the hard rlimit is the soft one", "rlimits are exactly the configured ones"),
    ("masked paths skipped", "masked files and directories show nothing, missing ones are no error"),
    ("read-only paths skipped", "LX-3"),
    ("the root stays writable", "RT-2"),
    ("hooks swapped", "LC-1"),
    ("poststop hooks forgotten", "LC-3"),
    ("hooks without their timeout", "a hook that outlives its timeout"),
    ("hooks with the environment of the container", "HK-9"),
    ("hooks without an environment", "a hook without env has the environment of its side"),
    ("hooks in reverse order", "the error of a failed hook has its kind and index"),
    ("unknown capabilities dropped in silence", "the warning of an unknown capability is shown by default"),
    ("seccomp ignored", "a seccomp rule with ERRNO gives its errno to the program"),
    ("seccomp with EPERM only", "a seccomp rule with ERRNO gives its errno to the program"),
    ("rules that notify nobody", "a listenerPath without a listener is an error"),
    ("the wrong uid", "user, group and exactly the additional groups"),
    ("additional groups dropped", "user, group and exactly the additional groups"),
    ("umask ignored", "PR-7"),
    ("no_new_privs forgotten", "PR-14"),
    ("the OOM score ignored", "oomScoreAdj is set"),
    ("the scheduler ignored", "scheduler is set"),
    ("cwd ignored", "cwd is the working directory, and is created when it is missing"),
    ("a variable of the runtime", "the environment is the configured one"),
    ("arguments cut at a blank", "the program is found in the PATH of its environment, arguments are kept as they are"),
    ("the host name ignored", "hostname and domainname are set in a UTS namespace"),
    ("personality ignored", "LX-5"),
    ("the last mount forgotten", "MT-3"),
    ("mounts in reverse order", "MT-1"),
    ("mount flags ignored", "flags of a bind mount are those asked for"),
    ("options that clear a flag ignored", "in a user namespace: locked flags stay, to clear one is an error"),
    ("the first lower directory alone", "overlay takes as many lower directories as the kernel does"),
    ("parts of destinations dropped", "`..` of a destination is taken from its text"),
    ("propagation ignored", "rootfsPropagation is the propagation of /"),
    ("sysctl ignored", "sysctl values are set in the container's namespaces"),
    ("the memory limit ignored", "memory.limit is written"),
    ("the cgroup path ignored", "an absolute cgroupsPath is that place"),
    ("the pids limit ignored", "pids.limit is in force"),
    ("all devices allowed", "the access list is in force"),
    ("configured devices forgotten", "in a user namespace a device need be none of the host's"),
    (
        "the mode of devices ignored",
        "configured devices have their type, numbers, mode in spite of the umask, and owner",
    ),
    ("namespaces not joined", "a namespace with a path is joined"),
    ("id maps off by one", "a user namespace has the configured maps"),
    ("time offsets ignored", "offsets of a time namespace are set; without one they are an error"),
    ("duplicate limits accepted", "PR-9"),
    ("annotations dropped", "ST-1"),
    ("update does nothing", "update takes resources from a file"),
    ("signals swallowed", "kill reaches a created and a running"),
    ("TERM, whatever the signal", "kill reaches a created and a running"),
    ("signals to a stopped container swallowed", "KILL ends what has outlived the init without a pid namespace"),
    ("delete does nothing", "DE-2"),
    ("delete is always forced", "DE-1"),
    ("create starts", "CR-3"),
    ("errors succeed", "ST-4"),
    ("errors are crashes", "CR-4"),
    ("errors without a word", "ST-4"),
    ("delete without a word", "a failing poststop hook is a warning"),
    ("stopped is reported as running", "an init that is not reaped"),
    ("no pid in the state", "ST-1"),
    ("a relative bundle in the state", "ST-1"),
    ("the pid file ends in a newline", "CL-6"),
    ("a descriptor leaks", "FD-1"),
];

/// The same for requirements that only cgroup v2 has: further tests that have to catch a mutation of the list above.
const MUTATIONS_OF_V2: &[(&str, &str)] = &[
    ("the cgroup path ignored", "a place below a threaded cgroup is taken"),
    ("update does nothing", "a property of update takes precedence over an older unified key"),
];

/// The number of tests at a time, because most of a test's time on a broken runtime is waiting for what does not
/// happen.
const SIDE_BY_SIDE: usize = 6;

/// Returns the path of the debug binary, built in the same directory by `cargo test --workspace`.
fn croci() -> PathBuf {
    let croci = Path::new(env!("CARGO_BIN_EXE_conformance")).with_file_name("croci");
    assert!(croci.exists(), "{} is missing: cargo build", croci.display());
    croci
}

/// Returns the tests that failed when croci was broken in this way, of all that were run for `filters`.
fn failures(dir: &Path, mutation: &str, filters: &BTreeSet<&str>) -> BTreeSet<String> {
    let mutant = dir.join(mutation);
    let script =
        format!("#!/bin/sh\nexec {} '{mutation}' {} \"$@\"\n", env!("CARGO_BIN_EXE_mutant"), croci().display());
    fs::write(&mutant, script.replace("container's", "container'\\''s").replace("runtime's'", "runtime'\\''s'"))
        .unwrap();
    fs::set_permissions(&mutant, fs::Permissions::from_mode(0o755)).unwrap();
    let mut suite = Command::new(env!("CARGO_BIN_EXE_conformance"));
    let done = suite.arg("--runtime").arg(&mutant).args(["--format", "json"]).args(filters).output().unwrap();
    let results: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|err| panic!("{mutation}: {err}: {}", String::from_utf8_lossy(&done.stderr)));
    let tests = results["tests"].as_array().unwrap();
    assert!(!tests.is_empty(), "{mutation}: {results}");
    let failed = tests.iter().filter(|test| test["verdict"] == "fail");
    failed.map(|test| format!("{} {}", test["id"], test["title"])).collect()
}

#[test]
fn every_mutation_is_caught_by_the_test_of_its_requirement() {
    let dir = std::env::temp_dir().join(format!("mutations.{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    // croci as it is fails none of these tests, so that every failure below is caused by the mutation
    let of_v2 = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { MUTATIONS_OF_V2 } else { &[] };
    let list: Vec<_> = MUTATIONS.iter().chain(of_v2).collect();
    let all: BTreeSet<&str> = list.iter().map(|(_, filter)| *filter).collect();
    let sound = failures(&dir, "nothing", &all);
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((name, filter)) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if failures(&dir, name, &[*filter].into()).is_empty() {
                        missed.lock().unwrap().push((name, filter));
                    }
                }
            });
        }
    });
    fs::remove_dir_all(&dir).unwrap();
    assert_eq!(sound, BTreeSet::new(), "failed without a mutation");
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

#[test]
fn the_table_has_every_mutation_that_there_is() {
    let listed = Command::new(env!("CARGO_BIN_EXE_mutant")).arg("--list").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names: Vec<_> = std::iter::once("nothing").chain(MUTATIONS.iter().map(|(name, _)| *name)).collect();
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
}
