//! The plan of a container from options and bundle: every check that is possible before anything is created.

use base::coded;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::runtime::{Linux, Process, Spec};

use super::options::{self, CgroupManager, Mode};
use super::stored::{available_caps, cgroup_view, user_ns_path};
use super::terminal::Console;
use super::{hooks, rdt, sync, verify};
use crate::bundle::Bundle;
use crate::cgroup;
use crate::cgroup::plan::CgroupOptions;
use crate::cgroup::plan::CgroupPlan;
use crate::cgroup::plan::OnPermissionDenied;
use crate::cgroup::plan::ServiceManager;
use crate::config::ContainerId;
use crate::hook::Output;
use crate::init;
use crate::opened;
use crate::opened::Opened;
use crate::opened::StartSync;
use crate::plan;
use crate::plan::ContainerPlan;
use crate::plan::annotation::Extensions;
use crate::plan::context::RootfsContext;
use crate::plan::hook::HooksPlan;
use crate::plan::namespace::NamespacePlan;
use crate::plan::network::Device;
use crate::plan::process::ListenFds;
use crate::plan::process::ProcessContext;
use crate::plan::process::ProcessPlan;
use crate::plan::rdt::RdtPlan;
use crate::plan::rdt::RdtRecord;
use crate::plan::rootfs::RootfsPlan;
use crate::rootfs;
use crate::seccomp;
use crate::seccomp::Filter;
use base::host;
use base::log::step;

/// All parts of the plan.
#[derive(Debug)]
pub(crate) struct Preparation {
    /// Work of the child.
    pub plan: ContainerPlan,
    /// Cgroup to create.
    pub cgroup: CgroupPlan,
    /// Network devices to move into the container.
    pub devices: Vec<Device>,
    /// Resctrl group to create or join.
    pub rdt: Option<RdtPlan>,
    /// Socket that gets a pidfd of init besides `--pidfd-socket`.
    pub pidfd_receiver: Option<PathBuf>,
}

/// Counts the descriptors from 3 on that pass to the program: first those of socket activation, then `--preserve-fds`
/// many (FD-2). All others get close-on-exec.
///
/// # Errors
/// A descriptor is not open, or there are too many.
pub(super) fn preserved(requested: u32) -> Result<PreservedFds> {
    let listen = passed_by_service_manager()?;
    let total = listen.checked_add(requested).filter(|total| *total < 1 << 20);
    let Some(total) = total else { bail!(coded!(FdInvalid, "--preserve-fds: {requested} descriptors are too many")) };
    for fd in 3..3 + total {
        if !linux::process::is_open(fd as i32) {
            bail!(coded!(FdInvalid, "--preserve-fds: descriptor {fd} is not open"));
        }
    }
    // also at the execve of a hook
    linux::process::set_cloexec_from(3).context("close_range")?;
    let names = std::env::var("LISTEN_FDNAMES").ok();
    Ok(PreservedFds { total, listen: (listen > 0).then_some(ListenFds { count: listen, names }) })
}

/// Reads the number of sockets from `LISTEN_FDS`; 0 if `LISTEN_PID` is not the pid of this process (sd_listen_fds(3)),
/// because programs inherit the variables of their parents.
fn passed_by_service_manager() -> Result<u32> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(0);
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    for fd in (3..).take(usize::try_from(count)?) {
        let Some(mode) = linux::process::file_mode(fd) else {
            bail!(coded!(FdInvalid, "LISTEN_FDS: descriptor {fd} is not open"))
        };
        match mode & libc::S_IFMT {
            // because it leads to files of the host
            libc::S_IFDIR => bail!(coded!(FdInvalid, "LISTEN_FDS: descriptor {fd} is a directory")),
            libc::S_IFBLK => bail!(coded!(FdInvalid, "LISTEN_FDS: descriptor {fd} is a block device")),
            _ => {}
        }
    }
    Ok(count)
}

/// Descriptors that pass to the program.
#[derive(Debug)]
pub(crate) struct PreservedFds {
    /// Number of descriptors from 3 on.
    pub total: u32,
    /// The first of them, if they are of socket activation.
    pub listen: Option<ListenFds>,
}

