//! Comparison of the field-by-field parser with oci-spec's own parsers.

use oci_spec::runtime::{Process, Spec};
use serde_json::{Value, json};

use super::super::json_type::JsonType;
use super::super::{normalize, schema, typed};
use super::recorded::files;

/// Every member of `process`, no value its default.
fn whole_process() -> Value {
    json!({
        "terminal": true, "consoleSize": {"height": 40, "width": 80}, "args": ["a", "b"], "env": ["A=1"], "cwd": "/tmp",
        "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [3, 4], "username": "x"},
        "capabilities": {
            "bounding": ["CAP_CHOWN"], "effective": ["CAP_FOWNER"], "inheritable": ["CAP_KILL"],
            "permitted": ["CAP_SETUID"], "ambient": ["CAP_SETGID"],
        },
        "rlimits": [{"type": "RLIMIT_CORE", "hard": 7, "soft": 6}], "noNewPrivileges": false,
        "apparmorProfile": "p", "oomScoreAdj": -5, "selinuxLabel": "l",
        "ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 3},
        "scheduler": {"policy": "SCHED_FIFO", "priority": 9, "flags": ["SCHED_RESET_ON_FORK"]},
        "execCPUAffinity": {"initial": "0-3,7", "final": "1"},
    })
}

/// Every member of `config.json`, no value its default.
fn whole_config() -> Value {
    json!({
        "ociVersion": "1.2.0", "root": {"path": "r", "readonly": false},
        "mounts": [{"destination": "/m", "type": "tmpfs", "source": "t", "options": ["ro"]}],
        "process": whole_process(), "hostname": "h", "domainname": "d",
        "hooks": {"poststop": [{"path": "/h", "args": ["a"], "env": ["A=1"], "timeout": 3}]},
        "annotations": {"a": "b"}, "linux": {"cgroupsPath": "/c", "namespaces": [{"type": "mount"}]},
    })
}

/// Every member that the schema knows is in the document, so that no new one is forgotten in it.
#[track_caller]
fn assert_whole(document: &Value, shape: &JsonType) {
    let JsonType::Object(fields) = shape else { panic!("not an object") };
    let missing: Vec<_> = fields.iter().map(|field| field.name).filter(|name| document.get(name).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_member_is_lost() {
    let process = whole_process();
    assert_whole(&process, &schema::PROCESS);
    assert_eq!(serde_json::to_value(typed::process(process.clone()).unwrap()).unwrap(), process);
    let config = whole_config();
    assert_whole(&config, &schema::CONFIG);
    assert_eq!(serde_json::to_value(typed::spec(config.clone()).unwrap()).unwrap(), config);
}

#[test]
fn what_is_absent_is_not_the_default_of_oci_spec() {
    let process = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/"});
    assert_eq!(serde_json::to_value(typed::process(process.clone()).unwrap()).unwrap(), process);
    let config = json!({"ociVersion": "1.0.0"});
    assert_eq!(serde_json::to_value(typed::spec(config.clone()).unwrap()).unwrap(), config);
}

#[test]
fn recorded_documents_are_read_as_oci_spec_reads_them() {
    let documents = files().into_iter().map(|(name, bytes)| (name, serde_json::from_slice(&bytes).unwrap()));
    for (name, document) in documents.chain([("all".to_owned(), whole_config())]) {
        if name.contains("exec-process") {
            let value = normalize::process(document, &mut Vec::new()).unwrap();
            let want: Process = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(typed::process(value).unwrap(), want, "{name}");
        } else if !name.contains("resources") {
            let value = normalize::config(document, &mut Vec::new()).unwrap();
            let want: Spec = serde_json::from_value(value.clone()).unwrap();
            assert_eq!(typed::spec(value).unwrap(), want, "{name}");
        }
    }
}

#[test]
fn a_wrong_value_is_the_same_error() {
    let error = |document: &Value| {
        let ours = typed::spec(document.clone()).err().map(|err| err.root_cause().to_string());
        let theirs = serde_json::from_value::<Spec>(document.clone()).err().map(|err| err.to_string());
        (ours, theirs)
    };
    for (place, value) in [
        ("/process/cwd", json!(1)),
        ("/process/user", json!(null)),
        ("/process/args", json!("sh")),
        ("/process/rlimits/0/type", json!("RLIMIT_X")),
        ("/process/execCPUAffinity/initial", json!([])),
        ("/root/path", json!(1)),
        ("/linux/namespaces/0/type", json!("x")),
        ("/annotations/a", json!(1)),
    ] {
        let mut document = whole_config();
        *document.pointer_mut(place).unwrap() = value;
        let (ours, theirs) = error(&document);
        assert!(ours.is_some(), "{place}");
        assert_eq!(ours, theirs, "{place}");
    }
}
