//! Checks of /proc/PID/status with one difference at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::super::ensure_ok;
use super::*;
use crate::plan::process::ProcessContext;
use crate::plan::process::plan;
use serde_json::json;

const STATUS: &str = "Name:\tcroci\nUid:\t1000\t1000\t1000\t1000\nGid:\t10\t10\t10\t10\nGroups:\t5 20 \n\
    CapInh:\t0000000000000000\nCapPrm:\t0000000000000001\nCapEff:\t0000000000000001\n\
    CapBnd:\t0000000000000001\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";

const BEFORE: CheckContext =
    CheckContext { moment: Moment::BeforeProgram, maps: None, groups_kept: false, foreign_filters: 0, filter: true };

fn planned() -> ProcessPlan {
    let process = json!({
        "user": {"uid": 1000, "gid": 10, "additionalGids": [20, 5]}, "cwd": "/", "args": ["sh"], "noNewPrivileges": true
    });
    let mut plan = plan(&serde_json::from_value(process).unwrap(), None, &ProcessContext::default()).unwrap();
    plan.caps = Capabilities { bounding: 1, effective: 1, permitted: 1, ..Capabilities::default() };
    plan
}

fn checked(plan: &ProcessPlan, status: &str, context: &CheckContext) -> Vec<Check> {
    check(plan, &Status::parse(status).unwrap(), context)
}

/// The name of the first difference.
fn different(plan: &ProcessPlan, status: &str, context: &CheckContext) -> Option<String> {
    let all = checked(plan, status, context);
    all.into_iter().find(|check| check.verdict == Verdict::Different).map(|check| check.name)
}

#[test]
fn sec_15_a_child_that_differs_from_its_plan_is_found() {
    ensure_ok(&checked(&planned(), STATUS, &BEFORE)).unwrap();
    for (from, to, name) in [
        ("Uid:\t1000\t1000\t1000", "Uid:\t1000\t1000\t0", "process.user.uid"),
        ("1000\t1000\nGid", "1000\t0\nGid", "process.user.uid"),
        ("Gid:\t10", "Gid:\t0", "process.user.gid"),
        ("Groups:\t5 20 ", "Groups:\t0 5 20 ", "process.user.additionalGids"),
        ("Groups:\t5 20 ", "Groups:\t", "process.user.additionalGids"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "process.noNewPrivileges"),
        ("CapInh:\t0000000000000000", "CapInh:\t0000000000000001", "process.capabilities.inheritable"),
        ("CapPrm:\t0000000000000001", "CapPrm:\t0000000000000003", "process.capabilities.permitted"),
        ("CapEff:\t0000000000000001", "CapEff:\t0000000000000000", "process.capabilities.effective"),
        ("CapBnd:\t0000000000000001", "CapBnd:\t000001ffffffffff", "process.capabilities.bounding"),
        ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", "process.capabilities.ambient"),
        ("Seccomp:\t2", "Seccomp:\t0", "linux.seccomp"),
        ("filters:\t1", "filters:\t0", "linux.seccomp"),
        ("filters:\t1", "filters:\t2", "linux.seccomp"),
    ] {
        let wrong = STATUS.replacen(from, to, 1);
        assert_ne!(wrong, STATUS, "{from}");
        assert_eq!(different(&planned(), &wrong, &BEFORE).as_deref(), Some(name), "{to}");
    }
}

#[test]
fn a_line_that_is_missing_or_no_number_is_an_error() {
    for (from, to) in [("CapAmb:", "Other:"), ("Uid:\t1000", "Uid:\tx"), ("NoNewPrivs:\t1", "NoNewPrivs:\t")] {
        assert!(Status::parse(&STATUS.replacen(from, to, 1)).is_err(), "{to}");
    }
    assert_eq!(Status::parse(&STATUS.replace("Seccomp_filters:\t1\n", "")).unwrap().filters, None);
}

#[test]
fn a_reader_in_another_user_namespace_sees_mapped_ids() {
    let maps = Some(([(1000, 500_000, 10)].into(), [(0, 100_000, 100)].into()));
    let context = CheckContext { maps, ..BEFORE };
    let mapped = STATUS
        .replace("1000\t1000\t1000\t1000", "500000\t500000\t500000\t500000")
        .replace("10\t10\t10\t10", "100010\t100010\t100010\t100010")
        .replace("5 20", "100005 100020");
    ensure_ok(&checked(&planned(), &mapped, &context)).unwrap();
    assert_eq!(different(&planned(), STATUS, &context).as_deref(), Some("process.user.uid"));
    let unmapped = CheckContext { maps: Some(([(0, 1, 1)].into(), [(0, 0, 1000)].into())), ..BEFORE };
    assert_eq!(different(&planned(), STATUS, &unmapped).as_deref(), Some("process.user.uid"));
}

#[test]
fn groups_that_may_not_be_dropped_are_the_callers() {
    let mut plan = planned();
    plan.groups = Some(Vec::new());
    assert_eq!(different(&plan, STATUS, &BEFORE).as_deref(), Some("process.user.additionalGids"));
    assert_eq!(different(&plan, STATUS, &CheckContext { groups_kept: true, ..BEFORE }), None);
    plan.groups = None;
    assert_eq!(different(&plan, STATUS, &BEFORE), None);
    // configured groups must be set
    plan.groups = Some(vec![7]);
    assert!(different(&plan, STATUS, &CheckContext { groups_kept: true, ..BEFORE }).is_some());
}

#[test]
fn croci_may_itself_be_filtered() {
    let context = CheckContext { foreign_filters: 2, ..BEFORE };
    assert_eq!(different(&planned(), STATUS, &context).as_deref(), Some("linux.seccomp"));
    assert_eq!(different(&planned(), &STATUS.replace("filters:\t1", "filters:\t3"), &context), None);
}

#[test]
fn a_program_that_runs_may_have_less_but_never_more() {
    let context = CheckContext { moment: Moment::Running, ..BEFORE };
    let plan = planned();
    for (from, to, changed) in [
        ("Uid:\t1000\t1000\t1000\t1000", "Uid:\t7\t7\t7\t7", "process.user.uid"),
        ("Groups:\t5 20 ", "Groups:\t", "process.user.additionalGids"),
        ("CapPrm:\t0000000000000001", "CapPrm:\t0000000000000000", "process.capabilities.permitted"),
        ("CapBnd:\t0000000000000001", "CapBnd:\t0000000000000000", "process.capabilities.bounding"),
        ("CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", "process.capabilities.ambient"),
    ] {
        let all = checked(&plan, &STATUS.replacen(from, to, 1), &context);
        let found = all.iter().find(|check| check.name == changed).unwrap();
        assert_eq!(found.verdict, Verdict::Changed, "{to}");
        ensure_ok(&all).unwrap();
    }
    ensure_ok(&checked(&plan, &STATUS.replace("filters:\t1", "filters:\t4"), &context)).unwrap();
    for (from, to, name) in [
        ("CapPrm:\t0000000000000001", "CapPrm:\t0000000000000003", "process.capabilities.permitted"),
        ("CapBnd:\t0000000000000001", "CapBnd:\t0000000000000003", "process.capabilities.bounding"),
        ("NoNewPrivs:\t1", "NoNewPrivs:\t0", "process.noNewPrivileges"),
        ("Seccomp:\t2", "Seccomp:\t0", "linux.seccomp"),
        ("filters:\t1", "filters:\t0", "linux.seccomp"),
    ] {
        assert_eq!(different(&plan, &STATUS.replacen(from, to, 1), &context).as_deref(), Some(name), "{to}");
    }
}
