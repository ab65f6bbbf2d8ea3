//! Writing settings to the files of a cgroup.
//!
//! Limits depend on each other: the kernel refuses a quota that the old period forbids, or a memory limit above the old
//! limit of memory and swap. A setting that is refused with EINVAL is written once more after the others, because the
//! right order depends on the old values.

use base::coded;
use base::error::{Code, Coding as _, HasErrno as _};
use std::io;

use anyhow::{Context as _, Result, anyhow, ensure};

use nix::unistd::{AccessFlags, access};

use super::Cgroup;
use super::files::{read, try_read, try_write, write_context};
use super::resources::Setting;

/// Writes settings into a cgroup without processes. `check`: refuse a memory limit below the usage.
///
/// # Errors
/// The kernel refuses a setting also after the others; the error names the field.
pub(super) fn apply<'a>(cgroup: &Cgroup, settings: impl Iterator<Item = &'a Setting>, check: bool) -> Result<()> {
    let mut refused = Vec::new();
    for setting in settings {
        // systemd has defaults of its own (TasksMax)
        let fresh = cgroup.record.scope.is_none() && cgroup.record.dirs.iter().all(|dir| dir.created_depth > 0);
        if setting.default && fresh {
            continue; // the kernel's own value
        }
        if check && !fresh {
            check_usage(cgroup, setting)?;
        }
        match write_setting(cgroup, setting) {
            Err(err) if err.is_errno(&[libc::EINVAL]) => refused.push(setting),
            result => result.with_code(Code::CgroupValue, || field(setting))?,
        }
    }
    refused
        .into_iter()
        .try_for_each(|setting| write_setting(cgroup, setting).with_code(Code::CgroupValue, || field(setting)))
}

pub(super) fn field(setting: &Setting) -> String {
    format!("linux.resources.{}", setting.field)
}

/// Returns the directory of a setting's files.
///
/// # Errors
/// The container has no cgroup, or the controller is not mounted.
pub(super) fn directory(cgroup: &Cgroup, setting: &Setting) -> Result<String> {
    let path = match cgroup.record.is_pure_v2() {
        true => cgroup.unified_path(),
        false => cgroup.controller_path(&setting.controller),
    };
    path.with_code(Code::CgroupController, || match cgroup.is_none() {
        true => "the container has no cgroup of its own".to_owned(),
        false => format!("the cgroup controller {:?} is not mounted on this machine", setting.controller),
    })
}

/// Reports whether one of the setting's files exists and is writable.
pub(super) fn is_writable(cgroup: &Cgroup, setting: &Setting) -> bool {
    let Ok(directory) = directory(cgroup, setting) else { return false };
    let writable = |file: &str| access(format!("{directory}/{file}").as_str(), AccessFlags::W_OK).is_ok();
    setting.optional || setting.candidates.iter().any(|(file, _)| writable(file))
}

/// Writes the first of the setting's files that exists.
fn write_setting(cgroup: &Cgroup, setting: &Setting) -> Result<()> {
    let directory = directory(cgroup, setting)?;
    let mut failure = None;
    for (file, text) in &setting.candidates {
        let path = format!("{directory}/{file}");
        match try_write(&path, text) {
            Ok(()) => return Ok(()),
            Err(err) => {
                let missing = err.kind() == io::ErrorKind::NotFound;
                failure.get_or_insert_with(|| explain(err, &path, text, missing));
                if !missing {
                    break;
                }
                if setting.optional {
                    return Ok(());
                }
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Adds the path to an error of a write, and an explanation where the errno alone is misleading.
pub(super) fn explain(err: io::Error, path: &str, text: &str, missing: bool) -> anyhow::Error {
    if missing {
        // not the errno: "no such file or directory" makes callers think that the program was not found (CL-21)
        return anyhow!(coded!(
            CgroupController,
            "{}: this kernel, or this cgroup, does not have the file",
            write_context(path, text)
        ));
    }
    let why = match err.raw_os_error() {
        Some(libc::ENODEV) if path.contains("/io.") || path.contains("/blkio.") => ": not a whole disk of this machine",
        Some(libc::ERANGE) if path.contains("/cpuset.") => ": no such CPU or memory node",
        Some(libc::EBUSY) if path.contains("limit_in_bytes") => ": more is in use",
        _ => "",
    };
    Code::CgroupValue.add_to(err.into(), format!("{}{why}", write_context(path, text)))
}

/// Refuses a memory limit below the current usage (`checkBeforeUpdate`, ME-4).
pub(super) fn check_usage(cgroup: &Cgroup, setting: &Setting) -> Result<()> {
    let Some((file, text)) = setting.candidates.first() else { return Ok(()) };
    let Ok(limit) = text.parse::<u64>() else { return Ok(()) }; // max or -1
    let usage = match file.as_ref() {
        "memory.max" => "memory.current",
        "memory.swap.max" => "memory.swap.current",
        "memory.limit_in_bytes" => "memory.usage_in_bytes",
        "memory.memsw.limit_in_bytes" => "memory.memsw.usage_in_bytes",
        _ => return Ok(()),
    };
    let path = format!("{}/{usage}", directory(cgroup, setting)?);
    let used: u64 = read(&path)?.trim().parse().with_context(|| format!("read {path}"))?;
    ensure!(used <= limit, "{}: {limit} is below the usage {used}, and checkBeforeUpdate is set", field(setting));
    Ok(())
}

/// The previous value of a file, written again if a later setting fails.
pub(super) struct SavedValue {
    path: String,
    lines: Vec<String>,
}

/// Writes the setting and returns the previous value; `None` where the file cannot be read.
pub(super) fn replace(cgroup: &Cgroup, setting: &Setting) -> Result<Option<SavedValue>> {
    let directory = directory(cgroup, setting)?;
    let mut old = None;
    for (file, _) in &setting.candidates {
        let path = format!("{directory}/{file}");
        if let Ok(text) = try_read(&path) {
            old = Some(SavedValue { lines: saved_lines(setting, &text), path });
            break;
        }
    }
    write_setting(cgroup, setting)?;
    Ok(old)
}

fn saved_lines(setting: &Setting, text: &str) -> Vec<String> {
    let Some((key, reset)) = &setting.keyed else {
        let file = setting.candidates.first().map_or("", |(file, _)| file.as_ref());
        return match file {
            // the file has more than the value: `oom_kill_disable 0`
            "memory.oom_control" => {
                text.lines().next().map(|line| line.replace("oom_kill_disable ", "")).into_iter().collect()
            }
            // an empty list is a value of its own
            _ if text.trim().is_empty() => vec!["\n".to_owned()],
            _ => text.lines().map(str::to_owned).collect(),
        };
    };
    let line = text.lines().find(|line| line.split(' ').next() == Some(key));
    vec![line.map_or_else(|| format!("{key} {reset}"), str::to_owned)]
}

impl SavedValue {
    /// Writes the old value and reports whether the kernel accepted it.
    pub(super) fn restore(&self) -> bool {
        self.lines.iter().all(|line| try_write(&self.path, line).is_ok())
    }
}
