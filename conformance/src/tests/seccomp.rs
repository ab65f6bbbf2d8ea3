//! The effect of a seccomp profile on the program's system calls (checklist part 16).

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::Test;
use crate::checks::{accepted, exec, printed, prints, refused, with};
use crate::container::Container;
use crate::harness::Harness;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "SE-1",
        title: "the actions KILL, KILL_THREAD, KILL_PROCESS and TRAP end the caller by SIGSYS",
        run: ends,
    },
    Test { id: "SE-1", title: "the actions ALLOW and LOG let a call pass", run: passes },
    Test {
        id: "SE-1",
        title: "the action TRACE without a tracer is ENOSYS",
        run: |b| {
            prints(
                b,
                MKDIR,
                SECCOMP,
                &rule("mkdir", "SCMP_ACT_TRACE"),
                "mkdir: can't create directory '/made': Function not implemented\nstatus 1\n",
            )
        },
    },
    Test { id: "SE-1", title: "the default action is for calls that no rule names", run: default_action },
    Test {
        id: "SE-1",
        title: "a profile without defaultAction, or with an unknown one, is an error",
        run: |b| {
            refused(
                b,
                SECCOMP,
                &[
                    json!({}),
                    json!({"defaultAction": ""}),
                    json!({"defaultAction": "ALLOW"}),
                    json!({"defaultAction": "SCMP_ACT_NOSUCH"}),
                ],
            )
        },
    },
    Test {
        id: "SE-1",
        title: "a rule without an action, or with an unknown one, is an error",
        run: |b| {
            refused(
                b,
                SECCOMP,
                &[
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"]}]}),
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOSUCH"}]}),
                ],
            )
        },
    },
    Test {
        id: "SE-1",
        title: "the default action NOTIFY is an error",
        run: |b| {
            refused(b, SECCOMP, &[json!({"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/no-such-socket"})])
        },
    },
    Test { id: "SE-1", title: "a profile holds for a process of exec too", run: in_exec },
    Test {
        id: "SE-1",
        title: "without a profile there is no filter",
        run: |b| {
            let out = printed(b, "grep Seccomp: /proc/self/status", &["hostname"], &json!("plain"))?;
            ensure!(out == "Seccomp:\t0\n", "it printed {out:?}");
            Ok(())
        },
    },
    Test {
        id: "SE-2",
        title: "ERRNO without errnoRet is EPERM",
        run: |b| {
            prints(
                b,
                MKDIR,
                SECCOMP,
                &rule("mkdir", "SCMP_ACT_ERRNO"),
                "mkdir: can't create directory '/made': Operation not permitted\nstatus 1\n",
            )
        },
    },
    Test { id: "SE-2", title: "defaultErrnoRet is the errno of calls that no rule names", run: default_errno },
    Test { id: "SE-2", title: "each rule has an errno of its own", run: errno_each },
    Test {
        id: "SE-2",
        title: "an errnoRet that is no errno is an error",
        run: |b| {
            let with = |value: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": value}]});
            refused(b, SECCOMP, &[with(json!(4096)), with(json!(-1)), with(json!("EPERM"))])
        },
    },
    Test {
        id: "SE-2",
        title: "errnoRet with ALLOW, LOG, TRAP or KILL is an error",
        run: |b| {
            let values = ["ALLOW", "LOG", "TRAP", "KILL_PROCESS", "KILL_THREAD"].map(|action| {
            let action = format!("SCMP_ACT_{action}");
            json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["mkdir"], "action": action, "errnoRet": 5}]})
        });
            refused(b, SECCOMP, &values)
        },
    },
    Test {
        id: "SE-2",
        title: "errnoRet is accepted with TRACE",
        run: |b| {
            accepted(
                b,
                SECCOMP,
                &[
                    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_TRACE", "errnoRet": 5}]}),
                ],
            )
        },
    },
    Test {
        id: "SE-3",
        title: "every little-endian architecture of the specification is known",
        run: |b| architectures(b, LITTLE_ENDIAN),
    },
    Test {
        id: "SE-3",
        title: "every big-endian architecture of the specification is known",
        run: |b| architectures(b, BIG_ENDIAN),
    },
    Test {
        id: "SE-3",
        title: "an unknown architecture is an error",
        run: |b| {
            refused(
                b,
                SECCOMP,
                &["SCMP_ARCH_Z80", "x86_64", ""]
                    .map(|name| json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": [name]})),
            )
        },
    },
    Test { id: "SE-3", title: "the machine's own architecture is included, named or not", run: native },
    Test {
        id: "SE-4",
        title: "the flags TSYNC, LOG and SPEC_ALLOW are taken, each and all",
        run: |b| {
            let sets = [
                json!(["TSYNC"]),
                json!(["LOG"]),
                json!(["SPEC_ALLOW"]),
                json!(["TSYNC", "LOG", "SPEC_ALLOW"]),
                json!([]),
            ];
            accepted(b, SECCOMP, &sets.map(|names| {
            let flags: Vec<String> = names.as_array().into_iter().flatten().filter_map(Value::as_str).map(|name| format!("SECCOMP_FILTER_FLAG_{name}")).collect();
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]})
        }))
        },
    },
    Test {
        id: "SE-4",
        title: "an unknown flag is an error",
        run: |b| {
            refused(b, SECCOMP, &["SECCOMP_FILTER_FLAG_NOSUCH", "LOG", ""].map(|flag| {
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [flag], "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]})
        }))
        },
    },
    Test {
        id: "SE-4",
        title: "the flag WAIT_KILLABLE_RECV without NOTIFY is an error",
        run: |b| {
            refused(
                b,
                SECCOMP,
                &[json!({
                    "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
                    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
                })],
            )
        },
    },
    Test { id: "SE-5", title: "each comparison of an argument compares as its name means", run: comparisons },
    Test { id: "SE-5", title: "an argument is compared in all of its 64 bits", run: wide },
    Test { id: "SE-5", title: "conditions on several arguments have to hold all", run: and },
    Test { id: "SE-5", title: "conditions on one argument given twice are alternatives", run: or },
    Test {
        id: "SE-5",
        title: "an index above 5 and an unknown comparison are errors",
        run: |b| {
            let with = |condition: Value| json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": [condition]}]});
            refused(
                b,
                SECCOMP,
                &[
                    with(json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"})),
                    with(json!({"index": 0, "value": 1, "op": "SCMP_CMP_NOSUCH"})),
                    with(json!({"index": 0, "value": 1})),
                    with(json!({"value": 1, "op": "SCMP_CMP_EQ"})),
                    with(json!({"index": 0, "value": -1, "op": "SCMP_CMP_EQ"})),
                ],
            )
        },
    },
    Test {
        id: "SE-5",
        title: "a rule without names is an error",
        run: |b| {
            refused(
                b,
                SECCOMP,
                &[json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]})],
            )
        },
    },
    Test {
        id: "SE-5",
        title: "a rule whose action is the default is no error",
        run: |b| prints(b, "mkdir /made && echo made", SECCOMP, &rule("mkdir", "SCMP_ACT_ALLOW"), "made\n"),
    },
    Test {
        id: "SE-6",
        title: "a call newer than the profile is ENOSYS where the default is an errno",
        run: |b| call(b, "SCMP_ACT_ERRNO", 1000, ENOSYS),
    },
    Test {
        id: "SE-6",
        title: "a call that the profile could have named is the default's errno",
        run: |b| call(b, "SCMP_ACT_ERRNO", KEXEC_LOAD, EPERM),
    },
    Test {
        id: "SE-6",
        title: "a call newer than the profile passes where the default is to allow",
        run: |b| call(b, "SCMP_ACT_ALLOW", 1000, ENOSYS),
    },
    Test { id: "SE-10", title: "a profile need not allow what the runtime itself does before the program", run: late },
];