/// Connects to the console socket before anything is created, and refuses combinations of terminal and flags that
/// cannot work (PR-4).
pub(super) fn open_console(args: &options::Create, bundle: &Bundle, mode: Mode) -> Result<Option<Console>> {
    let terminal = bundle.config.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    if let (Some(socket), true) = (&args.console, terminal) {
        return Console::of(socket).map(Some);
    }
    match (&args.console_socket, terminal) {
        (Some(_), false) => bail!(coded!(UsageValue, "--console-socket: process.terminal is not set")),
        (Some(path), true) => Ok(Some(Console::connect(path)?)),
        (None, true) if mode != Mode::RunForeground => {
            bail!(coded!(TerminalNone, "process.terminal is set: a detached container needs --console-socket"))
        }
        (None, _) => Ok(None),
    }
}

/// Plans a container. Nothing is created and nothing of the host changes.
///
/// # Errors
/// The configuration does not fit this host, by the name of its field.
pub(crate) fn prepare(
    id: &ContainerId,
    bundle: &Bundle,
    args: &options::Create,
    keep: &PreservedFds,
    cgroups: options::Cgroups,
) -> Result<Preparation> {
    let spec = &bundle.config.spec;
    let linux = spec.linux().as_ref();
    let extensions = plan::annotation::read(spec)?;
    let namespaces = plan::namespace::plan(linux);
    let mut cgroup = plan_cgroup(id, spec, cgroups)?;
    let rootfs = plan_rootfs(bundle, args, &namespaces, &cgroup)?;
    let process = spec
        .process()
        .as_ref()
        .map(|process| program(process, spec, &extensions, &namespaces, args, keep))
        .transpose()?;
    let (euid, own_net) = (linux::process::euid(), namespaces.has(libc::CLONE_NEWNET));
    let devices = plan::network::plan(linux, own_net, euid)?;
    let hooks = plan_hooks(bundle, &namespaces)?;
    // hooks find the limits in force
    if !hooks.during_create() && hooks.create_container.is_empty() {
        cgroup.defer_cpu_time();
    }
    let hook_state = plan::hook::HookState {
        id: id.as_str().to_owned(),
        bundle: bundle.dir.clone(),
        root: spec.root().as_ref().map(|root| bundle.dir.join(root.path())).unwrap_or_default(),
        annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
    };
    let plan = ContainerPlan {
        id: id.as_str().to_owned(),
        unprivileged: euid != 0,
        joins_cgroup_late: false,
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        loopback: namespaces.clone_flags & libc::CLONE_NEWNET != 0,
        rootfs: Some(rootfs),
        sysctl: plan::sysctl::plan(linux)?,
        process,
        seccomp: filter(linux, &extensions)?,
        hooks_after_mounts: hooks.during_create() || !devices.is_empty(),
        hooks,
        hook_state,
        preserve_fds: keep.total,
        self_check: !args.no_verify,
        namespaces,
    };
    let rdt = plan::rdt::plan(linux, id.as_str())?;
    Ok(Preparation { plan, cgroup, devices, rdt, pidfd_receiver: extensions.pidfd_receiver })
}

/// Plans the cgroup, and looks which of its directories exist.
fn plan_cgroup(id: &ContainerId, spec: &Spec, cgroups: options::Cgroups) -> Result<CgroupPlan> {
    let layout = cgroup::layout::detect()?;
    let mut plan = cgroup::plan::plan(spec.linux().as_ref(), id.as_str(), &layout, &cgroup_options(spec, cgroups)?)?;
    cgroup::probe_existing(&mut plan)?;
    Ok(plan)
}

fn plan_rootfs(
    bundle: &Bundle,
    args: &options::Create,
    namespaces: &NamespacePlan,
    cgroup: &CgroupPlan,
) -> Result<RootfsPlan> {
    let spec = &bundle.config.spec;
    let context = RootfsContext {
        bundle: &bundle.dir,
        user_ns: namespaces.own_user(),
        mount_ns: namespaces.own_mount(),
        cgroup_ns: namespaces.new_cgroup,
        own_cgroup: cgroup_view(&cgroup.record),
        no_pivot: args.no_pivot,
        id_maps: (namespaces.uid_map.clone(), namespaces.gid_map.clone()),
        user_ns_path: user_ns_path(spec.linux().as_ref()),
    };
    plan::rootfs::plan(spec, &context)
}

