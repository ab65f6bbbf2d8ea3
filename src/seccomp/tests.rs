//! The verdicts of compiled filters, in the interpreter and once in the kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::abi::{ALL, ARM, Family, RISCV, X86};
use super::interpreter::{Call, run};
use super::{Filter, compile_for, from_bytes};
use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM_EABI: u32 = 0x4000_0028;
const RISCV64: u32 = 0xc000_00f3;
const X32: u32 = 0x4000_0000;

const KILL: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const NOTIFY: u32 = 0x7fc0_0000;
const TRACE: u32 = 0x7ff0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

#[test]
fn every_family_has_its_numbers_and_its_audit_values() {
    for (family, numbers) in ALL {
        let sorted = family.rows.windows(2).all(|pair| pair[0].name() < pair[1].name());
        let row = super::tables::find(family.rows, "getpid").unwrap();
        assert!(sorted);
        assert_eq!((&row.numbers[..numbers.len()], family.abis.len()), (numbers, numbers.len()));
        for abi in family.abis {
            // the value of libseccomp's SCMP_ARCH_*, but for x32, which has the audit value of x86_64
            let expected = if abi.first == 0 { abi.arch as u32 } else { X86_64 };
            assert_eq!(abi.audit, expected, "{:?}", abi.arch);
        }
        let first = &family.abis[0];
        let filter = on(
            family,
            json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_ERRNO"}]}),
        );
        let call = |number| run(&filter.program, &Call { number, arch: first.audit, args: [0; 6] }).unwrap().0;
        assert_eq!((call(numbers[0]), call(numbers[0] + 1)), (EPERM, ALLOW), "{:?}", first.arch);
    }
}

fn profile(json: Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

fn on(family: &Family, json: Value) -> Filter {
    compile_for(family, &profile(json)).unwrap()
}

fn refused(json: Value) -> String {
    format!("{:#}", compile_for(&X86, &profile(json)).unwrap_err())
}

fn docker() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../../tests/fixtures/seccomp-docker.json")).unwrap()
}

/// Returns the verdict for a call with these first arguments.
fn verdict_for(filter: &Filter, arch: u32, number: u32, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    run(&filter.program, &Call { arch, number, args: all }).expect("the program is well formed").0
}

fn arg(index: usize, op: &str, value: u64, value_two: u64) -> Value {
    json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": value_two})
}

#[test]
fn se_1_every_action_has_its_kernel_value() {
    for (action, verdict) in [
        ("KILL", KILL),
        ("KILL_THREAD", KILL),
        ("KILL_PROCESS", KILL_PROCESS),
        ("TRAP", TRAP),
        ("ERRNO", EPERM),
        ("TRACE", TRACE | 1),
        ("LOG", LOG),
        ("NOTIFY", NOTIFY),
        ("ALLOW", ALLOW),
    ] {
        let default = if action == "ALLOW" { "SCMP_ACT_ERRNO" } else { "SCMP_ACT_ALLOW" };
        let rule = json!({"names": ["getcwd"], "action": format!("SCMP_ACT_{action}")});
        let filter = on(&X86, json!({"defaultAction": default, "syscalls": [rule]}));
        assert_eq!(verdict_for(&filter, X86_64, 79, &[]), verdict, "{action}");
        assert_eq!(verdict_for(&filter, X86_64, 78, &[]), if action == "ALLOW" { EPERM } else { ALLOW }, "{action}");
        assert_eq!(filter.notify, action == "NOTIFY");
    }
}

#[test]
fn se_1_a_profile_without_rules_has_the_default_action() {
    for (default, verdict) in [("KILL", KILL), ("ALLOW", ALLOW), ("ERRNO", EPERM)] {
        let filter = on(&X86, json!({"defaultAction": format!("SCMP_ACT_{default}")}));
        assert_eq!(verdict_for(&filter, X86_64, 0, &[]), verdict, "{default}");
        assert_eq!(verdict_for(&filter, X86_64, 5000, &[]), verdict, "{default}: nothing is known to be newer");
        assert_eq!(verdict_for(&filter, I386, 3, &[]), KILL, "{default}");
    }
}