const SECCOMP: &[&str] = &["linux", "seccomp"];
const MKDIR: &str = "mkdir /made 2>&1; echo status $?";
const EPERM: &str = "EPERM";
const ENOSYS: &str = "ENOSYS";
const KEXEC_LOAD: u32 = 246;

const LITTLE_ENDIAN: &[&str] = &[
    "X86",
    "X86_64",
    "X32",
    "ARM",
    "AARCH64",
    "MIPSEL",
    "MIPSEL64",
    "MIPSEL64N32",
    "PPC64LE",
    "RISCV64",
    "LOONGARCH64",
    "SH",
];
const BIG_ENDIAN: &[&str] =
    &["MIPS", "MIPS64", "MIPS64N32", "PPC", "PPC64", "S390", "S390X", "PARISC", "PARISC64", "M68K", "SHEB"];

/// The calls that a shell and a few small programs need, and those that a runtime of any language makes behind the
/// filter.
const NEEDED: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "chdir",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fcntl",
    "fork",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "lstat",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "recvfrom",
    "recvmsg",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigsuspend",
    "sched_getaffinity",
    "sched_yield",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setpgid",
    "sigaltstack",
    "stat",
    "statfs",
    "statx",
    "sysinfo",
    "tgkill",
    "umask",
    "uname",
    "unlinkat",
    "vfork",
    "wait4",
    "waitid",
    "write",
    "writev",
];

