//! The device access list of a container (DV-6): the rules in order, and the v2 program that enforces them. Pure.
//!
//! Attaching is `sys::bpf`; the v1 files are written in `cgroup::create`.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::sys::bpf::Insn;

/// Access bits, as the kernel has them in the context of a device program.
const MKNOD: u8 = 1;
const READ: u8 = 2;
const WRITE: u8 = 4;
const ALL: u8 = MKNOD | READ | WRITE;

/// The type of a device; `All` stands for both, and then for every number too, as in v1's `a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every device.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// One line of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Grants, or takes away.
    pub allow: bool,
    /// Which type.
    pub kind: Kind,
    /// `None`: any.
    pub major: Option<u32>,
    /// `None`: any.
    pub minor: Option<u32>,
    access: u8,
    /// Added by the runtime, not asked for by the configuration.
    pub default: bool,
}

/// The whole list. A container starts with no access (as with runc: a configuration without rules opens nothing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceList {
    /// What holds for a device that no rule names.
    pub base_allow: bool,
    /// Later rules override earlier ones.
    pub rules: Vec<Rule>,
}

impl fmt::Display for Rule {
    /// The form that `devices.allow` and `devices.deny` take.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            Kind::All => return f.write_str("a"),
            Kind::Block => 'b',
            Kind::Char => 'c',
        };
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            if self.access & bit != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl DeviceList {
    /// The rules of the configuration in their order, then the runtime's own.
    pub fn new(config: &[LinuxDeviceCgroup]) -> Result<DeviceList> {
        let mut list = DeviceList { base_allow: false, rules: Vec::with_capacity(config.len() + 12) };
        for (index, rule) in config.iter().enumerate() {
            let rule = parse(rule).with_context(|| format!("linux.resources.devices[{index}]"))?;
            for rule in rule.into_iter().flatten() {
                if rule.kind == Kind::All {
                    // whatever came before is overruled
                    list = DeviceList { base_allow: rule.allow, rules: list.rules };
                    list.rules.clear();
                } else {
                    list.rules.push(rule);
                }
            }
        }
        // what is allowed anyway needs no default rule, unless a rule of the configuration may have taken it away
        if !list.base_allow || list.rules.iter().any(|rule| !rule.allow) {
            list.rules.extend(defaults());
        }
        Ok(list)
    }

    /// Nothing is forbidden, so there is nothing to enforce.
    pub fn allows_everything(&self) -> bool {
        self.base_allow && self.rules.iter().all(|rule| rule.allow)
    }

    /// The v2 program.
    ///
    /// Every requested bit is decided by the last rule that names it, as v1 would: an open for reading and writing is
    /// allowed by a rule for `r` and another for `w` together. So the program walks from the last rule to the first,
    /// strikes off the bits that are granted, and refuses at the first rule that takes one of the remaining away.
    pub fn program(&self) -> Vec<Insn> {
        let mut program = vec![
            load(TYPE, 0),
            alu_reg(MOV, WANTED, TYPE),
            alu_imm(AND, TYPE, 0xffff),
            alu_imm(RSH, WANTED, 16),
            load(MAJOR, 4),
            load(MINOR, 8),
        ];
        for rule in self.rules.iter().rev() {
            append_rule(&mut program, rule);
        }
        program.extend(answer(self.base_allow));
        program
    }
}

/// A rule of the configuration; type `a` that does not cover everything becomes one rule for each type.
fn parse(rule: &LinuxDeviceCgroup) -> Result<[Option<Rule>; 2]> {
    let access = rule.access().as_deref().unwrap_or_default();
    let mut bits = 0;
    for letter in access.chars() {
        bits |= match letter {
            'r' => READ,
            'w' => WRITE,
            'm' => MKNOD,
            _ => anyhow::bail!("access {access:?}: only the letters r, w and m are known"),
        };
    }
    if access.is_empty() {
        bits = ALL; // unset: everything, as the v1 kernel interface takes it
    }
    let number = |name: &str, value: Option<i64>| match value {
        None | Some(-1) => Ok(None), // -1 is written by callers that follow runc's "any"
        Some(n) => u32::try_from(n).map(Some).map_err(|_| anyhow::anyhow!("{name} {n} is out of range")),
    };
    let (major, minor) = (number("major", rule.major())?, number("minor", rule.minor())?);
    let of = |kind| Rule { allow: rule.allow(), kind, major, minor, access: bits, default: false };
    Ok(match rule.typ().unwrap_or_default() {
        LinuxDeviceType::A if major.is_none() && minor.is_none() && bits == ALL => [Some(of(Kind::All)), None],
        LinuxDeviceType::A => [Some(of(Kind::Char)), Some(of(Kind::Block))],
        LinuxDeviceType::B => [Some(of(Kind::Block)), None],
        LinuxDeviceType::C | LinuxDeviceType::U => [Some(of(Kind::Char)), None],
        LinuxDeviceType::P => {
            ensure!(false, "type \"p\": a fifo is not under device control");
            [None, None]
        }
    })
}