#[test]
fn se_1_and_2_and_8_bad_properties_are_named() {
    let rule = |extra: Value| {
        let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ERRNO"});
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["open"], "action": "SCMP_ACT_LOG"}, rule]})
    };
    for (json, message) in [
        (
            json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
            "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be used as default action",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}),
            "linux.seccomp.defaultErrnoRet: not allowed with SCMP_ACT_KILL, only with SCMP_ACT_ERRNO and SCMP_ACT_TRACE",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}),
            "linux.seccomp.defaultErrnoRet: 4096 is larger than 4095",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65536}),
            "linux.seccomp.defaultErrnoRet: 65536 is larger than 65535",
        ),
        (
            rule(json!({"action": "SCMP_ACT_LOG", "errnoRet": 1})),
            "linux.seccomp.syscalls[1].errnoRet: not allowed with SCMP_ACT_LOG, only with SCMP_ACT_ERRNO and SCMP_ACT_TRACE",
        ),
        (rule(json!({"names": ["read", ""]})), "linux.seccomp.syscalls[1].names[1]: must not be empty"),
        (
            rule(json!({"args": [arg(0, "EQ", 1, 0), arg(6, "EQ", 1, 0)]})),
            "linux.seccomp.syscalls[1].args[1].index: 6 is not an argument, there are 0 to 5",
        ),
        (
            rule(json!({"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"})),
            "linux.seccomp.syscalls[1].names[1]: SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}),
            "linux.seccomp.listenerMetadata: only allowed together with listenerPath",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}),
            "linux.seccomp.flags[0]: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is only allowed with a SCMP_ACT_NOTIFY rule",
        ),
    ] {
        assert_eq!(refused(json), message);
    }
}

#[test]
fn se_2_errno_values_reach_the_caller() {
    let rules = json!([
        {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095},
        {"names": ["write"], "action": "SCMP_ACT_TRACE", "errnoRet": 65535},
        {"names": ["open"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0},
        {"names": ["clone3"], "action": "SCMP_ACT_ALLOW"},
    ]);
    let filter = on(&X86, json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "syscalls": rules}));
    for (number, verdict) in [(0, 0x0005_0fff), (1, 0x7ff0_ffff), (2, 0x0005_0000), (3, 0x0005_000d), (435, ALLOW)] {
        assert_eq!(verdict_for(&filter, X86_64, number, &[]), verdict, "{number}");
    }
}

#[test]
fn se_3_unlisted_architectures_are_killed() {
    let only_native =
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PARISC", "SCMP_ARCH_SHEB"]});
    let filter = on(&X86, only_native);
    assert_eq!(verdict_for(&filter, X86_64, 0, &[]), ALLOW);
    for (arch, number) in [(I386, 3), (X86_64, X32), (X86_64, X32 + 520), (AARCH64, 63), (0, 0)] {
        assert_eq!(verdict_for(&filter, arch, number, &[]), KILL, "{arch:#x} {number:#x}");
    }
    assert_eq!(verdict_for(&filter, X86_64, u32::MAX, &[]), ALLOW, "-1 is a call that a tracer skips, not one of x32");
}

#[test]
fn se_3_each_architecture_has_its_own_numbers() {
    let archs = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"]);
    let rules = json!([{"names": ["execve", "set_tls", "riscv_hwprobe"], "action": "SCMP_ACT_LOG"}]);
    let json = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs, "syscalls": rules});
    for (family, arch, number) in [
        (&X86, X86_64, 59),
        (&X86, I386, 11),
        (&X86, X86_64, X32 + 520),
        (&ARM, AARCH64, 221),
        (&ARM, ARM_EABI, 11),
        (&ARM, ARM_EABI, 0x000f_0005),
        (&RISCV, RISCV64, 221),
        (&RISCV, RISCV64, 258),
    ] {
        let filter = on(family, json.clone());
        assert_eq!(verdict_for(&filter, arch, number, &[]), LOG, "{arch:#x} {number}");
        assert_eq!(verdict_for(&filter, arch, number + 1, &[]), ALLOW, "{arch:#x} {number} + 1");
    }
}