/// Plans the hooks. createContainer hooks are refused in a mount namespace that is joined, because their paths would
/// lead to files of the processes in it.
fn plan_hooks(bundle: &Bundle, namespaces: &NamespacePlan) -> Result<HooksPlan> {
    let hooks = hooks::hooks(&bundle.config.spec, &bundle.dir)?;
    if !hooks.create_container.is_empty() && namespaces.joins.iter().any(|join| join.flag == libc::CLONE_NEWNS) {
        bail!(
            "hooks.createContainer: in a mount namespace that is joined, their paths lead to files of who lives in it"
        );
    }
    Ok(hooks)
}

impl Preparation {
    /// Opens what the plan names of the host, but for the root file system, so that missing and wrong paths are errors
    /// before anything is created.
    ///
    /// # Errors
    /// A namespace or a file for the output of hooks, by the name of its field.
    pub(super) fn open(&self) -> Result<Opened> {
        let plan = &self.plan;
        let namespaces = opened::namespaces::open(&plan.namespaces)?;
        let hook_output = Output::open(&plan.hooks.output)?;
        let proc_dir = host::proc_dir()?;
        let namespace_rules =
            if plan.self_check { verify::rules(&plan.namespaces, &namespaces, proc_dir.as_fd())? } else { Vec::new() };
        Ok(Opened {
            proc_dir,
            namespaces,
            namespace_rules,
            hook_output,
            rootfs: None,
            kernel_mounts: None,
            // for `create` replaced by the fifo, when its directory exists
            start_sync: StartSync::Channel,
            cgroup_join: Vec::new(),
            target: None,
        })
    }

    /// Finds the resctrl file system and the group that the plan names; returns its mount point and the record of the
    /// group before any change.
    ///
    /// # Errors
    /// resctrl is not mounted; as [`rdt::probe`].
    pub(super) fn probe_resctrl(&self) -> Result<Option<(PathBuf, RdtRecord)>> {
        let Some(plan) = &self.rdt else { return Ok(None) };
        let mount = rdt::find_mount()?;
        let record = rdt::probe(plan, &mount)?;
        Ok(Some((mount, record)))
    }

    /// Opens the root and the sources of mounts.
    ///
    /// # Errors
    /// The root or a source, by the name of its field.
    pub(super) fn open_rootfs(&self, opened: &mut Opened) -> Result<()> {
        opened.rootfs = self.plan.rootfs.as_ref().map(rootfs::open).transpose()?;
        Ok(())
    }
}

fn program(
    process: &Process,
    spec: &Spec,
    extensions: &Extensions,
    namespaces: &NamespacePlan,
    args: &options::Create,
    keep: &PreservedFds,
) -> Result<ProcessPlan> {
    let linux = spec.linux().as_ref();
    let context = ProcessContext {
        user_ns: namespaces.own_user(),
        uid_maps: namespaces.uid_map.clone(),
        gid_maps: namespaces.gid_map.clone(),
        setgroups_denied: host::setgroups_denied()
            || namespaces.new_user() && sync::denies_setgroups(&namespaces.gid_map),
        listen_fds: keep.listen.clone(),
        available_caps: available_caps(namespaces.own_user())?,
        rootless: host::rootless(),
        keep_groups: extensions.keep_groups,
        ..ProcessContext::default()
    };
    let mut process = plan::process::plan(process, linux, &context)?;
    let filtered = extensions.seccomp_program.is_some() || linux.is_some_and(|linux| linux.seccomp().is_some());
    finish_process(&mut process, filtered, args.no_new_keyring)?;
    Ok(process)
}

