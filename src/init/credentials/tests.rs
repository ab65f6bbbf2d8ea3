//! The kernel's view of the process after each step; in a forked child, because the steps cannot be reverted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::plan::process::Capabilities;
use crate::plan::process::ProcessContext;
use crate::plan::process::plan;
use crate::verify::Moment;
use crate::verify::credentials::CheckContext;
use crate::verify::credentials::Status;
use crate::verify::credentials::check;
use crate::verify::ensure_ok;
use base::error::describe;
use libc::{RLIMIT_CORE, RLIMIT_MEMLOCK, RLIMIT_NOFILE, RLIMIT_RTPRIO};
use linux::testing::forked;
use linux::testing::root_or_skip;
use std::os::fd::AsFd as _;

fn planned(uid: u32, change: impl FnOnce(&mut ProcessPlan)) -> ProcessPlan {
    let process = serde_json::json!({"user": {"uid": uid, "gid": uid}, "cwd": "/", "args": ["sh"]});
    let mut plan = plan(&serde_json::from_value(process).unwrap(), None, &ProcessContext::default()).unwrap();
    change(&mut plan);
    plan
}

fn status_text() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap()
}

fn field(name: &str) -> String {
    let status = status_text();
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
}

fn become_program(plan: &ProcessPlan) {
    bounding(plan).unwrap();
    ids(plan).unwrap();
    capabilities(plan).unwrap();
}

#[test]
fn pr_12_ids_and_capabilities_are_exactly_those_of_the_plan() {
    if !root_or_skip() {
        return;
    }
    // CHOWN, DAC_OVERRIDE, KILL, NET_BIND_SERVICE
    let (few, all) = (1 | 1 << 1 | 1 << 5 | 1 << 10, cred::capget().unwrap().permitted);
    let five =
        |caps| Capabilities { bounding: caps, effective: caps, inheritable: caps, permitted: caps, ambient: caps };
    let cases = [
        (0, five(0)),
        (1000, five(0)),
        (0, five(few)),
        (1000, five(few)),
        (1000, five(all)),
        (0, five(all)),
        (1000, Capabilities { bounding: few, ..five(0) }),
        (1000, Capabilities { inheritable: 0, ambient: 0, ..five(few) }),
        (1000, Capabilities { effective: 1, ambient: 0, ..five(few) }),
        (4_294_967_294, Capabilities { ambient: 1, ..five(few) }),
    ];
    for (uid, caps) in cases {
        let context = CheckContext {
            moment: Moment::BeforeProgram,
            maps: None,
            groups_kept: false,
            foreign_filters: 0,
            filter: false,
        };
        for filtered in [false, true] {
            forked(|| {
                // groups and capabilities of a caller that has not dropped them
                cred::setgroups(&[4242]).unwrap();
                let sets = cred::CapabilitySets { inheritable: all, ..cred::capget().unwrap() };
                cred::capset(&sets).unwrap();
                cred::raise_ambient(0).unwrap();
                cred::raise_ambient(21).unwrap();
                linux::process::set_parent_death_signal(libc::SIGKILL).unwrap();
                let plan = planned(uid, |plan| {
                    plan.caps = caps;
                    plan.groups = Some(vec![7, 5]);
                    plan.filtered = filtered;
                    plan.no_new_privs = true;
                });
                become_program(&plan);
                no_new_privs().unwrap();
                ensure_ok(&check(&plan, &Status::parse(&status_text()).unwrap(), &context)).unwrap();
                assert_eq!(cred::parent_death_signal().unwrap(), libc::SIGKILL);
            });
        }
    }
}

#[test]
fn pr_12_a_bounding_set_that_is_empty_already_needs_no_privilege() {
    if !root_or_skip() {
        return;
    }
    forked(|| {
        bounding(&planned(0, |_| {})).unwrap();
        cred::capset(&cred::CapabilitySets::default()).unwrap();
        bounding(&planned(0, |_| {})).unwrap();
        assert_eq!(field("CapBnd:"), "0".repeat(16));
    });
    forked(|| {
        cred::capset(&cred::CapabilitySets::default()).unwrap();
        let err = describe(&bounding(&planned(0, |_| {})).unwrap_err());
        assert_eq!(err, "process.capabilities.bounding: operation not permitted");
    });
}

