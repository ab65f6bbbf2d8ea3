//! The flags of `checkpoint`, `restore` and `mounts`.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use crate::cli::args::CgroupsMode;
use crate::cli::args::Checkpoint;
use crate::cli::args::Create;
use crate::cli::args::Criu;
use crate::cli::args::Mounts;
use crate::cli::args::NetworkLock;
use crate::cli::args::Restore;
use crate::cli::args::Verb;
use base::cli_parser;
use base::cli_parser::ParsedArgs;
use base::cli_parser::values;

fn criu(given: &mut ParsedArgs) -> Result<Criu> {
    let modes = [
        ("soft", CgroupsMode::Soft),
        ("full", CgroupsMode::Full),
        ("strict", CgroupsMode::Strict),
        ("ignore", CgroupsMode::Ignore),
    ];
    let locks = [("iptables", NetworkLock::Iptables), ("nftables", NetworkLock::Nftables), ("skip", NetworkLock::Skip)];
    let mut empty_network = false;
    for name in given.texts("empty-ns")? {
        ensure!(matches!(name.as_str(), "network" | "net"), "--empty-ns {name:?}: must be network");
        empty_network = true;
    }
    Ok(Criu {
        image_path: given.path("image-path").unwrap_or_else(|| PathBuf::from("checkpoint")),
        work_path: given.path("work-path"),
        tcp_established: given.switch("tcp-established")?,
        tcp_close: given.switch("tcp-close")?,
        ext_unix_sk: given.switch("ext-unix-sk")?,
        shell_job: given.switch("shell-job")?,
        file_locks: given.switch("file-locks")?,
        lazy_pages: given.switch("lazy-pages")?,
        auto_dedup: given.switch("auto-dedup")?,
        cgroups: given.choice("manage-cgroups-mode", &modes)?,
        network_lock: given.choice("network-lock", &locks)?,
        empty_network,
    })
}

pub(in crate::cli) fn checkpoint(given: &mut ParsedArgs) -> Result<Verb> {
    let checkpoint = Checkpoint {
        criu: criu(given)?,
        parent_path: given.path("parent-path"),
        leave_running: given.switch("leave-running")?,
        tcp_skip_in_flight: given.switch("tcp-skip-in-flight")?,
        link_remap: given.switch("link-remap")?,
        status_fd: status_fd(given)?,
        page_server: given.parsed("page-server", address)?,
        pre_dump: given.switch("pre-dump")?,
        id: given.id(),
    };
    if checkpoint.parent_path.as_deref().is_some_and(|path| path.is_absolute()) {
        bail!("--parent-path: must be relative to --image-path");
    }
    Ok(Verb::Checkpoint(Box::new(checkpoint)))
}

fn status_fd(given: &mut ParsedArgs) -> Result<Option<i32>> {
    let number = given.parsed("status-fd", |text| values::unsigned(text, i32::MAX as u64))?;
    Ok(number.and_then(|number| i32::try_from(number).ok()))
}

/// `ADDR:PORT`; an IPv6 address may stand in brackets.
fn address(text: &str) -> Result<(String, u16)> {
    let Some((host, port)) = text.rsplit_once(':') else { bail!("must be ADDRESS:PORT") };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host.to_owned(), port)),
        _ => bail!("must be ADDRESS:PORT"),
    }
}

pub(in crate::cli) fn restore(given: &mut ParsedArgs) -> Result<Verb> {
    let criu = criu(given)?;
    let text = |given: &mut ParsedArgs, name| -> Result<Option<String>> {
        let value = given.raw(name).filter(|value| !value.is_empty());
        value.map(|value| cli_parser::utf8(value, name)).transpose()
    };
    let lsm_profile = text(given, "lsm-profile")?;
    if let Some(profile) = &lsm_profile {
        let known = ["apparmor:", "selinux:"].iter().any(|kind| profile.starts_with(kind));
        ensure!(known, "--lsm-profile {profile:?}: must be apparmor:NAME or selinux:LABEL");
    }
    Ok(Verb::Restore(Box::new(Restore {
        criu,
        detach: given.switch("detach")?,
        lsm_profile,
        lsm_mount_context: text(given, "lsm-mount-context")?,
        create: Create {
            bundle: given.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
            console_socket: given.path("console-socket"),
            pid_file: given.path("pid-file"),
            no_pivot: given.switch("no-pivot")?,
            no_subreaper: given.switch("no-subreaper")?,
            no_verify: given.switch("no-verify")?,
            id: given.id(),
            ..Create::default()
        },
    })))
}

pub(in crate::cli) fn mounts(given: &mut ParsedArgs) -> Result<Verb> {
    let remove = match given.id().as_str() {
        "add" => false,
        "remove" => true,
        other => bail!("{other:?}: must be add or remove"),
    };
    Ok(Verb::Mounts(Mounts { remove, id: given.id(), file: PathBuf::from(given.id()) }))
}
