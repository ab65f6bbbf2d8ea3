//! Profiles from bytes for fuzz targets, compiled, and compared with their definition.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a target reports a finding"
)]

use libc::sock_filter;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSeccompOperator as Op};
use serde_json::{Value, json};

use super::abi::{Abi, NATIVE, Width};
use super::interpreter;
pub use super::interpreter::Call;
use super::{compile, multiplex, tables};

/// System calls that a profile from bytes names: old and new ones, multiplexed ones, and names that no machine has.
const NAMES: [&str; 32] = [
    "read",
    "write",
    "open",
    "openat",
    "openat2",
    "close",
    "socket",
    "connect",
    "accept",
    "accept4",
    "recv",
    "sendmsg",
    "recvmsg",
    "shmat",
    "shmget",
    "msgsnd",
    "semop",
    "clone",
    "clone3",
    "ioctl",
    "personality",
    "prctl",
    "mmap",
    "mmap2",
    "_llseek",
    "uname",
    "chown32",
    "futex_time64",
    "rt_sigreturn",
    "mount_setattr",
    "no_such_call",
    "exit_group",
];
const ACTIONS: [&str; 8] = ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "TRAP", "TRACE", "LOG", "NOTIFY"];
const OPERATORS: [&str; 7] = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
const ARCHITECTURES: [&str; 4] = ["X86_64", "X86", "X32", "AARCH64"];

/// The bytes of an input, zeros after their end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from.get(self.below(from.len())).copied().unwrap_or_default()
    }

    /// A number at an edge, or from eight bytes.
    fn number(&mut self) -> u64 {
        match self.below(12) {
            0 => 0,
            1 => 1,
            2 => u64::from(u32::MAX),
            3 => 1 << 32,
            4 => u64::MAX,
            5 => 1 << 63,
            6 => 1 << 31,
            7 => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
            _ => u64::from(self.byte()),
        }
    }
}

/// Makes a profile from bytes.
pub fn profile(data: &[u8]) -> LinuxSeccomp {
    let mut bytes = Bytes(data);
    // NOTIFY is last and no default
    let default = bytes.pick(ACTIONS.get(..7).unwrap_or_default());
    let archs: Vec<String> = (0..bytes.below(4)).map(|_| format!("SCMP_ARCH_{}", bytes.pick(&ARCHITECTURES))).collect();
    let calls: Vec<Value> = (0..bytes.below(12)).map(|_| rule(&mut bytes)).collect();
    let profile = json!({ "defaultAction": format!("SCMP_ACT_{default}"), "architectures": archs, "syscalls": calls });
    serde_json::from_value(profile).expect("a profile of the right form")
}

/// Makes an entry of `syscalls`.
fn rule(bytes: &mut Bytes<'_>) -> Value {
    let names: Vec<&str> = (0..=bytes.below(3)).map(|_| bytes.pick(&NAMES)).collect();
    let action = bytes.pick(&ACTIONS);
    let args: Vec<Value> = (0..bytes.below(4))
        .map(|_| {
            let (index, op) = (bytes.below(6), bytes.pick(&OPERATORS));
            json!({ "index": index, "op": format!("SCMP_CMP_{op}"), "value": bytes.number(), "valueTwo": bytes.number() })
        })
        .collect();
    let mut rule = json!({ "names": names, "action": format!("SCMP_ACT_{action}"), "args": args });
    if matches!(action, "ERRNO" | "TRACE") {
        rule["errnoRet"] = json!(bytes.byte());
    }
    rule
}

/// Runs a program on a call; `None` where the kernel would refuse the program.
pub fn verdict(program: &[sock_filter], call: &Call) -> Option<u32> {
    interpreter::run(program, call).map(|(verdict, _)| verdict)
}

/// Compiles the profile of an input, and compares the verdict of calls around each rule with the definition. Returns the
/// program and the calls.
pub fn seccomp_of(data: &[u8]) -> Option<(Vec<sock_filter>, Vec<Call>)> {
    let profile = profile(data);
    let filter = match compile(&profile) {
        Ok(filter) => filter,
        Err(err) => {
            assert!(!base::error::describe(&err).is_empty());
            return None;
        }
    };
    assert!((1..=4096).contains(&filter.program.len()), "{} instructions", filter.program.len());
    let calls = calls(&profile);
    for call in &calls {
        let found = verdict(&filter.program, call).expect("the kernel accepts the program");
        let allowed = definition(&profile, call);
        assert!(allowed.contains(&found), "{call:?} has {found:#x}, and not one of {allowed:x?}: {profile:?}");
    }
    Some((filter.program, calls))
}

/// As [`seccomp_of`], as a target.
pub fn seccomp(data: &[u8]) {
    let _ = seccomp_of(data);
}