#[test]
fn e3_the_callers_groups_are_dropped_when_none_are_configured() {
    if !root_or_skip() {
        return;
    }
    forked(|| {
        cred::setgroups(&[4242]).unwrap();
        become_program(&planned(1000, |_| {}));
        assert_eq!(field("Groups:"), "");
    });
    forked(|| {
        cred::setgroups(&[4242]).unwrap();
        become_program(&planned(1000, |plan| plan.groups = None));
        assert_eq!(field("Groups:"), "4242", "kept on request, or where setgroups is denied");
    });
}

#[test]
fn pr_8_limits_are_exactly_as_configured() {
    forked(|| {
        let (_, hard) = sched::limit(RLIMIT_NOFILE).unwrap();
        let (_, core) = sched::limit(RLIMIT_CORE).unwrap();
        let limits = vec![
            Rlimit { name: "RLIMIT_NOFILE", resource: RLIMIT_NOFILE, soft: 60, hard: hard.min(100) },
            Rlimit { name: "RLIMIT_CORE", resource: RLIMIT_CORE, soft: 0, hard: core },
        ];
        rlimits(&planned(0, |plan| plan.rlimits = limits)).unwrap();
        assert_eq!(sched::limit(RLIMIT_NOFILE).unwrap(), (60, hard.min(100)));
        assert_eq!(sched::limit(RLIMIT_CORE).unwrap(), (0, core));
    });
}

#[test]
fn pr_8_a_limit_that_cannot_be_raised_is_named() {
    forked(|| {
        sched::set_limit(RLIMIT_MEMLOCK, 4096, 8192).unwrap();
        // as in an unprivileged runtime
        let mut sets = cred::capget().unwrap();
        (sets.effective, sets.permitted) = (0, 0);
        cred::capset(&sets).unwrap();
        let limit = |soft, hard| Rlimit { name: "RLIMIT_MEMLOCK", resource: RLIMIT_MEMLOCK, soft, hard };
        rlimits(&planned(0, |plan| plan.rlimits = vec![limit(4096, 8192)])).unwrap();
        let err = rlimits(&planned(0, |plan| plan.rlimits = vec![limit(1, 8193)])).unwrap_err();
        assert_eq!(
            describe(&err),
            "process.rlimits: RLIMIT_MEMLOCK: raising the hard limit above 8192 needs CAP_SYS_RESOURCE: \
             error setting rlimit type 8: soft 1, hard 8193: operation not permitted"
        );
    });
}

#[test]
fn pr_15_the_oom_score_is_written_or_the_error_reported() {
    forked(|| {
        let proc = std::fs::File::open("/proc").unwrap();
        let write = |score, rootless| {
            let plan = planned(0, |plan| {
                plan.oom_score_adj = score;
                plan.rootless = rootless;
            });
            oom_score(&plan, proc.as_fd(), "self")
        };
        let now = || std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
        write(Some(500), false).unwrap();
        write(None, false).unwrap();
        assert_eq!(now(), "500\n");
        let mut sets = cred::capget().unwrap();
        (sets.effective, sets.permitted) = (0, 0);
        cred::capset(&sets).unwrap();
        let err = describe(&write(Some(-999), false).unwrap_err());
        assert_eq!(err, "process.oomScoreAdj: -999: permission denied");
        write(Some(-999), true).unwrap();
        write(Some(500), true).unwrap();
        assert_eq!(now(), "500\n");
    });
}

#[test]
fn ft_45_no_signal_is_ignored_or_blocked() {
    forked(|| {
        for number in [libc::SIGPIPE, libc::SIGCHLD, 33, 64] {
            signal::set_ignored(number).unwrap();
        }
        signal::set_mask(signal::SignalSet::ALL).unwrap();
        assert_ne!((field("SigBlk:"), field("SigIgn:")), ("0".repeat(16), "0".repeat(16)));
        reset_signals().unwrap();
        let ending = format!("{:016x}", ENDING.iter().fold(0_u64, |mask, number| mask | 1 << (number - 1)));
        assert_eq!((field("SigBlk:"), field("SigIgn:"), field("SigCgt:")), ("0".repeat(16), "0".repeat(16), ending));
    });
}

