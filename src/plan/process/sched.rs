//! Scheduling: policy, I/O priority, CPU affinity, NUMA policy.

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxSchedulerFlag as Flag,
    LinuxSchedulerPolicy as Policy, MemoryPolicyFlagType as NodeFlag, MemoryPolicyModeType as Mode, Scheduler as Spec,
};

use base::cpu_set::CpuSet;
pub(crate) use linux::sched::Attributes as Scheduler;

pub(super) fn scheduler(spec: &Spec) -> Result<Scheduler> {
    let policy = *spec.policy();
    let nice = spec.nice().unwrap_or(0);
    let priority = spec.priority().unwrap_or(0);
    let times = [*spec.runtime(), *spec.deadline(), *spec.period()].map(|time| time.unwrap_or(0));
    if matches!(policy, Policy::SchedOther | Policy::SchedBatch) {
        ensure!((-20..=19).contains(&nice), "process.scheduler.nice: {nice} is not in -20...19");
    }
    if !matches!(policy, Policy::SchedFifo | Policy::SchedRr) {
        ensure!(priority == 0, "process.scheduler.priority: only for SCHED_FIFO and SCHED_RR");
    }
    if !matches!(policy, Policy::SchedDeadline) {
        ensure!(times == [0; 3], "process.scheduler: runtime, deadline and period are only for SCHED_DEADLINE");
    }
    let [runtime, deadline, period] = times;
    let flags = spec.flags().as_deref().unwrap_or_default();
    Ok(Scheduler {
        policy: policy_number(policy),
        flags: flags.iter().fold(0, |bits, flag| bits | flag_bit(*flag)),
        nice,
        priority: u32::try_from(priority).ok().context("process.scheduler.priority: must not be negative")?,
        runtime,
        deadline,
        period,
    })
}

fn policy_number(policy: Policy) -> u32 {
    match policy {
        Policy::SchedOther => 0,
        Policy::SchedFifo => 1,
        Policy::SchedRr => 2,
        Policy::SchedBatch => 3,
        // reserved, and refused, by every kernel so far
        Policy::SchedIso => 4,
        Policy::SchedIdle => 5,
        Policy::SchedDeadline => 6,
    }
}

fn flag_bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

pub(super) fn io_priority(spec: &LinuxIOPriority) -> Result<i32> {
    let level = spec.priority();
    let level = i32::try_from(level).ok().filter(|level| (0..=7).contains(level));
    let level = level.with_context(|| format!("process.ioPriority.priority: {} is not in 0...7", spec.priority()))?;
    let class = match spec.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    Ok(class << 13 | level)
}

/// CPU affinity of an exec'd process. `None` in both: the runtime's own affinity is removed (PR-18).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// CPUs before the process is in the container's cgroup (`initial`).
    pub initial: Option<CpuSet>,
    /// CPUs afterwards (`final`).
    pub last: Option<CpuSet>,
}

pub(super) fn affinity(spec: Option<&ExecCPUAffinity>, is_exec: bool) -> Result<Affinity> {
    let Some(spec) = spec else { return Ok(Affinity::default()) };
    let read = |text: Option<&String>, name| -> Result<Option<CpuSet>> {
        let set = CpuSet::parse(text.map_or("", String::as_str)).context(name)?;
        Ok((!set.is_empty()).then_some(set))
    };
    let affinity = Affinity {
        initial: read(spec.initial().as_ref(), "process.execCPUAffinity.initial")?,
        last: read(spec.cpu_affinity_final().as_ref(), "process.execCPUAffinity.final")?,
    };
    // not for the container's init (PR-18), but the value must be valid there too
    Ok(if is_exec { affinity } else { Affinity::default() })
}

/// The arguments of set_mempolicy(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPolicy {
    /// `MPOL_*` with `MPOL_F_*` flags.
    pub mode: i32,
    /// The nodes of the policy.
    pub nodes: CpuSet,
}

pub(super) fn memory_policy(spec: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    let nodes = CpuSet::parse(spec.nodes().as_deref().unwrap_or_default()).context("linux.memoryPolicy.nodes")?;
    let mode = spec.mode();
    match mode {
        Mode::MpolDefault | Mode::MpolLocal => {
            ensure!(nodes.is_empty(), "linux.memoryPolicy.nodes: {mode} takes none");
        }
        Mode::MpolBind | Mode::MpolInterleave | Mode::MpolWeightedInterleave | Mode::MpolPreferredMany => {
            ensure!(!nodes.is_empty(), "linux.memoryPolicy.nodes: {mode} needs at least one");
        }
        Mode::MpolPreferred => {}
    }
    let mut bits = 0;
    for flag in spec.flags().as_deref().unwrap_or_default() {
        bits |= match flag {
            NodeFlag::MpolFNumaBalancing => libc::MPOL_F_NUMA_BALANCING,
            NodeFlag::MpolFRelativeNodes => libc::MPOL_F_RELATIVE_NODES,
            NodeFlag::MpolFStaticNodes => libc::MPOL_F_STATIC_NODES,
        };
    }
    let both = libc::MPOL_F_RELATIVE_NODES | libc::MPOL_F_STATIC_NODES;
    if bits & both == both {
        bail!("linux.memoryPolicy.flags: MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other");
    }
    Ok(MemoryPolicy { mode: mode_number(mode) | bits, nodes })
}