#[test]
fn se_4_flags() {
    let flags = |flags: Value, action: &str| {
        let rules = json!([{"names": ["read"], "action": action}]);
        on(&X86, json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": rules})).flags
    };
    assert_eq!(flags(Value::Null, "SCMP_ACT_LOG"), 4, "absent: SPEC_ALLOW");
    assert_eq!(flags(json!([]), "SCMP_ACT_LOG"), 0);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]), "SCMP_ACT_LOG"), 1 | 2);
    assert_eq!(flags(Value::Null, "SCMP_ACT_NOTIFY"), 4 | 8);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]), "SCMP_ACT_NOTIFY"), 8 | 32);
    assert_eq!(flags(json!(["SECCOMP_FILTER_FLAG_TSYNC"]), "SCMP_ACT_NOTIFY"), 1 | 8 | 16);
}

#[test]
fn se_5_operators_compare_as_named() {
    const BIG: u64 = 0x1_0000_0005;
    #[allow(clippy::type_complexity)]
    let cases: [(&str, u64, u64, &[u64], &[u64]); 9] = [
        ("NE", BIG, 0, &[0, 5, BIG + 1, 0x2_0000_0005], &[BIG]),
        ("LT", BIG, 0, &[0, u32::MAX as u64, BIG - 1], &[BIG, BIG + 1, u64::MAX, 0x2_0000_0000]),
        ("LE", BIG, 0, &[0, BIG - 1, BIG], &[BIG + 1, u64::MAX, 0x2_0000_0000]),
        ("EQ", BIG, 0, &[BIG], &[0, 5, BIG - 1, 0x1_0000_0000, 0x2_0000_0005]),
        ("GE", BIG, 0, &[BIG, BIG + 1, 0x2_0000_0000, u64::MAX], &[0, 5, 0xffff_ffff, BIG - 1]),
        ("GT", BIG, 0, &[BIG + 1, 0x2_0000_0000, u64::MAX], &[0, 0xffff_ffff, BIG]),
        ("MASKED_EQ", 0x7e02_0000, 0, &[0, 0x11, 0xffff_ffff_0000_0000], &[0x2_0000, 0x1000_0000, u64::MAX]),
        // bits of the datum outside the mask do not count
        (
            "MASKED_EQ",
            0xf0_0000_000f,
            0x37_0000_0005,
            &[0x30_0000_0005, 0x3f_ffff_fff5],
            &[5, 0x30_0000_0004, u64::MAX],
        ),
        ("MASKED_EQ", 0, 7, &[0, 7, u64::MAX], &[]),
    ];
    for (op, value, two, yes, no) in cases {
        let rules = json!([{"names": ["personality"], "action": "SCMP_ACT_TRAP", "args": [arg(2, op, value, two)]}]);
        let filter = on(&X86, json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
        for (values, verdict) in [(yes, TRAP), (no, ALLOW)] {
            for &value in values {
                assert_eq!(verdict_for(&filter, X86_64, 135, &[0, 0, value]), verdict, "{op} {value:#x}");
            }
        }
    }
}

#[test]
fn se_5_conditions_on_different_arguments_must_all_hold() {
    let rules =
        json!([{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [arg(0, "EQ", 16, 0), arg(2, "NE", 9, 0)]}]);
    let filter = on(&X86, json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    for (args, verdict) in [([16, 0, 8], ALLOW), ([16, 0, 9], EPERM), ([15, 0, 8], EPERM)] {
        assert_eq!(verdict_for(&filter, X86_64, 41, &args), verdict, "{args:?}");
    }
}

#[test]
fn se_5_the_same_argument_twice_makes_alternatives() {
    let args = json!([arg(0, "EQ", 1, 0), arg(0, "EQ", 2, 0), arg(1, "EQ", 7, 0)]);
    let rules = json!([{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": args}]);
    let filter = on(&X86, json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    for (args, verdict) in [([1, 0], ALLOW), ([2, 0], ALLOW), ([3, 7], ALLOW), ([3, 6], EPERM)] {
        assert_eq!(verdict_for(&filter, X86_64, 41, &args), verdict, "{args:?}");
    }
}

#[test]
fn se_5_a_rule_without_arguments_overrides_and_the_first_of_them_counts() {
    let conditional = json!({"names": ["kill"], "action": "SCMP_ACT_TRAP", "args": [arg(1, "EQ", 9, 0)]});
    let always = |action: &str| json!({"names": ["kill"], "action": action});
    let kill = |rules: Value| {
        let filter = on(&X86, json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
        (verdict_for(&filter, X86_64, 62, &[1, 9]), verdict_for(&filter, X86_64, 62, &[1, 1]))
    };
    assert_eq!(kill(json!([conditional, always("SCMP_ACT_ALLOW")])), (ALLOW, ALLOW));
    assert_eq!(kill(json!([always("SCMP_ACT_ALLOW"), conditional])), (ALLOW, ALLOW));
    assert_eq!(kill(json!([always("SCMP_ACT_LOG"), always("SCMP_ACT_ALLOW")])), (LOG, LOG));
    assert_eq!(kill(json!([conditional, always("SCMP_ACT_ERRNO")])), (TRAP, EPERM), "the default's twin is left out");
}

#[test]
fn se_5_overlapping_rules_are_in_libseccomps_order() {
    let rule = |action: &str, args: Value| json!({"names": ["kill"], "action": action, "args": args});
    let kill = |rules: Value, args: &[u64]| {
        verdict_for(&on(&X86, json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})), X86_64, 62, args)
    };
    let (wide, narrow) =
        (rule("SCMP_ACT_LOG", json!([arg(0, "LE", 9, 0)])), rule("SCMP_ACT_TRAP", json!([arg(0, "LT", 4, 0)])));
    assert_eq!(kill(json!([wide, narrow]), &[3]), TRAP, "the narrower bound first");
    let (first, second) =
        (rule("SCMP_ACT_LOG", json!([arg(0, "EQ", 1, 0)])), rule("SCMP_ACT_TRAP", json!([arg(1, "EQ", 2, 0)])));
    assert_eq!(kill(json!([first, second]), &[1, 2]), TRAP, "the higher argument first");
    let (bound, equal) =
        (rule("SCMP_ACT_LOG", json!([arg(0, "GE", 1, 0)])), rule("SCMP_ACT_TRAP", json!([arg(0, "NE", 2, 0)])));
    assert_eq!(kill(json!([bound, equal]), &[1]), TRAP, "equalities before bounds");
}

#[test]
fn se_5_32_bit_conventions_compare_32_bits() {
    let archs = json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    let rules =
        json!([{"names": ["personality"], "action": "SCMP_ACT_TRAP", "args": [arg(0, "EQ", 0x1_0000_0008, 0)]}]);
    let filter = on(&X86, json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs, "syscalls": rules}));
    for (arch, number, value, verdict) in [
        (X86_64, 135, 8, ALLOW),
        (X86_64, 135, 0x1_0000_0008, TRAP),
        (I386, 136, 8, TRAP),
        (X86_64, X32 + 135, 8, TRAP),
        (X86_64, X32 + 135, 0x7_0000_0008, TRAP),
        (I386, 136, 9, ALLOW),
    ] {
        assert_eq!(verdict_for(&filter, arch, number, &[value]), verdict, "{arch:#x} {number:#x} {value:#x}");
    }
}

#[test]
fn se_5_a_rule_reaches_the_i386_multiplexers() {
    let json = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        {"names": ["socket", "semop"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["accept"], "action": "SCMP_ACT_TRAP", "args": [arg(0, "EQ", 77, 0)]},
    ]});
    let filter = on(&X86, json);
    for (number, first, verdict) in [
        (359, 0, EPERM),
        (102, 1, EPERM),
        (102, 2, ALLOW),
        (102, 5, TRAP),
        (117, 1, EPERM),
        (117, 1 << 16 | 1, EPERM),
        (117, 2, ALLOW),
    ] {
        assert_eq!(verdict_for(&filter, I386, number, &[first]), verdict, "{number} {first:#x}");
    }
    assert_eq!(verdict_for(&filter, X86_64, 41, &[]), EPERM);
    assert_eq!(verdict_for(&filter, X86_64, 102, &[1]), ALLOW, "getuid, on x86_64");
}

#[test]
fn se_6_calls_newer_than_the_profile_get_enosys() {
    let newer = |default: &str| {
        // a rule without effect still shows the newest call of the profile
        let rules = json!([{"names": ["read"], "action": "SCMP_ACT_LOG"}, {"names": ["statx"], "action": default}]);
        let archs = json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        let filter = on(&X86, json!({"defaultAction": default, "architectures": archs, "syscalls": rules}));
        assert_eq!(verdict_for(&filter, X86_64, 331, &[]), verdict_for(&filter, X86_64, 332, &[]), "{default}");
        [(X86_64, 333), (X86_64, 0x3fff_ffff), (I386, 384), (I386, u32::MAX), (X86_64, X32 + 333)]
            .map(|(arch, number)| verdict_for(&filter, arch, number, &[]))
    };
    for refusing in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        assert_eq!(newer(refusing), [ENOSYS; 5], "{refusing}");
    }
    for (permitting, verdict) in [("SCMP_ACT_ALLOW", ALLOW), ("SCMP_ACT_LOG", LOG), ("SCMP_ACT_TRACE", TRACE | 1)] {
        assert_eq!(newer(permitting), [verdict; 5], "{permitting}");
    }
}

