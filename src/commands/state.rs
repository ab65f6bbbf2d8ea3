//! `state`: prints the state of one container.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::kernel_log::KernelLog;
use super::{Context, LoadedContainer, print, reached};
use crate::cli::args;
use crate::config;
use crate::runtime::verify;
use crate::state::Entry;
use crate::state::Record;
use crate::state::Status;
use crate::state::Summary;
use crate::state::exit;
use base::host;
use base::signal;

/// Time for another process to complete `create`. Short, because a hook of that process may call `state`, too.
const CREATION: Duration = Duration::from_millis(100);

/// The state of the runtime specification, with the additional fields that callers read (CL-10), in runc's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document<'a> {
    oci_version: &'static str,
    pub(super) id: &'a str,
    pub(super) pid: i32,
    pub(super) status: &'static str,
    pub(super) bundle: &'a std::path::Path,
    rootfs: &'a std::path::Path,
    pub(super) created: &'a str,
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    annotations: &'a std::collections::BTreeMap<String, String>,
    /// The name is crun's.
    #[serde(rename = "systemd-scope", skip_serializing_if = "Option::is_none")]
    systemd_scope: Option<&'a str>,
    pub(super) owner: &'a str,
    /// How a stopped container has ended, as far as it is known; an addition of croci.
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<ExitDocument>,
}

/// The member `exit` of the state.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExitDocument {
    /// As in a shell: 128 + n for signal n.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
    /// Name of the signal that killed the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    /// The OOM killer has killed a process of the container.
    oom_killed: bool,
    /// When the end was learned of.
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

/// Returns what is known of the end of a stopped container; nothing if nothing is.
fn exit_document(entry: &Entry, record: &Record) -> Result<Option<ExitDocument>> {
    let exit = exit::find(entry, record)?;
    let oom_killed = reached::oom_kills(record, &KernelLog::default()) > 0;
    if exit.is_none() && !oom_killed {
        return Ok(None);
    }
    let exit = exit.unwrap_or_default();
    let (status, signal) = (exit.shell_status(), exit.signal.map(signal::name));
    Ok(Some(ExitDocument { status, signal, oom_killed, time: exit.time }))
}

/// Returns the state document of a container of the user `owner`; `pid` is 0 when it is stopped.
pub(super) fn document<'a>(record: &'a Record, status: Status, pid: i32, owner: &'a str) -> Document<'a> {
    Document {
        oci_version: config::SPEC_VERSION,
        id: &record.id,
        pid,
        status: status.as_str(),
        bundle: &record.bundle,
        rootfs: &record.rootfs,
        created: &record.created,
        annotations: &record.annotations,
        systemd_scope: record.cgroup.scope.as_ref().map(|scope| scope.unit.as_str()),
        owner,
        exit: None,
    }
}

/// As [`document`], of a record that was not parsed as a whole.
pub(super) fn document_of_summary<'a>(
    summary: &'a Summary<'_>,
    status: Status,
    pid: i32,
    owner: &'a str,
) -> Document<'a> {
    Document {
        oci_version: config::SPEC_VERSION,
        id: &summary.id,
        pid,
        status: status.as_str(),
        bundle: summary.bundle.as_ref().as_ref(),
        rootfs: summary.rootfs.as_ref().as_ref(),
        created: &summary.created,
        annotations: &summary.annotations,
        systemd_scope: summary.cgroup.unit(),
        owner,
        exit: None,
    }
}

/// Returns the container; waits while another process creates it, at most [`CREATION`], because callers that poll expect
/// what the peers show next: created.
fn find(context: &Context<'_>, id: &str) -> Result<LoadedContainer> {
    let deadline = Instant::now() + CREATION;
    loop {
        let container = context.find(id)?;
        if container.status != Status::Creating || Instant::now() >= deadline {
            return Ok(container);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Prints the state; with `--verify` compares the container with its configuration, and returns 1 if they differ.
pub(super) fn state(context: &Context<'_>, args: &args::State) -> Result<i32> {
    let LoadedContainer { entry, record, status, init } = find(context, &args.id)?;
    if args.verify {
        let report = verify::report(&entry, &record, status, init)?;
        print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
        return Ok(i32::from(!report.ok));
    }
    let owner = host::user_name(record.owner);
    let mut document = document(&record, status, init.map_or(0, |init| init.pid), &owner);
    if status == Status::Stopped {
        document.exit = exit_document(&entry, &record)?;
    }
    print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
    Ok(0)
}
