//! Configurations, records and mount options.

#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a panic is how a target reports a finding"
)]

use std::path::PathBuf;

use serde_json::{Value, json};

use super::check_error;
use crate::bundle::Bundle;
use crate::config;
use crate::config::Config;
use crate::config::ContainerId;
use crate::plan::mount_options;
use crate::runtime::options;
use crate::runtime::prepare::{self, PreservedFds};
use crate::state::Record;

/// Parses a configuration and plans its container; nothing of the plan is executed. The same bytes are read as a process,
/// as resources and as mounts, too.
pub fn config(data: &[u8]) {
    for err in
        [config::parse_process(data).err(), config::parse_resources(data).err(), config::parse_mounts(data).err()]
            .iter()
            .flatten()
    {
        check_error(err);
    }
    let config = match config::parse(data) {
        Ok(config) => config,
        Err(err) => return check_error(&err),
    };
    assert!(config::check(&config.spec).is_ok(), "a configuration that was accepted is refused by the second check");
    again(&config);
    let bundle = Bundle { dir: PathBuf::from("/"), text: data.to_vec(), config };
    let id = ContainerId::new("fuzz").expect("a valid ID");
    let keep = PreservedFds { total: 0, listen: None };
    let args = options::Create::default();
    match prepare::prepare(&id, &bundle, &args, &keep, options::Cgroups::default()) {
        Ok(prepared) => check_plan(&prepared),
        Err(err) => check_error(&err),
    }
}

/// Checks that a configuration which was accepted is accepted again as it is stored, with the same meaning.
fn again(config: &Config) {
    let text = serde_json::to_vec(&config.spec).expect("a configuration can be written");
    match config::parse(&text) {
        Ok(again) => assert_eq!(again.spec, config.spec, "another meaning when it is read again"),
        Err(err) => panic!("refused when it is read again: {}", base::error::describe(&err)),
    }
}

/// Checks what every plan promises to the child.
fn check_plan(prepared: &prepare::Preparation) {
    prepared.cgroup.record.check().expect("the record of a planned cgroup is valid");
    if let Some(filter) = &prepared.plan.seccomp {
        assert!((1..=4096).contains(&filter.program.len()), "{} instructions", filter.program.len());
    }
    let rootfs = prepared.plan.rootfs.as_ref().expect("a container has a root");
    assert!(rootfs.path.is_absolute(), "{:?}", rootfs.path);
}

/// Parses a record; one that is accepted is the same when it is stored and read again.
pub fn record(data: &[u8]) {
    let record = match Record::parse(data) {
        Ok(record) => record,
        Err(err) => return check_error(&err),
    };
    record.cgroup.check().expect("the cgroup of an accepted record is one of croci's");
    assert!(record.init.iter().chain(&record.criu).all(|process| process.pid > 1), "{record:?}");
    let text = serde_json::to_vec(&record).expect("a record can be written");
    let again = Record::parse(&text).expect("a record can be read again");
    assert_eq!(text, serde_json::to_vec(&again).expect("a record can be written"));
}

/// Parses mount options, separated by NUL, alone and in a mount of a configuration.
pub fn mount_options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    match mount_options::parse(&words) {
        Ok(options) => {
            for attr in [options.attr, options.recursive, options.of_bind()] {
                // atime is one value, all of whose bits are cleared before one is set
                let both = attr.set & attr.clear & !linux::mount::ATTR_ATIME_MASK;
                assert_eq!(both, 0, "{words:?} sets and clears {both:x}");
            }
            assert!(options.data.iter().all(|word| !word.is_empty()), "{words:?}");
        }
        Err(err) => check_error(&err),
    }
    let kinds = [json!("bind"), json!("tmpfs"), json!("overlay"), Value::Null];
    if let Some(kind) = kinds.get(data.len() % kinds.len()) {
        config(&mount(&words, kind));
    }
}

/// Returns a configuration with one mount that has these options.
fn mount(words: &[String], kind: &Value) -> Vec<u8> {
    let mut mount = json!({ "destination": "/data", "source": "/tmp", "options": words });
    if !kind.is_null() {
        mount["type"] = kind.clone();
    }
    let config = json!({
        "ociVersion": "1.3.0",
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "args": ["sh"] },
        "mounts": [mount],
        "linux": { "namespaces": [{ "type": "mount" }, { "type": "user" }],
            "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }],
            "gidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }] },
    });
    config.to_string().into_bytes()
}