fn architectures(b: &Harness, list: &[&str]) -> Result<()> {
    let names: Vec<String> = list.iter().map(|name| format!("SCMP_ARCH_{name}")).collect();
    accepted(b, SECCOMP, &[json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": names})])
}

/// Returns a profile that allows all but one call, which has this action.
fn rule(call: &str, action: &str) -> Value {
    let at = format!("{call}at");
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [call, at], "action": action}]})
}

fn ends(b: &Harness) -> Result<()> {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let out = printed(b, MKDIR, SECCOMP, &rule("mkdir", action))?;
        // 128 + SIGSYS; the shell itself may print a message before
        ensure!(out.ends_with("status 159\n"), "{action}: it printed {out:?}");
    }
    Ok(())
}

fn passes(b: &Harness) -> Result<()> {
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        let mut profile = rule("mkdir", action);
        profile["syscalls"][0]["names"] = json!(["mkdir", "mkdirat", "rmdir"]);
        prints(b, MKDIR, SECCOMP, &profile, "status 0\n")?;
    }
    Ok(())
}

/// Returns the profile with a rule that allows the needed calls; all others get its default action.
fn strict(default: Value) -> Value {
    let mut profile = default;
    profile["syscalls"] = json!([{"names": NEEDED, "action": "SCMP_ACT_ALLOW"}]);
    profile
}

fn default_action(b: &Harness) -> Result<()> {
    let out = printed(b, MKDIR, SECCOMP, &strict(json!({"defaultAction": "SCMP_ACT_KILL_PROCESS"})))?;
    ensure!(out.ends_with("status 159\n"), "KILL_PROCESS by default: it printed {out:?}");
    let wanted = "mkdir: can't create directory '/made': Operation not permitted\nstatus 1\n";
    prints(b, MKDIR, SECCOMP, &strict(json!({"defaultAction": "SCMP_ACT_ERRNO"})), wanted)
}

fn in_exec(b: &Harness) -> Result<()> {
    let mut profile = rule("mkdir", "SCMP_ACT_ERRNO");
    profile["syscalls"][0]["errnoRet"] = json!(28);
    let c = with(b, SECCOMP, &profile)?;
    c.create().ok()?;
    c.start().ok()?;
    let done = exec(b, &c, &["mkdir", "/made"])?.error()?;
    ensure!(done.err.contains("No space left on device"), "mkdir printed {:?}", done.err);
    Ok(())
}

fn default_errno(b: &Harness) -> Result<()> {
    let profile = strict(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 28}));
    prints(b, MKDIR, SECCOMP, &profile, "mkdir: can't create directory '/made': No space left on device\nstatus 1\n")
}

fn errno_each(b: &Harness) -> Result<()> {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 17},
    ]});
    let out = printed(b, "mkdir /made; busybox ln -s a /b", SECCOMP, &profile)?;
    ensure!(out.contains("No space left on device") && out.contains("File exists"), "it printed {out:?}");
    Ok(())
}

fn native(b: &Harness) -> Result<()> {
    let foreign = if cfg!(target_arch = "x86_64") { "SCMP_ARCH_ARM" } else { "SCMP_ARCH_X86" };
    for architectures in [json!([foreign]), json!([])] {
        let mut profile = rule("mkdir", "SCMP_ACT_ERRNO");
        profile["architectures"] = architectures;
        let out = printed(b, MKDIR, SECCOMP, &profile)?;
        ensure!(out.ends_with("status 1\n"), "architectures {}: it printed {out:?}", profile["architectures"]);
    }
    Ok(())
}

/// The call that chmod uses on this machine, and the index of the mode among its arguments.
const CHMOD: (&str, u32) = if cfg!(target_arch = "x86_64") { ("chmod", 1) } else { ("fchmodat", 2) };

