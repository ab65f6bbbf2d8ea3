//! The flags of `checkpoint`, `restore` and `mounts`.

use base::coded;
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

fn criu(args: &mut ParsedArgs) -> Result<Criu> {
    let modes = [
        ("soft", CgroupsMode::Soft),
        ("full", CgroupsMode::Full),
        ("strict", CgroupsMode::Strict),
        ("ignore", CgroupsMode::Ignore),
    ];
    let locks = [("iptables", NetworkLock::Iptables), ("nftables", NetworkLock::Nftables), ("skip", NetworkLock::Skip)];
    let mut empty_network = false;
    for name in args.texts("empty-ns")? {
        ensure!(matches!(name.as_str(), "network" | "net"), coded!(UsageValue, "--empty-ns {name:?}: must be network"));
        empty_network = true;
    }
    Ok(Criu {
        image_path: args.path("image-path").unwrap_or_else(|| PathBuf::from("checkpoint")),
        work_path: args.path("work-path"),
        tcp_established: args.switch("tcp-established")?,
        tcp_close: args.switch("tcp-close")?,
        ext_unix_sk: args.switch("ext-unix-sk")?,
        shell_job: args.switch("shell-job")?,
        file_locks: args.switch("file-locks")?,
        lazy_pages: args.switch("lazy-pages")?,
        auto_dedup: args.switch("auto-dedup")?,
        cgroups: args.choice("manage-cgroups-mode", &modes)?,
        network_lock: args.choice("network-lock", &locks)?,
        empty_network,
    })
}

pub(in crate::cli) fn checkpoint(args: &mut ParsedArgs) -> Result<Verb> {
    let checkpoint = Checkpoint {
        criu: criu(args)?,
        parent_path: args.path("parent-path"),
        leave_running: args.switch("leave-running")?,
        tcp_skip_in_flight: args.switch("tcp-skip-in-flight")?,
        link_remap: args.switch("link-remap")?,
        status_fd: status_fd(args)?,
        page_server: args.parsed("page-server", address)?,
        pre_dump: args.switch("pre-dump")?,
        id: args.id(),
    };
    if checkpoint.parent_path.as_deref().is_some_and(|path| path.is_absolute()) {
        bail!(coded!(UsageValue, "--parent-path: must be relative to --image-path"));
    }
    Ok(Verb::Checkpoint(Box::new(checkpoint)))
}

fn status_fd(args: &mut ParsedArgs) -> Result<Option<i32>> {
    let number = args.parsed("status-fd", |text| values::unsigned(text, i32::MAX as u64))?;
    Ok(number.and_then(|number| i32::try_from(number).ok()))
}

/// Parses `ADDR:PORT`; an IPv6 address may be in brackets.
fn address(text: &str) -> Result<(String, u16)> {
    let Some((host, port)) = text.rsplit_once(':') else { bail!(coded!(UsageValue, "must be ADDRESS:PORT")) };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match port.parse::<u16>() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host.to_owned(), port)),
        _ => bail!(coded!(UsageValue, "must be ADDRESS:PORT")),
    }
}

pub(in crate::cli) fn restore(args: &mut ParsedArgs) -> Result<Verb> {
    let criu = criu(args)?;
    let text = |args: &mut ParsedArgs, name| -> Result<Option<String>> {
        let value = args.raw(name).filter(|value| !value.is_empty());
        value.map(|value| cli_parser::utf8(value, name)).transpose()
    };
    let lsm_profile = text(args, "lsm-profile")?;
    if let Some(profile) = &lsm_profile {
        let known = ["apparmor:", "selinux:"].iter().any(|kind| profile.starts_with(kind));
        ensure!(known, coded!(UsageValue, "--lsm-profile {profile:?}: must be apparmor:NAME or selinux:LABEL"));
    }
    Ok(Verb::Restore(Box::new(Restore {
        criu,
        detach: args.switch("detach")?,
        lsm_profile,
        lsm_mount_context: text(args, "lsm-mount-context")?,
        create: Create {
            bundle: args.path("bundle").unwrap_or_else(|| PathBuf::from(".")),
            console_socket: args.path("console-socket"),
            pid_file: args.path("pid-file"),
            no_pivot: args.switch("no-pivot")?,
            no_subreaper: args.switch("no-subreaper")?,
            no_verify: args.switch("no-verify")?,
            id: args.id(),
            ..Create::default()
        },
    })))
}

pub(in crate::cli) fn mounts(args: &mut ParsedArgs) -> Result<Verb> {
    let remove = match args.id().as_str() {
        "add" => false,
        "remove" => true,
        other => bail!(coded!(UsageValue, "{other:?}: must be add or remove")),
    };
    Ok(Verb::Mounts(Mounts { remove, id: args.id(), file: PathBuf::from(args.id()) }))
}
