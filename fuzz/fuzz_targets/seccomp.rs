//! `croci::fuzzing::seccomp` for libFuzzer, and with the feature `libseccomp` the same profile compiled by libseccomp.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let found = croci::fuzzing::seccomp_of(data);
    #[cfg(feature = "libseccomp")]
    if let Some((program, calls)) = found {
        theirs::compare(&croci::fuzzing::profile(data), &program, &calls);
    }
    #[cfg(not(feature = "libseccomp"))]
    drop(found);
});

/// The same profile by libseccomp, as runc gives it to libseccomp.
#[cfg(feature = "libseccomp")]
mod theirs {
    use croci::fuzzing::{Call, verdict};
    use libc::sock_filter;
    use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
    use oci_spec::runtime::LinuxSeccompOperator as Op;
    use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSyscall};
    use std::collections::HashSet;

    /// The bit of x32 in the number of a call.
    const X32: u32 = 0x4000_0000;

    /// `AUDIT_ARCH_X86_64` and `AUDIT_ARCH_I386`.
    const X86_64: u32 = 0xc000_003e;
    const I386: u32 = 0x4000_0003;

    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    /// Compares the verdicts of both programs on all calls; a profile that libseccomp refuses is not compared.
    pub fn compare(profile: &LinuxSeccomp, ours: &[sock_filter], calls: &[Call]) {
        let Some(theirs) = compile(profile) else { return };
        let several = with_several_rules(profile);
        let compared = |call: &&Call| !several.contains(&(call.number & !X32)) && !forgets_number(profile, &theirs, call);
        for call in calls.iter().filter(compared) {
            let (one, other) = (verdict(ours, call), verdict(&theirs, call));
            assert!(other.is_some(), "{call:?}: the interpreter lacks an instruction of libseccomp's");
            // newer than the profile: runc adds that to libseccomp's program; -1 is a call that a tracer skipped
            let ours_alone = one == Some(ENOSYS) || call.number == u32::MAX;
            assert!(one == other || ours_alone, "{call:?} has {one:x?}, by libseccomp {other:x?}: {profile:?}");
        }
    }

    /// Returns the numbers of calls with several rules, one of which has a condition. Where a later comparison of such a rule
    /// fails (of a second condition, or of the other half of an argument), libseccomp's program takes the default action
    /// and does not try the other rules. It is not the interpreter: the kernel does so too with the program of libseccomp
    /// 2.5.4 for `recvmsg` with the third argument 0x80000000 and the two rules "at most 0x100000000" and "less than
    /// 0x80000000", of which the first matches, and alone is obeyed.
    fn with_several_rules(profile: &LinuxSeccomp) -> HashSet<u32> {
        let rules: Vec<_> = profile.syscalls().iter().flatten().collect();
        let conditions = |rule: &LinuxSyscall| rule.args().as_ref().map_or(0, Vec::len);
        let several = |name: &&String| {
            let own = rules.iter().flat_map(|rule| rule.names().iter().map(move |one| (one, rule)));
            let own: Vec<_> = own.filter(|(one, _)| one == name).map(|(_, rule)| conditions(rule)).collect();
            // conditions on one argument are a rule each
            own.iter().map(|count| (*count).max(1)).sum::<usize>() > 1 && own.iter().any(|count| *count > 0)
        };
        let names = rules.iter().flat_map(|rule| rule.names()).filter(several);
        let archs = [ScmpArch::X8664, ScmpArch::X86, ScmpArch::X32, ScmpArch::Aarch64];
        let number = |name: &String, arch| ScmpSyscall::from_name_by_arch(name, arch).ok().map(i32::from);
        let numbers = names.flat_map(|name| archs.into_iter().filter_map(move |arch| number(name, arch)));
        numbers.map(|number| number.cast_unsigned() & !X32).collect()
    }

    /// Returns whether libseccomp's program decides on a call without its number, because a rule names a call that the
    /// architecture lacks: libseccomp lets the first rule's block load the number, and leaves that block out where it is of
    /// such a call, so that the architecture is compared with the numbers instead (2.5.0 to 2.6.1, since its issue 252 was
    /// closed). Two rules are enough with X32 beside x86-64: `clone3` with a condition, and `futex_time64` without one;
    /// then no rule is obeyed.
    fn forgets_number(profile: &LinuxSeccomp, theirs: &[sock_filter], call: &Call) -> bool {
        // the program of libseccomp with an end in the place of each load of the number
        let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
        let ends = |one: &sock_filter| if one.code == load && one.k == 0 { u16::MAX } else { one.code };
        let without: Vec<_> = theirs.iter().map(|one| sock_filter { code: ends(one), ..*one }).collect();
        let archs: &[ScmpArch] = match call.arch {
            X86_64 => &[ScmpArch::X8664, ScmpArch::X32],
            I386 => &[ScmpArch::X86],
            _ => &[ScmpArch::Aarch64],
        };
        let lacks = |name: &String, arch| {
            !ScmpSyscall::from_name_by_arch(name, arch).is_ok_and(|number| i32::from(number) >= 0)
        };
        let mut names = profile.syscalls().iter().flatten().flat_map(|rule| rule.names());
        verdict(&without, call).is_some() && names.any(|name| archs.iter().any(|arch| lacks(name, *arch)))
    }

    fn compile(profile: &LinuxSeccomp) -> Option<Vec<sock_filter>> {
        let default = action(profile.default_action(), profile.default_errno_ret());
        let mut filter = ScmpFilterContext::new(default).ok()?;
        for arch in profile.architectures().iter().flatten() {
            let arch = match arch {
                Arch::ScmpArchX86_64 => ScmpArch::X8664,
                Arch::ScmpArchX86 => ScmpArch::X86,
                Arch::ScmpArchX32 => ScmpArch::X32,
                Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
                _ => return None,
            };
            filter.add_arch(arch).ok()?;
        }
        for rule in profile.syscalls().iter().flatten() {
            let action = action(rule.action(), rule.errno_ret());
            if action == default {
                continue;
            }
            for call in rule.names().iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
                let args = rule.args().as_deref().unwrap_or_default();
                let twice =
                    args.iter().enumerate().any(|(at, arg)| args[..at].iter().any(|one| one.index() == arg.index()));
                let conditions: Vec<_> = args.iter().map(condition).collect();
                if conditions.is_empty() {
                    filter.add_rule(action, call).ok()?;
                } else if twice {
                    for one in conditions {
                        filter.add_rule_conditional(action, call, &[one]).ok()?;
                    }
                } else {
                    filter.add_rule_conditional(action, call, &conditions).ok()?;
                }
            }
        }
        let mut file = tempfile();
        filter.export_bpf(&file).ok()?;
        Some(read(&mut file))
    }

    fn tempfile() -> std::fs::File {
        use std::fs::OpenOptions;
        let path = format!("/dev/shm/croci-fuzzing-{}-bpf", std::process::id());
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
        std::fs::remove_file(path).expect("the file can be removed");
        file
    }

    fn read(file: &mut std::fs::File) -> Vec<sock_filter> {
        use std::io::{Read as _, Seek as _};
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("the program can be read");
        let one = |b: &[u8]| sock_filter {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jt: b[2],
            jf: b[3],
            k: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        };
        bytes.chunks_exact(8).map(one).collect()
    }

    fn action(action: LinuxSeccompAction, errno: Option<u32>) -> ScmpAction {
        let number = errno.unwrap_or(libc::EPERM as u32);
        match action {
            LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
            LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
            LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
            LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(number as i32),
            LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(number as u16),
            LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
            LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
            LinuxSeccompAction::ScmpActNotify => ScmpAction::Notify,
        }
    }

    fn condition(arg: &LinuxSeccompArg) -> ScmpArgCompare {
        let op = match arg.op() {
            Op::ScmpCmpNe => ScmpCompareOp::NotEqual,
            Op::ScmpCmpLt => ScmpCompareOp::Less,
            Op::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
            Op::ScmpCmpEq => ScmpCompareOp::Equal,
            Op::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
            Op::ScmpCmpGt => ScmpCompareOp::Greater,
            Op::ScmpCmpMaskedEq => ScmpCompareOp::MaskedEqual(arg.value()),
        };
        let datum = if arg.op() == Op::ScmpCmpMaskedEq { arg.value_two().unwrap_or(0) } else { arg.value() };
        ScmpArgCompare::new(arg.index() as u32, op, datum)
    }
}