#[test]
fn pr_18_the_runtimes_own_affinity_does_not_bind_the_container() {
    forked(|| {
        let all = field("Cpus_allowed_list:");
        sched::set_affinity(&[1]).unwrap();
        assert_eq!(field("Cpus_allowed_list:"), "0");
        scheduling(&planned(0, |_| {})).unwrap();
        assert_eq!(field("Cpus_allowed_list:"), all);
        let zero = base::cpu_set::CpuSet::parse("0").unwrap();
        scheduling(&planned(0, |plan| plan.affinity.last = Some(zero.clone()))).unwrap();
        assert_eq!(field("Cpus_allowed_list:"), "0");
        // an initial set without a final one is not changed
        let initial = planned(0, |plan| plan.affinity.initial = Some(zero));
        initial_affinity(&initial).unwrap();
        scheduling(&initial).unwrap();
        assert_eq!(field("Cpus_allowed_list:"), "0");
    });
}

#[test]
fn pr_16_a_refused_scheduler_is_explained() {
    forked(|| {
        let mut sets = cred::capget().unwrap();
        (sets.effective, sets.permitted) = (0, 0);
        cred::capset(&sets).unwrap();
        sched::set_limit(RLIMIT_RTPRIO, 0, 0).unwrap();
        let fifo = crate::plan::process::Scheduler { policy: 1, priority: 10, ..Default::default() };
        let err = describe(&scheduling(&planned(0, |plan| plan.scheduler = Some(fifo))).unwrap_err());
        assert!(err.starts_with("process.scheduler: real-time needs CAP_SYS_NICE"), "{err}");
        let iso = crate::plan::process::Scheduler { policy: 4, ..Default::default() };
        let err = describe(&scheduling(&planned(0, |plan| plan.scheduler = Some(iso))).unwrap_err());
        assert_eq!(err, "process.scheduler: SCHED_ISO is not known to this kernel: invalid argument");
    });
}

#[test]
fn pr_7_the_umask_and_a_session_of_its_own() {
    forked(|| {
        session().unwrap();
        session().unwrap();
        umask(&planned(0, |plan| plan.umask = 0o027));
        let own = nix::unistd::getpid();
        assert_eq!(nix::unistd::getsid(None).unwrap(), own);
        assert_eq!(field("Umask:"), "0027");
    });
}

#[test]
fn pr_20_no_new_keyring_leaves_the_callers() {
    forked(|| {
        let mine = || std::fs::read_to_string("/proc/keys").unwrap_or_default();
        keyring(&planned(0, |plan| plan.new_keyring = false), "croci-test-none").unwrap();
        assert!(!mine().contains("_ses.croci-test-none"));
        keyring(&planned(0, |_| {}), "croci-test-own").unwrap();
        assert!(mine().is_empty() || mine().contains("_ses.croci-test-own"));
    });
}

#[test]
fn pr_12_in_a_user_namespace_every_capability_is_available() {
    forked(|| {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).is_err() {
            return; // this host does not allow user namespaces
        }
        std::fs::write("/proc/self/setgroups", "deny").unwrap();
        std::fs::write("/proc/self/uid_map", format!("5 {uid} 1\n")).unwrap();
        std::fs::write("/proc/self/gid_map", format!("6 {gid} 1\n")).unwrap();
        let process = serde_json::json!({"user": {"uid": 5, "gid": 6}, "cwd": "/", "args": ["sh"]});
        let ctx = ProcessContext {
            user_ns: true,
            setgroups_denied: true,
            uid_maps: [(5, uid.as_raw(), 1)].into(),
            gid_maps: [(6, gid.as_raw(), 1)].into(),
            ..ProcessContext::default()
        };
        let mut plan = plan(&serde_json::from_value(process).unwrap(), None, &ctx).unwrap();
        let all = (1 << 41) - 1;
        plan.caps = Capabilities { bounding: all, effective: all, inheritable: all, permitted: all, ambient: all };
        plan.caps.bounding &= cred::capget().unwrap().permitted;
        become_program(&plan);
        assert_eq!(nix::unistd::getuid().as_raw(), 5);
        assert_eq!(field("CapEff:"), format!("{all:016x}"));
    });
}
