//! The device list against a reading of the rules one by one, and the program in an interpreter of its few instructions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::program::{ALU32, ALU32_REG, AND, EXIT, JEQ, JNE, JSET, LOAD, MOV, RSH};
use super::*;
use linux::bpf::Insn;

/// Runs the program as the kernel would.
fn run(program: &[Insn], kind: u32, major: u32, minor: u32, access: u8) -> bool {
    let context = [kind | u32::from(access) << 16, major, minor];
    let mut regs = [0_u32; 6];
    let mut at = 0;
    loop {
        let insn = program[at];
        let (dst, src) = ((insn.regs & 15) as usize, (insn.regs >> 4) as usize);
        at += 1;
        match insn.code {
            LOAD => regs[dst] = context[insn.off as usize / 4],
            code if code == ALU32_REG | MOV => regs[dst] = regs[src],
            code if code == ALU32 | MOV => regs[dst] = insn.imm as u32,
            code if code == ALU32 | AND => regs[dst] &= insn.imm as u32,
            code if code == ALU32 | RSH => regs[dst] >>= insn.imm,
            JEQ if regs[dst] == insn.imm as u32 => at += insn.off as usize,
            JNE if regs[dst] != insn.imm as u32 => at += insn.off as usize,
            JSET if regs[dst] & insn.imm as u32 != 0 => at += insn.off as usize,
            JEQ | JNE | JSET => {}
            EXIT => return regs[0] == 1,
            code => panic!("instruction {code:#x}"),
        }
    }
}

/// The kernel's verifier refuses a program with unreachable instructions.
fn assert_every_step_is_reachable(program: &[Insn]) {
    let mut reached = vec![false; program.len()];
    let mut open = vec![0];
    while let Some(at) = open.pop() {
        if !std::mem::replace(&mut reached[at], true) && program[at].code != EXIT {
            open.push(at + 1);
            if matches!(program[at].code, JEQ | JNE | JSET) {
                open.push(at + 1 + program[at].off as usize);
            }
        }
    }
    assert!(reached.iter().all(|step| *step), "{program:?}");
}

/// The expected result: the last rule that names a bit decides it.
fn reference(list: &DeviceList, kind: DeviceType, major: u32, minor: u32, access: u8) -> bool {
    [READ, WRITE, MKNOD].iter().filter(|bit| access & **bit != 0).all(|bit| {
        let matching = list.rules.iter().rev().find(|rule| {
            rule.access & bit != 0
                && (rule.kind == DeviceType::All || rule.kind == kind)
                && rule.major.is_none_or(|n| n == major)
                && rule.minor.is_none_or(|n| n == minor)
        });
        matching.map_or(list.base_allow, |rule| rule.allow)
    })
}

fn config(json: &str) -> Vec<LinuxDeviceCgroup> {
    serde_json::from_str(json).unwrap()
}

const DENY_ALL: &str = r#"{"allow":false,"access":"rwm"}"#;

