//! The suite itself, with shell scripts in place of runtimes: its output, and what remains on the host after it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A directory that is removed with the test, and a runtime in it.
struct Fake {
    dir: PathBuf,
}

impl Fake {
    fn new(name: &str, script: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("fake-runtime.{}.{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("runtime"), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(dir.join("runtime"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn suite(&self, args: &[&str]) -> Command {
        let mut suite = Command::new(env!("CARGO_BIN_EXE_conformance"));
        suite.arg("--runtime").arg(self.dir.join("runtime")).args(args).env("TMPDIR", &self.dir);
        suite
    }

    fn json(&self, args: &[&str]) -> Vec<Value> {
        let done = self.suite(args).args(["--format", "json"]).output().unwrap();
        let mut all: Value = serde_json::from_slice(&done.stdout).unwrap();
        all["tests"].as_array_mut().map(std::mem::take).unwrap()
    }

    /// Returns the names of the files beside the runtime.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !["runtime", "made"].contains(&name.as_str())).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A runtime that creates a cgroup, a mount and a process of its own session, writes their names to `made`, and hangs.
const LITTER: &str = r#"
for id; do :; done
case "$*" in *" create "*) ;; *) exit 1 ;; esac
top=/sys/fs/cgroup; [ ! -d $top/pids ] || top=$top/pids
mkdir -p "$top/$id/below"
setsid sleep 1000 &
echo $! >"$top/$id/below/cgroup.procs"
mount -t tmpfs none "$5/rootfs"
echo "$! $top/$id $5" >"$(dirname "$0")/made"
sleep 1000
"#;

/// Waits for an event in another process.
fn wait_for(what: &str, happened: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !happened() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the process, the cgroup and the bundle that the runtime recorded.
fn made(fake: &Fake) -> [String; 3] {
    let text = fs::read_to_string(fake.dir.join("made")).unwrap();
    let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    words.try_into().unwrap()
}

fn assert_nothing_left(fake: &Fake) {
    let [process, cgroup, bundle] = made(fake);
    for path in [format!("/proc/{process}"), cgroup, bundle] {
        assert!(!Path::new(&path).exists(), "{path} is left");
    }
    assert_eq!(fake.left(), Vec::<String>::new());
}

#[test]
fn a_runtime_that_hangs_fails_in_time_and_leaves_nothing() {
    let fake = Fake::new("hangs", LITTER);
    let start = Instant::now();
    let tests = fake.json(&["--timeout", "1", "status changes from created"]);
    assert_eq!((&tests[0]["verdict"], &tests[0]["why"]), (&"fail".into(), &"timed out after 1 s".into()));
    assert!(start.elapsed() < Duration::from_secs(10), "it took {:?}", start.elapsed());
    assert_nothing_left(&fake);
}

#[test]
fn a_suite_that_is_killed_leaves_nothing() {
    let fake = Fake::new("killed", LITTER);
    let mut suite = fake.suite(&["status changes from created"]).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the runtime makes things", || fake.dir.join("made").exists());
    suite.kill().unwrap();
    suite.wait().unwrap();
    wait_for("the test's process cleans up", || fake.left().is_empty());
    assert_nothing_left(&fake);
}

#[test]
fn a_failure_tells_requirement_expectation_and_what_was_seen() {
    let fake = Fake::new("tap", "echo 'no such verb' >&2; exit 1");
    let done = fake.suite(&["--filter", "PR-15", "--filter", "ST-4"]).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(1), "{text}");
    assert!(text.starts_with("TAP version 13\n"), "{text}");
    let numbers = text.lines().filter_map(|line| line.strip_prefix("not ok ").or_else(|| line.strip_prefix("ok ")));
    let numbers: Vec<&str> = numbers.filter_map(|line| line.split(' ').next()).collect();
    let plan = text.lines().find_map(|line| line.strip_prefix("1..")).unwrap();
    let wanted: Vec<String> = (1..=plan.parse::<usize>().unwrap()).map(|number| number.to_string()).collect();
    assert_eq!(numbers, wanted, "{text}");
    for words in ["requirement: \"PR-15\"", "expected: \"oomScoreAdj is set", "seen: \"`create", "no such verb"] {
        assert!(text.contains(words), "no {words:?} in {text}");
    }
}

#[test]
fn the_order_of_the_results_is_that_of_the_list_however_many_run_at_once() {
    let fake = Fake::new("order", "exit 1");
    let list = fake.suite(&["CF", "--list"]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let listed: Vec<String> = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let words = |test: &Value| format!("{} {}", test["id"].as_str().unwrap(), test["title"].as_str().unwrap());
    let ran: Vec<String> = fake.json(&["CF", "--jobs", "5"]).iter().map(words).collect();
    assert!(ran.len() > 5);
    assert_eq!(ran, listed);
    // a runtime that fails without a message is never right
    assert!(fake.json(&["CF-2"]).iter().all(|test| test["verdict"] == "fail"));
}

#[test]
fn the_table_and_the_page_have_all_results() {
    let fake = Fake::new("formats", "exit 1");
    let output =
        |format: &str| String::from_utf8(fake.suite(&["ST-4", "--format", format]).output().unwrap().stdout).unwrap();
    let table = output("table");
    assert!(table.lines().any(|line| line.starts_with("failed   ST-4   M ")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("total  ")), "{table}");
    let page = output("markdown");
    assert!(page.lines().any(|line| line.starts_with("| ST-4 | M | failed | ")), "{page}");
    assert!(page.lines().any(|line| line.starts_with("| CF-1 | M | no test | ")), "{page}");
}

#[test]
fn what_is_no_option_or_fits_no_test_is_an_error_of_usage() {
    let fake = Fake::new("usage", "exit 1");
    for args in [&["--nosuch"] as &[_], &["no test has this in its title"], &["--jobs", "0"]] {
        let done = fake.suite(args).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{args:?}");
        assert!(!done.stderr.is_empty() && done.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn the_probe_tells_facts_and_what_came_of_its_acts() {
    let fake = Fake::new("probe", "");
    let file = fake.dir.join("made");
    fs::write(&file, "text").unwrap();
    let file = file.display();
    let acts = [
        format!("read:{file}"),
        format!("create:{file}"),
        format!("write:{file}=new"),
        "syscall:getcwd,0,0".to_owned(),
        "stat:/dev/null".to_owned(),
        "threads:3".to_owned(),
        "nosuch:act".to_owned(),
        "exit:7".to_owned(),
    ];
    let mut probe = Command::new(env!("CARGO_BIN_EXE_conformance"));
    let done = probe.arg0("probe").args(&acts).current_dir("/").env_clear().env("A", "b=c").output().unwrap();
    assert_eq!(done.status.code(), Some(7));
    let facts: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&facts["uid"][1], &facts["cwd"], &facts["env"]), (&0.into(), &"/".into(), &vec!["A=b=c"].into()));
    assert_eq!(facts["fds"]["0"], "/dev/null");
    let did = |at: usize| &facts["did"][&acts[at]];
    assert_eq!(
        (&did(0)["ok"], &did(1)["errno"], did(2).get("ok")),
        (&"text".into(), &"EEXIST".into(), Some(&Value::Null))
    );
    assert_eq!((&did(3)["errno"], &did(4)["ok"]["kind"], &did(5)["ok"]), (&"ERANGE".into(), &"char".into(), &3.into()));
    assert!(did(6)["error"].as_str().unwrap().contains("does not know"));
}
