//! Changes that the flags of `exec` make to the container's own process (PR-21).

use base::coded;
use base::error::{Code, Coding as _};
use std::os::fd::BorrowedFd;

use anyhow::{Result, bail};
use oci_spec::runtime::{Capability, LinuxCapabilities, Process};

use super::options;
use crate::config::enums::CAPABILITIES;
use base::suggest::did_you_mean;
use base::users::resolve_user;

/// Applies the flags; `root` is the container's root directory.
///
/// # Errors
/// A flag has an invalid value, or there is no command.
pub(crate) fn apply(process: &mut Process, args: &options::Exec, root: BorrowedFd<'_>) -> Result<()> {
    if args.command.is_empty() {
        bail!(coded!(UsageArguments, "exec: no command given"));
    }
    process.set_args(Some(args.command.clone()));
    process.set_terminal(Some(args.tty));
    if let Some(cwd) = &args.cwd {
        if !cwd.starts_with('/') {
            bail!(coded!(UsageValue, "--cwd: {cwd:?} is not an absolute path"));
        }
        process.set_cwd(cwd.into());
    }
    let mut env = process.env().clone().unwrap_or_default();
    for pair in &args.env {
        match pair.split_once('=') {
            Some((name, _)) if !name.is_empty() => env.push(pair.clone()),
            _ => bail!(coded!(UsageValue, "--env: {pair:?} is not NAME=VALUE")),
        }
    }
    process.set_env(Some(env));
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(profile) = &args.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    if let Some(label) = &args.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if let Some(user) = &args.user {
        set_user(process, user, root)?;
    }
    if !args.additional_gids.is_empty() {
        let mut user = process.user().clone();
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        groups.extend(&args.additional_gids);
        user.set_additional_gids(Some(groups));
        process.set_user(user);
    }
    if !args.caps.is_empty() {
        add_capabilities(process, &args.caps)?;
    }
    Ok(())
}

/// Sets the user: `UID`, `UID:GID`, or names of the container's own `/etc/passwd` and `/etc/group`.
fn set_user(process: &mut Process, text: &str, root: BorrowedFd<'_>) -> Result<()> {
    let found = resolve_user(text, root).code(Code::ProcessUser, "--user")?;
    let mut user = process.user().clone();
    user.set_uid(found.uid);
    if let Some(gid) = found.gid {
        user.set_gid(gid);
    }
    if !found.groups.is_empty() {
        user.set_additional_gids(Some(found.groups));
    }
    process.set_user(user);
    Ok(())
}

/// Completes the document of `--process` by what the container's own process has, where it is silent: capabilities, OOM
/// score, labels, limits, scheduling. As runc, because a document without them must neither lose protection nor rights.
pub(crate) fn inherit(process: &mut Process, own: &Process) {
    if process.capabilities().is_none() {
        process.set_capabilities(own.capabilities().clone());
    }
    if process.oom_score_adj().is_none() {
        process.set_oom_score_adj(own.oom_score_adj());
    }
    if process.apparmor_profile().is_none() {
        process.set_apparmor_profile(own.apparmor_profile().clone());
    }
    if process.selinux_label().is_none() {
        process.set_selinux_label(own.selinux_label().clone());
    }
    if process.rlimits().as_ref().is_none_or(Vec::is_empty) {
        process.set_rlimits(own.rlimits().clone());
    }
    if process.scheduler().is_none() {
        process.set_scheduler(own.scheduler().clone());
    }
    if process.io_priority().is_none() {
        process.set_io_priority(*own.io_priority());
    }
    if process.exec_cpu_affinity().is_none() {
        process.set_exec_cpu_affinity(own.exec_cpu_affinity().clone());
    }
}

/// Adds capabilities to those of the container's process, as runc: never to the inheritable set (SEC-7), and to the
/// ambient one only what is inheritable already.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<()> {
    let mut sets = process.capabilities().clone().unwrap_or_else(|| {
        let mut none = LinuxCapabilities::default();
        for set in [
            LinuxCapabilities::set_bounding,
            LinuxCapabilities::set_effective,
            LinuxCapabilities::set_permitted,
            LinuxCapabilities::set_inheritable,
            LinuxCapabilities::set_ambient,
        ] {
            set(&mut none, Some(Default::default()));
        }
        none
    });
    for name in names {
        let full = name.to_ascii_uppercase();
        let full = if full.starts_with("CAP_") { full } else { format!("CAP_{full}") };
        let capability: Capability = serde_json::from_value(full.clone().into()).map_err(|_| {
            anyhow::anyhow!(coded!(
                ProcessCapability,
                "--cap: unknown capability {name:?}{}",
                did_you_mean(&full, CAPABILITIES.iter().copied())
            ))
        })?;
        for (get, set) in [
            (sets.bounding().clone(), LinuxCapabilities::set_bounding as fn(&mut _, _) -> &mut LinuxCapabilities),
            (sets.effective().clone(), LinuxCapabilities::set_effective),
            (sets.permitted().clone(), LinuxCapabilities::set_permitted),
        ] {
            let mut with = get.unwrap_or_default();
            with.insert(capability);
            set(&mut sets, Some(with));
        }
        if sets.inheritable().as_ref().is_some_and(|inheritable| inheritable.contains(&capability)) {
            let mut ambient = sets.ambient().clone().unwrap_or_default();
            ambient.insert(capability);
            sets.set_ambient(Some(ambient));
        }
    }
    process.set_capabilities(Some(sets));
    Ok(())
}
