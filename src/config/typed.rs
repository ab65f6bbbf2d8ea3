//! A checked document as the types of oci-spec.
//!
//! `Spec` and `Process` are not read by oci-spec's own parsers, because those reach the crate `regex` (for one short
//! string, `execCPUAffinity`), which is 1.2 MB of a program that calls it. The fields are read here, each by its own
//! parser, and set one by one. A field that `schema` gets has to be added here, too; tests compare both ways.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use oci_spec::runtime::{
    Box as ConsoleSize, ExecCPUAffinity, Hooks, Linux, LinuxCapabilities, LinuxIOPriority, Mount, PosixRlimit, Process,
    Root, Scheduler, Spec, User,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The members of `config.json` that `schema` knows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpecFields {
    oci_version: String,
    root: Option<Root>,
    mounts: Option<Vec<Mount>>,
    process: Option<ProcessFields>,
    hostname: Option<String>,
    domainname: Option<String>,
    hooks: Option<Hooks>,
    annotations: Option<HashMap<String, String>>,
    linux: Option<Linux>,
}

/// The members of `process` that `schema` knows.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProcessFields {
    terminal: Option<bool>,
    console_size: Option<ConsoleSize>,
    user: User,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    cwd: PathBuf,
    capabilities: Option<LinuxCapabilities>,
    rlimits: Option<Vec<PosixRlimit>>,
    no_new_privileges: Option<bool>,
    apparmor_profile: Option<String>,
    oom_score_adj: Option<i32>,
    selinux_label: Option<String>,
    io_priority: Option<LinuxIOPriority>,
    scheduler: Option<Scheduler>,
    #[serde(rename = "execCPUAffinity")]
    exec_cpu_affinity: Option<AffinityFields>,
}

/// `process.execCPUAffinity`. `normalize` has checked both lists.
#[derive(Deserialize)]
struct AffinityFields {
    initial: Option<String>,
    #[serde(rename = "final")]
    last: Option<String>,
}

/// Converts a whole configuration.
pub(super) fn spec(value: Value) -> Result<Spec> {
    typed::<SpecFields>(value).map(Spec::from)
}

/// Converts `process`, of a configuration or of the file of `exec --process`.
pub(super) fn process(value: Value) -> Result<Process> {
    typed::<ProcessFields>(value).map(Process::from)
}

/// Converts a part by the parser of its type.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_json::from_value(value).context("configuration")
}

impl From<SpecFields> for Spec {
    fn from(fields: SpecFields) -> Self {
        let mut spec = Self::default();
        spec.set_version(fields.oci_version)
            .set_root(fields.root)
            .set_mounts(fields.mounts)
            .set_process(fields.process.map(Process::from))
            .set_hostname(fields.hostname)
            .set_domainname(fields.domainname)
            .set_hooks(fields.hooks)
            .set_annotations(fields.annotations)
            .set_linux(fields.linux);
        spec
    }
}

impl From<ProcessFields> for Process {
    fn from(fields: ProcessFields) -> Self {
        let mut process = Self::default();
        process
            .set_terminal(fields.terminal)
            .set_console_size(fields.console_size)
            .set_user(fields.user)
            .set_args(fields.args)
            .set_env(fields.env)
            .set_cwd(fields.cwd)
            .set_capabilities(fields.capabilities)
            .set_rlimits(fields.rlimits)
            .set_no_new_privileges(fields.no_new_privileges)
            .set_apparmor_profile(fields.apparmor_profile)
            .set_oom_score_adj(fields.oom_score_adj)
            .set_selinux_label(fields.selinux_label)
            .set_io_priority(fields.io_priority)
            .set_scheduler(fields.scheduler)
            .set_exec_cpu_affinity(fields.exec_cpu_affinity.map(ExecCPUAffinity::from));
        process
    }
}

impl From<AffinityFields> for ExecCPUAffinity {
    fn from(fields: AffinityFields) -> Self {
        let mut affinity = Self::default();
        affinity.set_initial(fields.initial).set_cpu_affinity_final(fields.last);
        affinity
    }
}