/// Compiles the seccomp filter.
///
/// # Errors
/// The profile is wrong, or needs an action or a flag that the kernel does not have.
pub(super) fn filter(linux: Option<&Linux>, extensions: &Extensions) -> Result<Option<Filter>> {
    if let Some(program) = &extensions.seccomp_program {
        return Ok(Some(seccomp::from_bytes(program)?));
    }
    let Some(profile) = linux.and_then(|linux| linux.seccomp().as_ref()) else { return Ok(None) };
    if extensions.fail_unknown_syscall {
        let unknown = seccomp::unknown_names(profile);
        ensure!(
            unknown.is_empty(),
            coded!(ConfigUnsupported, "linux.seccomp.syscalls: this machine has no system call {}", unknown.join(", "))
        );
    }
    let mut profile = profile.clone();
    if profile.listener_path().is_none() {
        let receiver = extensions.receiver.clone();
        profile.set_listener_path(receiver.map_or_else(receiver_of_caller, |path| Ok(Some(path)))?);
    }
    let mut filter = seccomp::compile(&profile)?;
    if profile.flags().as_ref().is_some_and(|flags| !flags.is_empty()) && !linux::seccomp::flags_available(filter.flags)
    {
        bail!(coded!(SeccompInvalid, "linux.seccomp.flags: the kernel does not know one of them"));
    }
    if filter.notify && filter.listener_path.is_none() {
        bail!(coded!(SeccompInvalid, "linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs one"));
    }
    // without TSYNC, as runc counts them
    step(|| format!("seccomp filter flags: {}", filter.flags & !libc::SECCOMP_FILTER_FLAG_TSYNC));
    step(|| match seccomp::unknown_names(&profile).as_slice() {
        [] => "seccomp: this machine has every system call of the profile".to_owned(),
        // the first words are crun's, which Buildah's suite matches
        unknown => format!("unknown seccomp syscall ignored: {}", unknown.join(", ")),
    });
    check_exec(&filter)?;
    filter.offer_listener();
    Ok(Some(filter))
}

/// Refuses a filter under which no program can start. Init may not be able to report it, because such filters forbid
/// what it needs for that too.
fn check_exec(filter: &Filter) -> Result<()> {
    // init waits for the runtime by read(2) and answers by write(2)
    match ["execve", "read", "write"].iter().find_map(|name| seccomp::refusal(filter, name)) {
        Some(refusal) => {
            bail!(coded!(SeccompExec, "linux.seccomp: the filter {refusal}, so that no program can start"))
        }
        None => Ok(()),
    }
}

/// Returns the socket of the seccomp agent that the caller's environment names, as for crun.
fn receiver_of_caller() -> Result<Option<PathBuf>> {
    const NAME: &str = "RUN_OCI_SECCOMP_RECEIVER";
    let path = std::env::var_os(NAME).filter(|path| !path.is_empty()).map(PathBuf::from);
    ensure!(
        path.as_ref().is_none_or(|path| path.is_absolute()),
        coded!(UsageValue, "{NAME}: {path:?} is not an absolute path")
    );
    Ok(path)
}

/// Returns what the cgroup plan depends on besides configuration and layout: the manager and the rights of the caller.
fn cgroup_options(spec: &Spec, cgroups: options::Cgroups) -> Result<CgroupOptions> {
    let rootless = host::rootless();
    let annotations = || spec.annotations().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let systemd = match cgroups.manager {
        CgroupManager::Systemd => {
            Some(ServiceManager { address: host::service_manager()?, user: rootless, annotations: annotations() })
        }
        CgroupManager::Cgroupfs | CgroupManager::Disabled => None,
    };
    Ok(CgroupOptions {
        manager_disabled: cgroups.manager == CgroupManager::Disabled,
        rootless,
        on_permission_denied: match cgroups.rootless {
            Some(true) => OnPermissionDenied::Skip,
            None if rootless => OnPermissionDenied::SkipUnlimited,
            None | Some(false) => OnPermissionDenied::Fail,
        },
        own_cgroup: if rootless { cgroup::layout::own_unified_path()? } else { None },
        delegate: cgroup::plan::delegated_to(spec),
        systemd,
    })
}

/// Completes a process plan with what depends on host and options.
///
/// # Errors
/// The host does not have the configured security module.
pub(super) fn finish_process(process: &mut ProcessPlan, filtered: bool, no_new_keyring: bool) -> Result<()> {
    init::lsm::check(process)?;
    process.new_keyring = !no_new_keyring;
    process.filtered = filtered && !process.no_new_privs;
    Ok(())
}
