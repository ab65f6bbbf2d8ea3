//! `why`: what became of a container: how its process ended, the limits that were reached, and what the kernel log has
//! about it.

mod denials;

use anyhow::Result;
use serde_json::{Value, json};

use super::kernel_log::KernelLog;
use super::{Context, LoadedContainer, print, reached};
use crate::cli::args;
use crate::cli::args::Format;
use crate::state::Record;
use crate::state::Status;
use crate::state::exit;
use crate::state::exit::Exit;
use crate::state::store::CONFIG;
use base::error::escape::one_line;
use base::error::{Code, Report};
use base::signal;

/// One finding: its code, if it is a cause, and a sentence.
struct Finding {
    code: Option<Code>,
    text: String,
}

/// Prints what is known, the most likely cause first after the end itself.
pub(super) fn why(context: &Context<'_>, args: &args::Why) -> Result<i32> {
    let LoadedContainer { entry, record, status, .. } = context.find(&args.id)?;
    let exit = if status == Status::Stopped { exit::find(&entry, &record)? } else { None };
    // the configuration is for the limits' values alone
    let config = entry.read(CONFIG).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or(Value::Null);
    let log = KernelLog::default();
    let mut findings = vec![ended(status, exit.as_ref())];
    findings.extend(limits((&record, &log), &config, exit.as_ref()));
    if status == Status::Stopped {
        let failure = exit::failure(&entry);
        let started = failure.is_none();
        findings.extend(failure.as_ref().map(not_started));
        findings.extend(of_kernel_log((&record, &log), exit.as_ref()));
        // a status of init's own means nothing
        findings.extend(of_status(exit.as_ref()).filter(|_| started));
    }
    let text = match args.format {
        Format::Json => {
            let one = |finding: &Finding| json!({"code": finding.code.map(Code::name), "text": finding.text});
            let all: Vec<Value> = findings.iter().map(one).collect();
            format!("{}\n", json!({"id": record.id, "status": status.as_str(), "exit": exit, "findings": all}))
        }
        Format::Table => {
            let line = |finding: &Finding| {
                let code = finding.code.map(|code| format!(" [{}]", code.name())).unwrap_or_default();
                format!("{}{code}\n", one_line(&finding.text))
            };
            findings.iter().map(line).collect()
        }
    };
    print(&text)?;
    Ok(0)
}

/// Says how the process ended, or that it has not.
fn ended(status: Status, exit: Option<&Exit>) -> Finding {
    let text = match (status, exit) {
        (Status::Created, _) => "created: it waits for `start`".to_owned(),
        (Status::Creating, _) => "creating: `create` is not done".to_owned(),
        (Status::Running, _) => "running: it has not ended".to_owned(),
        (Status::Paused, _) => "paused: it has not ended; `resume` continues it".to_owned(),
        (Status::Stopped, None) => {
            "stopped: how it ended is not known, because its parent has reaped it and no `wait` was there".to_owned()
        }
        (Status::Stopped, Some(exit)) => {
            let when = exit.time.as_ref().map(|time| format!(" at {time}")).unwrap_or_default();
            match (exit.status, exit.signal) {
                (Some(status), _) => format!("stopped: exited with status {status}{when}"),
                (_, Some(number)) => format!("stopped: killed by signal {number} ({}){when}", signal::name(number)),
                _ => format!("stopped{when}"),
            }
        }
    };
    Finding { code: None, text }
}

/// Says why the program was not started.
fn not_started(failure: &anyhow::Error) -> Finding {
    let report = Report::of(failure);
    let hint = report.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    Finding { code: Some(report.code), text: format!("its program was not started: {}{hint}", report.message) }
}

/// Lists the limits of the cgroup that were reached.
fn limits((record, log): (&Record, &KernelLog), config: &Value, exit: Option<&Exit>) -> Vec<Finding> {
    // `update` keeps the values that it has set
    let value = |pointer: &str| {
        let updated = record.resources.as_ref().and_then(|resources| resources.pointer(pointer).cloned());
        let value = updated.or_else(|| config.pointer(&format!("/linux/resources{pointer}")).cloned());
        value.map_or_else(|| "not set, so that of a parent cgroup".to_owned(), |value| value.to_string())
    };
    let mut findings = Vec::new();
    let kills = reached::oom_kills(record, log);
    if kills > 0 {
        let whom = if exit.is_some_and(|exit| exit.signal == Some(libc::SIGKILL)) { ", its first one too" } else { "" };
        findings.push(Finding {
            code: Some(Code::CgroupMemory),
            text: format!(
                "the OOM killer killed processes of it: {kills}{whom}; linux.resources.memory.limit is {}",
                value("/memory/limit")
            ),
        });
    }
    let refused = reached::refused_forks(record, log);
    if refused > 0 {
        findings.push(Finding {
            code: Some(Code::CgroupPidsLimit),
            text: format!(
                "forks failed because the pids limit was reached: {refused}; linux.resources.pids.limit is {}",
                value("/pids/limit")
            ),
        });
    }
    findings
}

/// Lists what the kernel log has about the container's first process and its cgroup.
fn of_kernel_log((record, log): (&Record, &KernelLog), exit: Option<&Exit>) -> Vec<Finding> {
    let Some(init) = record.init else { return Vec::new() };
    let log = log.messages();
    let mut findings: Vec<Finding> = Vec::new();
    for denial in log.into_iter().flatten().filter_map(|message| denials::of(&message.text, init.pid)) {
        if findings.iter().all(|known| known.text != denial.text) {
            findings.push(denial);
        }
    }
    let is_sigsys = exit.is_some_and(|exit| exit.signal == Some(libc::SIGSYS));
    if is_sigsys && !findings.iter().any(|finding| finding.code == Some(Code::SeccompKilled)) {
        let where_ = if log.is_none() { "; the kernel log cannot be read by this user" } else { "" };
        findings.push(Finding {
            code: Some(Code::SeccompKilled),
            text: format!("the seccomp filter killed it: linux.seccomp forbids a system call that it made{where_}"),
        });
    }
    findings
}

/// Says what a status means by convention.
fn of_status(exit: Option<&Exit>) -> Option<Finding> {
    let text = match exit?.status? {
        126 => "status 126 is a shell's for a command that may not be executed",
        127 => "status 127 is a shell's for a command that is missing, and the dynamic loader's for a missing library",
        status if (129..=192).contains(&status) => {
            let number = status - 128;
            let text = format!(
                "status {status} is a shell's for a child killed by signal {number} ({})",
                signal::name(number)
            );
            return Some(Finding { code: None, text });
        }
        _ => return None,
    };
    Some(Finding { code: None, text: text.to_owned() })
}