#[test]
fn se_6_private_numbers_do_not_count_as_new() {
    let rules = json!([{"names": ["read", "statx", "set_tls"], "action": "SCMP_ACT_ALLOW"}]);
    let filter =
        on(&ARM, json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM"], "syscalls": rules}));
    for (number, verdict) in
        [(3, ALLOW), (4, EPERM), (397, ALLOW), (398, ENOSYS), (0xe_ffff, ENOSYS), (0xf_0004, EPERM), (0xf_0005, ALLOW)]
    {
        assert_eq!(verdict_for(&filter, ARM_EABI, number, &[]), verdict, "{number:#x}");
    }
}

#[test]
fn se_5_docker_profile_is_small_and_decides_as_written() {
    let filter = compile_for(&X86, &docker()).unwrap();
    assert!(filter.program.len() <= 320, "{} instructions", filter.program.len());
    for (arch, number, args, verdict) in [
        (X86_64, 0, [0, 0], ALLOW),
        (X86_64, 165, [0, 0], EPERM),          // mount
        (X86_64, 435, [0, 0], ENOSYS),         // clone3, so that the library falls back on clone
        (X86_64, 56, [0x11, 0], ALLOW),        // fork
        (X86_64, 56, [0x1000_0000, 0], EPERM), // CLONE_NEWUSER
        (X86_64, 41, [40, 0], EPERM),          // AF_VSOCK
        (X86_64, 41, [2, 0], ALLOW),
        (X86_64, 135, [8, 0], ALLOW),
        (X86_64, 135, [9, 0], EPERM),
        (X86_64, 5000, [0, 0], ENOSYS),
        (I386, 21, [0, 0], EPERM),
        (I386, 3, [0, 0], ALLOW),
        (X86_64, X32 + 165, [0, 0], EPERM),
        (X86_64, X32 + 516, [0, 0], ALLOW),
    ] {
        assert_eq!(verdict_for(&filter, arch, number, &args), verdict, "{arch:#x} {number:#x} {args:?}");
    }
}

#[test]
fn se_5_no_call_of_dockers_profile_takes_many_steps() {
    let filter = compile_for(&X86, &docker()).unwrap();
    for (arch, base) in [(X86_64, 0), (I386, 0), (X86_64, X32)] {
        for number in base..base + 600 {
            let (_, steps) = run(&filter.program, &Call { arch, number, args: [9; 6] }).unwrap();
            assert!(steps <= 40, "{arch:#x} {number:#x}: {steps}");
        }
    }
}

#[test]
fn se_5_long_rules_need_no_jump_that_is_too_long() {
    // 300 rules for one call between two parts of the tree
    let rules: Vec<_> = (0..300)
        .map(|value| json!({"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": [arg(0, "EQ", value * 2, 0), arg(1, "GT", 1 << 40, 0)]}))
        .chain([json!({"names": ["read", "statx"], "action": "SCMP_ACT_LOG"})])
        .collect();
    let filter = on(&X86, json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    assert!(filter.program.len() > 2000);
    for value in 0..600 {
        let verdict = if value % 2 == 0 { ALLOW } else { EPERM };
        assert_eq!(verdict_for(&filter, X86_64, 62, &[value, 2 << 40]), verdict, "{value}");
        assert_eq!(verdict_for(&filter, X86_64, 62, &[value, 0]), EPERM, "{value}");
    }
    assert_eq!(verdict_for(&filter, X86_64, 0, &[]), LOG);
    assert_eq!(verdict_for(&filter, X86_64, 333, &[]), ENOSYS);
}

#[test]
fn se_5_a_filter_that_the_kernel_would_refuse_is_an_error() {
    let args = |value: u64| json!([arg(0, "EQ", value << 33, 0), arg(1, "GT", value << 33, 0)]);
    let rules = |count| -> Vec<_> {
        (0..count).map(|value| json!({"names": ["kill"], "action": "SCMP_ACT_ALLOW", "args": args(value)})).collect()
    };
    let profile = |count| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules(count)});
    assert!(on(&X86, profile(400)).program.len() <= 4096);
    let message = refused(profile(600));
    assert!(message.starts_with("linux.seccomp.syscalls: the filter needs "), "{message}");
    assert!(message.ends_with(" instructions, the kernel takes 4096"), "{message}");
    assert_eq!(refused(profile(5000)), "linux.seccomp.syscalls: too many rules for one system call");
}

