//! All facts about the process and its surroundings, from system calls, and from /proc where there is no call.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, umask};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{self, Pid};
use serde_json::{Value, json};

use super::sys;

/// The number of descriptors that are examined, from 0 on.
const DESCRIPTORS: i32 = 1024;
const LIMITS: &[(&str, Resource)] = &[
    ("RLIMIT_AS", Resource::RLIMIT_AS),
    ("RLIMIT_CORE", Resource::RLIMIT_CORE),
    ("RLIMIT_CPU", Resource::RLIMIT_CPU),
    ("RLIMIT_DATA", Resource::RLIMIT_DATA),
    ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", Resource::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", Resource::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", Resource::RLIMIT_NICE),
    ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", Resource::RLIMIT_NPROC),
    ("RLIMIT_RSS", Resource::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", Resource::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", Resource::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", Resource::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", Resource::RLIMIT_STACK),
];
const NAMESPACES: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// Returns all facts.
pub fn all() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Value {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse::<u64>().ok()).into()
    };
    json!({
        "pid": Pid::this().as_raw(), "ppid": unistd::getppid().as_raw(), "pgid": unistd::getpgrp().as_raw(),
        "sid": unistd::getsid(None).map(Pid::as_raw).ok(),
        "uid": uids(), "gid": gids(), "groups": groups(),
        "caps": caps(), "no_new_privs": nix::sys::prctl::get_no_new_privs().ok(),
        "seccomp": field("Seccomp"), "seccomp_filters": field("Seccomp_filters"),
        "rlimits": rlimits(), "umask": format!("{:04o}", mask()),
        "args": words(std::env::args_os()), "env": env(), "cwd": unistd::getcwd().map(|path| text(&path)).ok(),
        "fds": descriptors(), "namespaces": namespaces(), "mounts": mounts(),
        "uid_map": columns("/proc/self/uid_map"), "gid_map": columns("/proc/self/gid_map"),
        "oom_score_adj": number("/proc/self/oom_score_adj"), "scheduler": sys::scheduler(), "ioprio": sys::ioprio(),
        "affinity": affinity(), "personality": sys::personality(), "memory_policy": sys::memory_policy(),
        "hostname": read("/proc/sys/kernel/hostname").or_else(hostname), "domainname": read("/proc/sys/kernel/domainname"),
        "machine": machine(), "tty": tty(), "keyring": sys::session_keyring(), "cgroup": read("/proc/self/cgroup"),
        "clocks": {"monotonic": clock(ClockId::CLOCK_MONOTONIC), "boottime": clock(ClockId::CLOCK_BOOTTIME)},
        "signals": signals(&status), "interfaces": interfaces(),
        "apparmor": read("/proc/self/attr/apparmor/current").or_else(|| read("/proc/self/attr/current")),
    })
}

fn uids() -> Value {
    unistd::getresuid()
        .map_or(Value::Null, |ids| json!([ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()]))
}

fn gids() -> Value {
    unistd::getresgid()
        .map_or(Value::Null, |ids| json!([ids.real.as_raw(), ids.effective.as_raw(), ids.saved.as_raw()]))
}

fn groups() -> Value {
    let groups = unistd::getgroups().unwrap_or_default();
    groups.iter().map(|gid| gid.as_raw()).collect()
}

/// Returns the five sets, each as the numbers of its capabilities.
fn caps() -> Value {
    let [effective, permitted, inheritable] = sys::capabilities();
    let numbers = |set: u64| -> Vec<u32> { (0..64).filter(|bit| set >> bit & 1 == 1).collect() };
    json!({
        "effective": numbers(effective), "permitted": numbers(permitted), "inheritable": numbers(inheritable),
        "bounding": numbers(sys::bounding()), "ambient": numbers(sys::ambient()),
    })
}

fn rlimits() -> Value {
    let pairs =
        LIMITS.iter().filter_map(|(name, resource)| Some(((*name).to_owned(), json!(getrlimit(*resource).ok()?))));
    Value::Object(pairs.collect())
}

fn mask() -> u32 {
    let mask = umask(Mode::empty());
    umask(mask);
    mask.bits()
}

fn env() -> Value {
    words(std::env::vars_os().map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        key
    }))
}

fn words(list: impl Iterator<Item = std::ffi::OsString>) -> Value {
    list.map(|word| String::from_utf8_lossy(word.as_bytes()).into_owned()).collect()
}

/// Returns the open descriptors, with the kind of their files.
fn descriptors() -> Value {
    let open = (0..DESCRIPTORS).filter(|&fd| linux::process::is_open(fd));
    let pairs = open.map(|fd| (fd.to_string(), json!(link(&format!("/proc/self/fd/{fd}")))));
    Value::Object(pairs.collect())
}

fn namespaces() -> Value {
    let pairs = NAMESPACES.iter().map(|kind| ((*kind).to_owned(), json!(link(&format!("/proc/self/ns/{kind}")))));
    Value::Object(pairs.collect())
}

/// Parses the lines of mountinfo.
fn mounts() -> Value {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mountinfo.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Value> {
    let (own, of_fs) = line.split_once(" - ")?;
    let own: Vec<&str> = own.split(' ').collect();
    let of_fs: Vec<&str> = of_fs.splitn(3, ' ').collect();
    let list = |field: &str| -> Vec<String> { field.split(',').map(str::to_owned).collect() };
    Some(json!({
        "root": own.get(3)?, "point": own.get(4)?, "options": list(own.get(5)?), "propagation": own.get(6..)?,
        "type": of_fs.first()?, "source": of_fs.get(1)?, "super": list(of_fs.get(2)?),
    }))
}

/// Parses a table of numbers, such as the id maps.
fn columns(path: &str) -> Value {
    let table = fs::read_to_string(path).unwrap_or_default();
    let row = |line: &str| -> Vec<u64> { line.split_whitespace().filter_map(|word| word.parse().ok()).collect() };
    table.lines().map(row).collect()
}

fn affinity() -> Value {
    let Ok(set) = sched_getaffinity(Pid::this()) else { return Value::Null };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()
}

fn hostname() -> Option<String> {
    Some(unistd::gethostname().ok()?.to_string_lossy().into_owned())
}

fn machine() -> Value {
    nix::sys::utsname::uname().map_or(Value::Null, |name| name.machine().to_string_lossy().into())
}

/// Returns the standard streams that are terminals, the size of one, and whether there is a controlling terminal.
fn tty() -> Value {
    let terminals = sys::terminals();
    let path = terminals.first().filter(|&&is| is).and_then(|_| link("/proc/self/fd/0"));
    json!({
        "terminals": terminals, "size": sys::window_size(), "controlling": fs::File::open("/dev/tty").is_ok(), "path": path,
    })
}

fn clock(id: ClockId) -> Value {
    clock_gettime(id).map_or(Value::Null, |time| time.tv_sec().into())
}

/// Returns the masks of blocked, ignored and caught signals, in hexadecimal as the kernel prints them.
fn signals(status: &str) -> Value {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    json!({"blocked": field("SigBlk:"), "ignored": field("SigIgn:"), "caught": field("SigCgt:")})
}

fn interfaces() -> Value {
    let table = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

fn number(path: &str) -> Value {
    read(path).and_then(|text| text.parse::<i64>().ok()).into()
}

fn read(path: &str) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\0']).to_owned())
}

fn link(path: &str) -> Option<String> {
    Some(text(&fs::read_link(path).ok()?))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
