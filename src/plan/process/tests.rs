//! Tables for the plan as a whole: the plan of a configuration, and the field that an error names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use serde_json::{Value, json};

fn process(change: &[(&str, Value)]) -> Process {
    let mut value = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["sh"]});
    for (pointer, new) in change {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), new.clone());
    }
    serde_json::from_value(value).unwrap()
}

fn planned(change: &[(&str, Value)]) -> Result<ProcessPlan> {
    plan(&process(change), None, &ProcessContext::default())
}

#[test]
fn the_smallest_process_gets_the_safer_value_of_everything() {
    let plan = planned(&[]).unwrap();
    assert_eq!(plan.args, [c"sh".to_owned()]);
    assert_eq!(plan.groups, Some(vec![]), "never the caller's");
    assert_eq!(plan.caps, Capabilities::default(), "absent capabilities are none, also for root");
    assert_eq!(plan.umask, 0o022);
    assert!(plan.new_keyring && plan.wants_home && plan.create_cwd && !plan.no_new_privs && !plan.terminal);
    assert_eq!((plan.oom_score_adj, plan.personality, plan.io_priority), (None, None, None));
    assert!(plan.warnings.is_empty());
}

#[test]
fn errors_name_their_field() {
    for (pointer, value, field) in [
        ("/args", json!([]), "process.args: "),
        ("/args", json!([""]), "process.args[0]: "),
        ("/args", json!(["a", "b\u{0}c"]), "process.args[1]: contains a NUL"),
        ("/cwd", json!(""), "process.cwd: "),
        ("/cwd", json!("tmp"), "process.cwd: "),
        ("/cwd", json!("/a\u{0}b"), "process.cwd: contains a NUL"),
        ("/env", json!(["A"]), "process.env[0]: "),
        ("/user/uid", json!(4_294_967_295_u32), "process.user.uid: "),
        ("/user/gid", json!(4_294_967_295_u32), "process.user.gid: "),
        ("/user/additionalGids", json!([1, 4_294_967_295_u32]), "process.user.additionalGids[1]: "),
        ("/user/umask", json!(0o1000), "process.user.umask: "),
        ("/oomScoreAdj", json!(1001), "process.oomScoreAdj: "),
        ("/oomScoreAdj", json!(-1001), "process.oomScoreAdj: "),
        ("/apparmorProfile", json!("a\nb"), "process.apparmorProfile: "),
        ("/selinuxLabel", json!("a\u{0}"), "process.selinuxLabel: "),
        (
            "/rlimits",
            json!([{"type":"RLIMIT_NOFILE","soft":1,"hard":1},{"type":"RLIMIT_NOFILE","soft":1,"hard":1}]),
            "process.rlimits[1]: duplicate RLIMIT_NOFILE",
        ),
        ("/rlimits", json!([{"type":"RLIMIT_AS","soft":2,"hard":1}]), "process.rlimits[0]: RLIMIT_AS: soft limit 2"),
    ] {
        let err = format!("{:#}", planned(&[(pointer, value.clone())]).unwrap_err());
        assert!(err.starts_with(field), "{pointer} {value}: {err}");
    }
}

#[test]
fn pr_8_unlimited_is_accepted() {
    let plan = planned(&[("/rlimits", json!([{"type":"RLIMIT_CORE","soft":0,"hard":u64::MAX}]))]).unwrap();
    assert_eq!(plan.rlimits.first().map(|l| (l.soft, l.hard)), Some((0, u64::MAX)));
}

#[test]
fn pr_8_all_sixteen_limits_have_their_number() {
    // in the order of the kernel's numbers, include/uapi/asm-generic/resource.h
    let names = [
        "CPU",
        "FSIZE",
        "DATA",
        "STACK",
        "CORE",
        "RSS",
        "NPROC",
        "NOFILE",
        "MEMLOCK",
        "AS",
        "LOCKS",
        "SIGPENDING",
        "MSGQUEUE",
        "NICE",
        "RTPRIO",
        "RTTIME",
    ];
    let limits: Vec<Value> =
        names.iter().map(|name| json!({"type": format!("RLIMIT_{name}"), "soft": 1, "hard": 2})).collect();
    let plan = planned(&[("/rlimits", json!(limits))]).unwrap();
    for (number, (name, limit)) in names.iter().zip(&plan.rlimits).enumerate() {
        assert_eq!((limit.name, limit.resource), (format!("RLIMIT_{name}").as_str(), number as u32));
    }
    assert_eq!(plan.rlimits.len(), 16);
}

#[test]
fn pr_5_a_size_counts_only_with_a_terminal() {
    let size = |height: u64, width: u64| ("/consoleSize", json!({"height": height, "width": width}));
    let terminal = ("/terminal", json!(true));
    assert_eq!(planned(&[size(24, 80)]).unwrap().console_size, None);
    assert_eq!(planned(&[size(1 << 20, 80)]).unwrap().console_size, None, "ignored without a terminal");
    assert_eq!(planned(&[terminal.clone(), size(24, 80)]).unwrap().console_size, Some((24, 80)));
    assert_eq!(planned(&[terminal.clone(), size(0, 0)]).unwrap().console_size, None);
    assert!(planned(&[terminal, size(1 << 16, 80)]).is_err());
}

#[test]
fn lx_5_any_personality_flag_is_an_error() {
    let linux = |value: Value| -> Linux { serde_json::from_value(json!({ "personality": value })).unwrap() };
    let read = |value| plan(&process(&[]), Some(&linux(value)), &ProcessContext::default()).map(|p| p.personality);
    assert_eq!(read(json!({"domain": "LINUX"})).unwrap(), Some(0));
    assert_eq!(read(json!({"domain": "LINUX32"})).unwrap(), Some(8));
    assert_eq!(read(json!({"domain": "LINUX32", "flags": []})).unwrap(), Some(8));
    assert!(read(json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]})).is_err());
}

#[test]
fn pr_6_ids_must_be_mapped() {
    let ctx = ProcessContext {
        user_ns: true,
        uid_maps: [(0, 1000, 1)].into(),
        gid_maps: [(0, 1000, 1)].into(),
        ..ProcessContext::default()
    };
    assert!(plan(&process(&[]), None, &ctx).is_ok());
    for pointer in ["/user/uid", "/user/gid"] {
        let err = plan(&process(&[(pointer, json!(1))]), None, &ctx).unwrap_err();
        assert!(format!("{err:#}").contains("not mapped"), "{err:#}");
    }
}