#[test]
fn se_5_unknown_names_are_listed() {
    let rules = json!([{"names": ["read", "no_such_call", "recv"], "action": "SCMP_ACT_ERRNO"}]);
    let profile = profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    assert_eq!(super::unknown_names(&profile), ["no_such_call"]);
    assert!(compile_for(&X86, &profile).is_ok());
}

#[test]
fn se_5_tables_are_sorted_and_numbers_unique() {
    for family in [&X86, &ARM, &RISCV] {
        assert!(family.rows.is_sorted_by(|one, other| one.name() < other.name()));
        for (place, abi) in family.abis.iter().enumerate() {
            let numbers =
                family.rows.iter().map(|row| row.numbers[place]).filter(|&number| number != super::tables::NONE);
            assert!(numbers.clone().count() > 300, "{}", abi.arch);
            assert!(numbers.clone().all(|number| number >= abi.first), "{}", abi.arch);
        }
    }
}

#[test]
fn an_4_a_compiled_program_is_unchanged() {
    let filter = from_bytes(&[0x06, 0, 0, 0, 0, 0, 0xff, 0x7f]).unwrap();
    assert_eq!(verdict_for(&filter, X86_64, 1, &[]), ALLOW);
    for bad in [0, 7, 12, 8 * 4097] {
        assert!(from_bytes(&vec![0; bad]).is_err(), "{bad} bytes");
    }
}