#[test]
fn dv_6_program_agrees_with_the_rules_for_every_request() {
    let lists = [
        format!("[{DENY_ALL}]"),
        "[]".to_owned(),
        r#"[{"allow":true,"access":"rwm"}]"#.to_owned(),
        format!(r#"[{DENY_ALL},{{"allow":true,"type":"c"}},{{"allow":true,"type":"b"}},{{"allow":false,"major":8,"access":"w"}}]"#),
        format!(r#"[{DENY_ALL},{{"allow":true,"major":8}},{{"allow":false,"type":"b"}},{{"allow":false,"type":"c"}}]"#),
        r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"access":"w"},
            {"allow":true,"type":"c","major":1,"minor":11,"access":"r"},{"allow":false,"type":"b","minor":3,"access":"m"}]"#
            .to_owned(),
        format!(
            r#"[{DENY_ALL},{{"allow":true,"type":"b","major":8,"access":"r"}},{{"allow":true,"type":"b","major":8,"minor":1,"access":"w"}},
               {{"allow":true,"major":10,"minor":229,"access":"rw"}},{{"allow":false,"type":"c","major":5,"minor":4294967295,"access":"rm"}}]"#
        ),
    ];
    for json in lists {
        let list = DeviceList::new(&config(&json)).unwrap();
        let program = list.program().unwrap();
        assert_every_step_is_reachable(&program);
        for (kind, number) in [(DeviceType::Block, 1), (DeviceType::Char, 2)] {
            for major in [0, 1, 5, 8, 10, 136, u32::MAX] {
                for minor in [0, 1, 2, 3, 5, 11, 200, 229, u32::MAX] {
                    for access in 1..8 {
                        assert_eq!(
                            run(&program, number, major, minor, access),
                            reference(&list, kind, major, minor, access),
                            "{json}: {kind:?} {major}:{minor} {access}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn dv_6_defaults_open_null_and_tun_but_no_disk() {
    let program = DeviceList::new(&config(&format!("[{DENY_ALL}]"))).unwrap().program().unwrap();
    for (kind, major, minor, access, expected) in [
        (2, 1, 3, READ | WRITE, true),
        (2, 10, 200, READ | WRITE, true),
        (2, 136, 17, READ | WRITE, true),
        (2, 5, 1, READ, true),
        (1, 8, 0, READ, false),
        (1, 8, 0, MKNOD, true),
        (1, 8, 0, MKNOD | READ, false),
        (2, 1, 1, READ, false),
    ] {
        assert_eq!(run(&program, kind, major, minor, access), expected, "{kind} {major}:{minor} {access}");
    }
}

#[test]
fn dv_6_an_a_among_the_letters_denies_all_and_allows_nothing_more() {
    let json = format!(
        r#"[{DENY_ALL},{{"allow":true,"type":"c","major":10,"minor":229,"access":"ra"}},
            {{"allow":true,"type":"c","major":7,"access":"rwm"}},{{"allow":false,"type":"c","major":7,"minor":3,"access":"ra"}}]"#
    );
    let program = DeviceList::new(&config(&json)).unwrap().program().unwrap();
    assert!(run(&program, 2, 10, 229, READ) && !run(&program, 2, 10, 229, WRITE));
    assert!(run(&program, 2, 7, 4, WRITE) && !run(&program, 2, 7, 3, WRITE) && !run(&program, 2, 7, 3, READ));
}

#[test]
fn dv_6_a_rule_for_tun_replaces_the_default() {
    let json = format!(r#"[{DENY_ALL},{{"allow":true,"type":"c","major":10,"minor":200,"access":"r"}}]"#);
    let program = DeviceList::new(&config(&json)).unwrap().program().unwrap();
    assert!(run(&program, 2, 10, 200, READ));
    assert!(!run(&program, 2, 10, 200, WRITE));
}

#[test]
fn dv_6_rules_of_the_configuration_come_first_in_their_order() {
    let json = format!(
        r#"[{DENY_ALL},{{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"}},
            {{"allow":true,"type":"b","major":8,"minor":20,"access":"rw"}},{{"allow":true,"type":"u","major":10,"access":"r"}}]"#
    );
    let list = DeviceList::new(&config(&json)).unwrap();
    let lines: Vec<String> = list.rules.iter().map(ToString::to_string).collect();
    assert_eq!(lines[..5], ["c 10:229 rwm", "b 8:20 rw", "c 10:* r", "c *:* m", "b *:* m"]);
    assert_eq!(lines.len(), 3 + 12);
}

#[test]
fn dv_6_only_a_list_that_forbids_nothing_needs_no_program() {
    for (json, expected) in [
        (r#"[{"allow":true,"access":"rwm"}]"#.to_owned(), true),
        (r#"[{"allow":true,"type":"a"}]"#.to_owned(), true),
        (format!(r#"[{DENY_ALL},{{"allow":true,"type":"a","access":"rwm"}}]"#), true),
        (r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"c","major":1,"access":"w"}]"#.to_owned(), false),
        (r#"[{"allow":true,"access":"rw"}]"#.to_owned(), false),
        (format!("[{DENY_ALL}]"), false),
        ("[]".to_owned(), false),
    ] {
        assert_eq!(DeviceList::new(&config(&json)).unwrap().allows_everything(), expected, "{json}");
    }
}

#[test]
fn dv_6_a_bad_rule_is_named() {
    for (json, text) in [
        (r#"{"allow":true,"access":"rx"}"#, "access \"rx\""),
        (r#"{"allow":true,"type":"p","access":"r"}"#, "fifo"),
        (r#"{"allow":true,"type":"c","major":4294967296,"access":"r"}"#, "major 4294967296"),
    ] {
        let err = DeviceList::new(&config(&format!("[{DENY_ALL},{json}]"))).unwrap_err();
        let text_of = base::error::describe(&err);
        assert!(text_of.starts_with("linux.resources.devices[1]: ") && text_of.contains(text), "{text_of}");
    }
}

#[test]
fn dv_6_the_usual_program_is_short() {
    // the kernel takes 139 µs to load 67 steps and 74 µs for 20
    assert_eq!(DeviceList::new(&config(&format!("[{DENY_ALL}]"))).unwrap().program().unwrap().len(), 26);
}

#[test]
fn dv_6_more_rules_than_a_jump_can_pass_are_an_error() {
    let rule = |n: u32| format!(r#"{{"allow":true,"type":"c","major":{},"minor":{n},"access":"rw"}}"#, n % 2);
    let rules: Vec<String> = (0..20_000).map(rule).collect();
    let list = DeviceList::new(&config(&format!("[{}]", rules.join(",")))).unwrap();
    assert!(list.program().unwrap_err().to_string().contains("too many rules"));
}

#[test]
fn dv_6_v1_takes_back_by_exact_numbers_and_refuses_a_hole() {
    let rule =
        |allow, major, minor, access| Rule { allow, kind: DeviceType::Char, major, minor, access, default: false };
    let lines = |base_allow, rules: &[Rule]| {
        let list = DeviceList { base_allow, rules: rules.to_vec() };
        list.v1_rules().map(|rules| rules.iter().map(|r| format!("{} {r}", r.allow)).collect::<Vec<_>>())
    };
    let (one, all) = ((Some(240), Some(7)), (Some(240), None));
    for (rules, wanted) in [
        (vec![rule(true, one.0, one.1, ALL)], Some(vec!["true c 240:7 rwm"])),
        // nothing to remove, nothing to write
        (vec![rule(false, one.0, one.1, ALL), rule(true, one.0, one.1, READ)], Some(vec!["true c 240:7 r"])),
        (
            vec![rule(true, one.0, one.1, ALL), rule(false, one.0, one.1, WRITE)],
            Some(vec!["true c 240:7 rwm", "false c 240:7 w"]),
        ),
        // the wider rule removes each narrower one by the numbers of the narrower one
        (
            vec![rule(true, one.0, one.1, READ), rule(false, all.0, all.1, ALL)],
            Some(vec!["true c 240:7 r", "false c 240:7 r"]),
        ),
        (vec![rule(true, all.0, all.1, ALL), rule(false, one.0, one.1, ALL)], None),
        (vec![rule(true, all.0, all.1, READ), rule(false, one.0, one.1, WRITE)], Some(vec!["true c 240:* r"])),
    ] {
        let seen = lines(false, &rules).ok();
        assert_eq!(
            seen.as_deref(),
            wanted.map(|w| w.into_iter().map(str::to_owned).collect::<Vec<_>>()).as_deref(),
            "{rules:?}"
        );
    }
    // the other way round: exceptions are what is denied
    assert!(lines(true, &[rule(false, all.0, all.1, ALL), rule(true, one.0, one.1, ALL)]).is_err());
    let own = Rule { default: true, ..rule(true, one.0, one.1, ALL) };
    assert_eq!(lines(true, &[rule(false, all.0, all.1, ALL), own]).unwrap(), ["false c 240:* rwm"]);
}