/// What every container may do: make any node (not use it), and use the devices of a terminal session (DV-4, DV-6).
fn defaults() -> impl Iterator<Item = Rule> {
    let any = [(Kind::Char, None, None, MKNOD), (Kind::Block, None, None, MKNOD)];
    let used = [
        (1, Some(3)),   // null
        (1, Some(5)),   // zero
        (1, Some(7)),   // full
        (1, Some(8)),   // random
        (1, Some(9)),   // urandom
        (5, Some(0)),   // tty
        (5, Some(1)),   // console
        (5, Some(2)),   // ptmx
        (136, None),    // pts
        (10, Some(200)), // net/tun
    ];
    let used = used.into_iter().map(|(major, minor)| (Kind::Char, Some(major), minor, ALL));
    any.into_iter().chain(used).map(|(kind, major, minor, access)| Rule {
        allow: true,
        kind,
        major,
        minor,
        access,
        default: true,
    })
}

// Registers. The context comes in r1 and is not needed after the loads; r0 is the answer.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const SCRATCH: u8 = 1;
const TYPE: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Operation codes: class | source | operation, from linux/bpf.h and linux/bpf_common.h.
const LDX_MEM_W: u8 = 0x61;
const ALU32: u8 = 0x04;
const ALU32_REG: u8 = 0x0c;
const MOV: u8 = 0xb0;
const AND: u8 = 0x50;
const RSH: u8 = 0x70;
const JEQ_IMM: u8 = 0x16; // on 32 bits, like the fields of the context: majors and minors are unsigned 32-bit numbers
const JNE_IMM: u8 = 0x56;
const EXIT: u8 = 0x95;

const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    Insn { code, regs: dst | src << 4, off, imm }
}

const fn load(dst: u8, offset: i16) -> Insn {
    insn(LDX_MEM_W, dst, CONTEXT, offset, 0)
}

const fn alu_imm(operation: u8, dst: u8, imm: i32) -> Insn {
    insn(ALU32 | operation, dst, 0, 0, imm)
}

const fn alu_reg(operation: u8, dst: u8, src: u8) -> Insn {
    insn(ALU32_REG | operation, dst, src, 0, 0)
}

fn answer(allow: bool) -> [Insn; 2] {
    [alu_imm(MOV, ANSWER, i32::from(allow)), insn(EXIT, 0, 0, 0, 0)]
}

/// If the rule matches: refuse, grant, or strike off what it grants; else go on behind it.
fn append_rule(program: &mut Vec<Insn>, rule: &Rule) {
    let mut tests = Vec::with_capacity(3);
    match rule.kind {
        Kind::All => {}
        Kind::Block => tests.push((TYPE, 1)),
        Kind::Char => tests.push((TYPE, 2)),
    }
    tests.extend(rule.major.map(|major| (MAJOR, major as i32)));
    tests.extend(rule.minor.map(|minor| (MINOR, minor as i32)));
    let access = i32::from(rule.access);
    let mut body = Vec::with_capacity(5);
    if rule.access != ALL && rule.allow {
        body.push(alu_imm(AND, WANTED, !access & 7));
        body.push(insn(JNE_IMM, WANTED, 0, 2, 0)); // bits remain: the next rule decides
    } else if rule.access != ALL {
        body.push(alu_reg(MOV, SCRATCH, WANTED));
        body.push(alu_imm(AND, SCRATCH, access));
        body.push(insn(JEQ_IMM, SCRATCH, 0, 2, 0)); // none of the bits is meant
    }
    body.extend(answer(rule.allow));
    let count = tests.len();
    for (index, (register, value)) in tests.into_iter().enumerate() {
        let distance = count - index - 1 + body.len();
        program.push(insn(JNE_IMM, register, 0, distance as i16, value));
    }
    program.extend(body);
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