/// Runs `test` in a new thread, because a filter is for its own thread only.
fn in_a_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        nix::sys::prctl::set_no_new_privs().unwrap();
        test()
    });
    thread.join().unwrap()
}

#[test]
fn se_5_the_kernel_enforces_the_filter() {
    let rules = json!([{"names": ["getcwd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]);
    let filter = super::compile(&profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))).unwrap();
    let (installed, error) = in_a_thread(move || {
        let installed = linux::seccomp::install(&filter.program, filter.flags);
        (installed.map(|listener| listener.is_none()), std::env::current_dir().unwrap_err())
    });
    assert!(installed.unwrap(), "no listener");
    assert_eq!(error.raw_os_error(), Some(99));
    assert!(std::env::current_dir().is_ok(), "only that thread is filtered");
}

#[test]
fn se_6_the_kernel_accepts_dockers_profile_and_decides_as_the_interpreter() {
    let filter = super::compile(&docker()).unwrap();
    let answers = in_a_thread(move || {
        linux::seccomp::install(&filter.program, filter.flags).unwrap();
        let persona = |bits| nix::sys::personality::set(nix::sys::personality::Persona::from_bits_retain(bits));
        (persona(0x0004_0000), persona(0x0002_0000), nix::unistd::sethostname("x"))
    });
    let (random, uname26, hostname) = answers;
    assert_eq!(random, Err(nix::Error::EPERM), "ADDR_NO_RANDOMIZE is not one of the five values");
    assert!(uname26.is_ok(), "UNAME26 is");
    assert_eq!(hostname, Err(nix::Error::EPERM));
}

#[test]
fn se_7_a_rule_with_notify_returns_a_listener() {
    let rules = json!([{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]);
    let flags = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]);
    let json = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags, "syscalls": rules});
    let filter = super::compile(&profile(json)).unwrap();
    assert!(in_a_thread(move || linux::seccomp::install(&filter.program, filter.flags).unwrap().is_some()));
}

#[test]
fn se_4_the_available_flags_of_the_kernel() {
    use linux::seccomp::flags_available;
    assert!(flags_available(libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW));
    assert!(!flags_available(1 << 31));
    assert!(!flags_available(libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV), "only with a listener");
}