/// Returns the modes that a condition on the mode refuses, of 0600, 0640 and 0700.
fn refused_modes(b: &Harness, conditions: &[(&str, u64, u64)]) -> Result<Vec<&'static str>> {
    let args: Vec<Value> = conditions
        .iter()
        .map(|(op, value, second)| json!({"index": CHMOD.1, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": second}))
        .collect();
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": [CHMOD.0], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": args},
    ]});
    let out =
        printed(b, "touch /f; for m in 600 640 700; do chmod $m /f 2>/dev/null || echo $m; done", SECCOMP, &profile)?;
    Ok(["600", "640", "700"].into_iter().filter(|mode| out.lines().any(|line| line == *mode)).collect())
}

fn comparisons(b: &Harness) -> Result<()> {
    let rows: [(&str, u64, u64, &[&str]); 7] = [
        ("EQ", 0o640, 0, &["640"]),
        ("NE", 0o640, 0, &["600", "700"]),
        ("LT", 0o640, 0, &["600"]),
        ("LE", 0o640, 0, &["600", "640"]),
        ("GT", 0o640, 0, &["700"]),
        ("GE", 0o640, 0, &["640", "700"]),
        // the bits 0700 of the mode have to be 0600
        ("MASKED_EQ", 0o700, 0o600, &["600", "640"]),
    ];
    for (op, value, second, wanted) in rows {
        let now = refused_modes(b, &[(op, value, second)])?;
        ensure!(now == wanted, "mode {op} {value:#o} {second:#o} refuses {now:?}, it has to refuse {wanted:?}");
    }
    Ok(())
}

fn wide(b: &Harness) -> Result<()> {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
        "names": ["ftruncate"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
        "args": [{"index": 1, "op": "SCMP_CMP_EQ", "value": 0x1_0000_0064_u64}],
    }]});
    let script = "for s in 100 4294967396; do busybox truncate -s $s /f 2>/dev/null || echo $s; done";
    prints(b, script, SECCOMP, &profile, "4294967396\n")
}

fn and(b: &Harness) -> Result<()> {
    let condition =
        |index: u32, op: &str, value: u64| json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value});
    for (pointer, wanted) in [("NE", "640\n"), ("EQ", "")] {
        // the path is not a null pointer, so that the first condition always holds, or never
        let args = [condition(CHMOD.1 - 1, pointer, 0), condition(CHMOD.1, "EQ", 0o640)];
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": [CHMOD.0], "action": "SCMP_ACT_ERRNO", "args": args},
        ]});
        let script = "touch /f; for m in 600 640 700; do chmod $m /f 2>/dev/null || echo $m; done";
        prints(b, script, SECCOMP, &profile, wanted).with_context(|| format!("path {pointer} 0 and mode EQ 0640"))?;
    }
    Ok(())
}

fn or(b: &Harness) -> Result<()> {
    let now = refused_modes(b, &[("EQ", 0o600, 0), ("EQ", 0o700, 0)])?;
    ensure!(now == ["600", "700"], "mode EQ 0600, mode EQ 0700: refuses {now:?}");
    Ok(())
}

/// Runs a program that makes one call, which the profile does not name.
fn call(b: &Harness, default: &str, number: u32, wanted: &str) -> Result<()> {
    let act = format!("syscall:{number}");
    let mut c = Container::probe(b, &[&act])?;
    // some libraries determine the age of a call only for architectures that the profile names
    c.config["linux"]["seccomp"] = strict(json!({"defaultAction": default, "architectures": ["SCMP_ARCH_X86_64"]}));
    let facts = c.facts()?;
    let did = &facts["did"][&act]["errno"];
    ensure!(did == wanted, "system call {number} by default {default}: {did}, it has to be {wanted}");
    Ok(())
}

fn late(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "echo ran as $(id -u); exit 0")?;
    c.config["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [7]});
    c.config["process"]["cwd"] = json!("/tmp");
    // neither ids nor capabilities nor mounts nor sockets: with no_new_privs the filter can be loaded last
    c.config["linux"]["seccomp"] = strict(json!({"defaultAction": "SCMP_ACT_ERRNO"}));
    let out = c.run()?;
    ensure!(out == "ran as 1000\n", "it printed {out:?}");
    Ok(())
}