fn mode_number(mode: Mode) -> i32 {
    match mode {
        Mode::MpolDefault => libc::MPOL_DEFAULT,
        Mode::MpolPreferred => libc::MPOL_PREFERRED,
        Mode::MpolBind => libc::MPOL_BIND,
        Mode::MpolInterleave => libc::MPOL_INTERLEAVE,
        Mode::MpolLocal => libc::MPOL_LOCAL,
        Mode::MpolPreferredMany => 5,
        Mode::MpolWeightedInterleave => 6,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Scheduler> {
        scheduler(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn pr_16_policies_and_their_parameters() {
        let base = Scheduler::default();
        for (value, want) in [
            (json!({"policy":"SCHED_OTHER","nice":-20}), Scheduler { nice: -20, ..base }),
            (json!({"policy":"SCHED_BATCH","nice":19}), Scheduler { policy: 3, nice: 19, ..base }),
            (json!({"policy":"SCHED_FIFO","priority":99}), Scheduler { policy: 1, priority: 99, ..base }),
            (json!({"policy":"SCHED_RR","priority":1}), Scheduler { policy: 2, priority: 1, ..base }),
            (json!({"policy":"SCHED_IDLE"}), Scheduler { policy: 5, ..base }),
            (
                json!({"policy":"SCHED_DEADLINE","runtime":1,"deadline":2,"period":3,
                       "flags":["SCHED_FLAG_RECLAIM","SCHED_FLAG_KEEP_PARAMS"]}),
                Scheduler { policy: 6, flags: 0x12, runtime: 1, deadline: 2, period: 3, ..base },
            ),
        ] {
            assert_eq!(read(value.clone()).unwrap(), want, "{value}");
        }
    }

    #[test]
    fn pr_16_parameters_of_another_policy_are_refused() {
        for (value, field) in [
            (json!({"policy":"SCHED_OTHER","nice":20}), "process.scheduler.nice"),
            (json!({"policy":"SCHED_BATCH","nice":-21}), "process.scheduler.nice"),
            (json!({"policy":"SCHED_OTHER","priority":1}), "process.scheduler.priority"),
            (json!({"policy":"SCHED_IDLE","priority":1}), "process.scheduler.priority"),
            (json!({"policy":"SCHED_FIFO","priority":-1}), "process.scheduler.priority"),
            (json!({"policy":"SCHED_RR","runtime":1}), "process.scheduler:"),
            (json!({"policy":"SCHED_OTHER","period":1}), "process.scheduler:"),
        ] {
            let err = read(value.clone()).unwrap_err().to_string();
            assert!(err.starts_with(field), "{value}: {err}");
        }
    }

    #[test]
    fn pr_17_io_priority() {
        let read = |class: &str, priority: i64| {
            io_priority(&serde_json::from_value(json!({"class": class, "priority": priority})).unwrap())
        };
        for (class, level, want) in
            [("IOPRIO_CLASS_RT", 0, 8192), ("IOPRIO_CLASS_BE", 7, 16391), ("IOPRIO_CLASS_IDLE", 0, 24576)]
        {
            assert_eq!(read(class, level).unwrap(), want, "{class} {level}");
        }
        for level in [-1, 8, i64::MAX, 1 << 32] {
            assert!(read("IOPRIO_CLASS_BE", level).is_err(), "{level}");
        }
    }

    #[test]
    fn mp_1_modes_nodes_and_flags() {
        let read = |value: Value| memory_policy(&serde_json::from_value(value).unwrap());
        for (value, mode, words) in [
            (json!({"mode":"MPOL_DEFAULT"}), 0, vec![]),
            (json!({"mode":"MPOL_LOCAL","nodes":""}), 4, vec![]),
            (json!({"mode":"MPOL_PREFERRED"}), 1, vec![]),
            (json!({"mode":"MPOL_BIND","nodes":"0-1","flags":["MPOL_F_STATIC_NODES"]}), 2 | 1 << 15, vec![3]),
            (json!({"mode":"MPOL_PREFERRED_MANY","nodes":"2"}), 5, vec![4]),
            (json!({"mode":"MPOL_WEIGHTED_INTERLEAVE","nodes":"0"}), 6, vec![1]),
            (json!({"mode":"MPOL_INTERLEAVE","nodes":"64"}), 3, vec![0, 1]),
        ] {
            let policy = read(value.clone()).unwrap();
            assert_eq!((policy.mode, policy.nodes.words()), (mode, words.as_slice()), "{value}");
        }
        for value in [
            json!({"mode":"MPOL_DEFAULT","nodes":"0"}),
            json!({"mode":"MPOL_LOCAL","nodes":"0"}),
            json!({"mode":"MPOL_BIND"}),
            json!({"mode":"MPOL_INTERLEAVE","nodes":""}),
            json!({"mode":"MPOL_BIND","nodes":"x"}),
            json!({"mode":"MPOL_BIND","nodes":"0","flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]}),
        ] {
            assert!(read(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn pr_18_affinity_is_for_exec_only() {
        let spec: ExecCPUAffinity = serde_json::from_value(json!({"initial":"0-1","final":"1"})).unwrap();
        let affinity_of_exec = affinity(Some(&spec), true).unwrap();
        assert_eq!(affinity_of_exec.initial.unwrap().words(), [3]);
        assert_eq!(affinity_of_exec.last.unwrap().words(), [2]);
        assert_eq!(affinity(Some(&spec), false).unwrap(), Affinity::default());
    }
}