/// Returns calls at the edges of what a profile distinguishes.
fn calls(profile: &LinuxSeccomp) -> Vec<Call> {
    let mut calls = Vec::new();
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let mut numbers: Vec<(u32, u32, Vec<LinuxSeccompArg>)> = vec![(0xdead, 0, Vec::new())];
    for (column, abi) in NATIVE.abis.iter().enumerate() {
        numbers.extend([0, 20, 400, 10_000, u32::MAX].map(|number| (abi.audit, number | abi.first, Vec::new())));
        for rule in rules {
            let args = rule.args().clone().unwrap_or_default();
            for number in rule.names().iter().flat_map(|name| numbers_of(abi, column, name)) {
                numbers.push((abi.audit, number, args.clone()));
                numbers.push((abi.audit, number.wrapping_add(1), Vec::new()));
            }
        }
    }
    for (arch, number, args) in numbers.into_iter().take(400) {
        calls.push(Call { arch, number, args: [0; 6] });
        for change in [0, 1, u64::MAX, 1 << 32] {
            let mut call = Call { arch, number, args: [change; 6] };
            for arg in &args {
                if let Some(at) = call.args.get_mut(arg.index()) {
                    let wanted =
                        if arg.op() == Op::ScmpCmpMaskedEq { arg.value_two().unwrap_or(0) } else { arg.value() };
                    *at = wanted.wrapping_add(change);
                }
            }
            calls.push(call);
        }
    }
    calls
}

/// Returns the numbers by which an ABI reaches a call: its own, and that of its multiplexer.
fn numbers_of(abi: &Abi, column: usize, name: &str) -> Vec<u32> {
    let of = |name: &str| {
        let row = tables::find(NATIVE.rows, name)?;
        row.numbers.get(column).copied().filter(|number| *number != tables::NONE)
    };
    let by = multiplex::find(name).filter(|_| abi.multiplexed).and_then(|by| of(by.call));
    of(name).into_iter().chain(by).collect()
}

/// Returns the verdicts that a profile allows for a call: of the rules whose conditions hold, whose order is
/// libseccomp's, or of the default.
fn definition(profile: &LinuxSeccomp, call: &Call) -> Vec<u32> {
    let read = super::profile::Profile::read(profile).expect("the profile was compiled");
    let x32 = call.arch == NATIVE.abis.first().map_or(0, |abi| abi.audit) && call.number >= tables::X32_BIT;
    let found = NATIVE.abis.iter().enumerate().find(|(_, abi)| abi.audit == call.arch && (abi.first != 0) == x32);
    let Some((column, abi)) = found else { return vec![libc::SECCOMP_RET_KILL_THREAD] };
    if column != 0 && !read.archs.contains(&abi.arch) {
        // a tracer writes -1 to skip a call
        let skipped = x32 && call.number == u32::MAX;
        return vec![if skipped { read.default } else { libc::SECCOMP_RET_KILL_THREAD }];
    }
    let (mut always, mut rules, mut newest) = (None, Vec::new(), None);
    for entry in &read.entries {
        for name in entry.names {
            let numbers = numbers_of(abi, column, name);
            newest = newest.max(numbers.iter().copied().max());
            if entry.verdict == read.default || !numbers.contains(&call.number) {
                continue;
            }
            let own = tables::find(NATIVE.rows, name).and_then(|row| row.numbers.get(column)) == Some(&call.number);
            let selector = multiplex::find(name).filter(|_| !own).map(|by| by.condition);
            for conditions in &entry.alternatives {
                let others = conditions.iter().filter(|one| selector.is_none_or(|by| by.index != one.index));
                let all: Vec<_> = others.copied().chain(selector).collect();
                let narrow = |one: &super::rule::Condition| (one.mask & all_of(abi), one.value);
                let real = all.iter().filter(|one| narrow(one).0 != 0).count();
                if real == 0 {
                    always = always.or(Some(entry.verdict));
                } else if all.iter().all(|one| holds(one, call, all_of(abi))) {
                    rules.push(entry.verdict);
                }
            }
        }
    }
    let is_private = call.number >= abi.private && abi.private != u32::MAX;
    let is_newer = newest.is_some_and(|newest| call.number > newest) && !is_private;
    match always {
        Some(verdict) => vec![verdict],
        None if !rules.is_empty() => rules,
        None if is_newer && read.unknown_is_enosys => vec![libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32],
        None => vec![read.default],
    }
}

/// Returns the bits of an argument that an ABI compares.
fn all_of(abi: &Abi) -> u64 {
    if abi.width == Width::Bits32 { u64::from(u32::MAX) } else { u64::MAX }
}

/// Returns whether a condition holds for a call.
fn holds(one: &super::rule::Condition, call: &Call, all: u64) -> bool {
    let mask = one.mask & all;
    let arg = call.args.get(usize::from(one.index)).copied().unwrap_or(0) & mask;
    let value = one.value & mask;
    match one.op {
        _ if mask == 0 => true,
        Op::ScmpCmpNe => arg != value,
        Op::ScmpCmpLt => arg < value,
        Op::ScmpCmpLe => arg <= value,
        Op::ScmpCmpEq | Op::ScmpCmpMaskedEq => arg == value,
        Op::ScmpCmpGe => arg >= value,
        Op::ScmpCmpGt => arg > value,
    }
}
