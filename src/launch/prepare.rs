//! From a command line and a bundle to the plan: everything that is found out before anything is made.

use std::cell::RefCell;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType, Process, Spec};

use super::create::Mode;
use super::terminal::Console;
use super::{serve, verify};
use crate::bundle::Bundle;
use crate::cgroup;
use crate::cli::args::{self, CgroupManager};
use crate::container::Record;
use crate::plan::annotation::Extensions;
use crate::plan::cgroup::{CgroupPlan, LeaveOut, ServiceManager, Situation};
use crate::plan::namespace::{NamespacePlan, TYPES, id_map, is_own_user};
use crate::plan::network::Device;
use crate::plan::process::{ProcessContext, ProcessPlan};
use crate::plan::rdt::RdtPlan;
use crate::plan::rootfs::{CgroupView, RootfsContext, RootfsPlan};
use crate::plan::{self, ContainerPlan, Gate};
use crate::seccomp::{self, Filter};
use crate::spec::ContainerId;
use crate::sys::place::Place;
use crate::{host, init, sys};

/// All parts of the plan.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What the child does.
    pub plan: ContainerPlan,
    /// The cgroup to make.
    pub cgroup: CgroupPlan,
    /// Network devices to move in.
    pub devices: Vec<Device>,
    /// The resctrl group to make or join.
    pub rdt: Option<RdtPlan>,
    /// Gets a pidfd of init besides `--pidfd-socket`.
    pub pidfd_receiver: Option<PathBuf>,
}

/// How many descriptors from 3 on pass to the program: `--preserve-fds` after those of socket activation (FD-2).
pub(super) fn preserved(asked: u32) -> Result<Preserved> {
    let listen = passed_by_service_manager()?;
    let total = listen.checked_add(asked).filter(|total| *total < 1 << 20);
    let Some(total) = total else { bail!("--preserve-fds: {asked} descriptors are too many") };
    for fd in 3..3 + total {
        if !sys::process::is_open(fd as i32) {
            bail!("--preserve-fds: descriptor {fd} is not open");
        }
    }
    // everything else that the caller left open ends at the program's exec, and at any hook's
    sys::process::close_on_exec_from(3).context("close_range")?;
    let names = std::env::var("LISTEN_FDNAMES").ok();
    Ok(Preserved { total, listen: (listen > 0).then_some((listen, names)) })
}

/// The number of sockets of `LISTEN_FDS`, 0 unless they were meant for this process: `LISTEN_PID` has to be its own pid
/// (sd_listen_fds(3)), because variables are inherited by programs that the service manager knows nothing of.
fn passed_by_service_manager() -> Result<u32> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Ok(0);
    }
    let count = number("LISTEN_FDS").unwrap_or(0);
    for fd in (3..).take(usize::try_from(count)?) {
        let Some(mode) = sys::process::file_mode(fd) else { bail!("LISTEN_FDS: descriptor {fd} is not open") };
        match mode & libc::S_IFMT {
            // a way into the host's files
            libc::S_IFDIR => bail!("LISTEN_FDS: descriptor {fd} is a directory"),
            libc::S_IFBLK => bail!("LISTEN_FDS: descriptor {fd} is a block device"),
            _ => {}
        }
    }
    Ok(count)
}

/// Descriptors that pass to the program.
#[derive(Debug)]
pub(super) struct Preserved {
    pub total: u32,
    pub listen: Option<(u32, Option<String>)>,
}

/// Treats namespaces that are the runtime's own as not the container's, and checks the configuration again without them:
/// what a container may change in a namespace of its own would change the host.
///
/// # Errors
/// A field that needs a namespace of the container's own.
pub(super) fn drop_own_namespaces(bundle: &mut Bundle) -> Result<()> {
    if plan::namespace::drop_own(&mut bundle.config.spec)? {
        crate::spec::check(&bundle.config.spec)?;
    }
    Ok(())
}

/// Connects to the console socket before anything is made, and refuses what cannot work (PR-4).
pub(super) fn open_console(args: &args::Create, bundle: &Bundle, mode: Mode) -> Result<Option<Console>> {
    let terminal = bundle.config.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false);
    match (&args.console_socket, terminal) {
        (Some(_), false) => bail!("--console-socket: process.terminal is not set"),
        (Some(path), true) => Ok(Some(Console::connect(path)?)),
        (None, true) if mode != Mode::RunForeground => {
            bail!("process.terminal is set: a detached container needs --console-socket")
        }
        (None, _) => Ok(None),
    }
}

/// Plans a container.
///
/// # Errors
/// Whatever is wrong with the configuration for this machine, by the name of its field.
pub(super) fn prepare(
    id: &ContainerId,
    bundle: &Bundle,
    args: &args::Create,
    keep: &Preserved,
    global: &args::Global,
) -> Result<Prepared> {
    let spec = &bundle.config.spec;
    let linux = spec.linux().as_ref();
    let extensions = plan::annotation::read(spec)?;
    let spaces = plan::namespace::plan(linux)?;
    let layout = cgroup::layout::detect()?;
    let mut cgroup_plan = plan::cgroup::plan(linux, id.as_str(), &layout, &situation(spec, global)?)?;
    cgroup::survey(&mut cgroup_plan)?;
    let context = RootfsContext {
        bundle: &bundle.dir,
        user_ns: spaces.own_user(),
        mount_ns: spaces.own_mount(),
        cgroup_ns: spaces.new_cgroup,
        own_cgroup: cgroup_view(&cgroup_plan.record),
        terminal: spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false),
        no_pivot: args.no_pivot,
        id_maps: (spaces.uid_map.clone(), spaces.gid_map.clone()),
        user_ns_path: user_ns_path(linux),
    };
    let rootfs = plan::rootfs::plan(spec, &context)?;
    let process =
        spec.process().as_ref().map(|process| program(process, spec, &extensions, &spaces, args, keep)).transpose()?;
    let own_net = spaces.has(libc::CLONE_NEWNET);
    let devices = plan::network::plan(linux, own_net)?;
    let hooks = hooks(spec)?;
    if !hooks.create_container.is_empty() && spaces.joins.iter().any(|join| join.flag == libc::CLONE_NEWNS) {
        bail!(
            "hooks.createContainer: in a mount namespace that is joined, their paths lead to files of who lives in it"
        );
    }
    let told = plan::hook::Told {
        id: id.as_str().to_owned(),
        bundle: bundle.dir.clone(),
        annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
    };
    let proc_dir = host::proc_dir()?;
    let plan = ContainerPlan {
        id: id.as_str().to_owned(),
        unprivileged: sys::process::euid() != 0,
        cgroup_join: RefCell::default(),
        moved_later: false,
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        loopback: spaces.clone_flags & libc::CLONE_NEWNET != 0,
        rootfs: Some(rootfs),
        sysctl: plan::sysctl::plan(linux)?,
        process,
        seccomp: filter(linux, &extensions)?,
        stop_after_mounts: hooks.during_create() || !devices.is_empty(),
        hooks,
        told,
        preserve_fds: keep.total,
        // `create` gets its fifos once there is a directory for them
        gate: Gate::Channel,
        self_check: !args.no_verify,
        namespace_rules: if args.no_verify { Vec::new() } else { verify::rules(&spaces, proc_dir.as_fd())? },
        namespaces: spaces,
        proc_dir,
    };
    let rdt = plan::rdt::plan(linux, id.as_str())?;
    Ok(Prepared { plan, cgroup: cgroup_plan, devices, rdt, pidfd_receiver: extensions.pidfd_receiver })
}

fn program(
    process: &Process,
    spec: &Spec,
    extensions: &Extensions,
    spaces: &NamespacePlan,
    args: &args::Create,
    keep: &Preserved,
) -> Result<ProcessPlan> {
    let linux = spec.linux().as_ref();
    let context = ProcessContext {
        user_ns: spaces.own_user(),
        uid_maps: spaces.uid_map.clone(),
        gid_maps: spaces.gid_map.clone(),
        setgroups_denied: host::setgroups_denied() || spaces.new_user() && serve::denies_setgroups(&spaces.gid_map),
        listen_fds: keep.listen.clone(),
        available_caps: available_caps(spaces.own_user())?,
        rootless: host::rootless(),
        keep_groups: extensions.keep_groups,
        ..ProcessContext::default()
    };
    let mut process = plan::process::plan(process, linux, &context)?;
    let filtered = extensions.seccomp_program.is_some() || linux.is_some_and(|linux| linux.seccomp().is_some());
    finish_process(&mut process, filtered, args.no_new_keyring)?;
    Ok(process)
}

/// The hooks of a configuration, with the files open that its annotations name for their output.
///
/// # Errors
/// A file that cannot be opened or made, by its annotation.
pub(super) fn hooks(spec: &Spec) -> Result<plan::hook::HooksPlan> {
    let mut hooks = without_files(spec);
    let [out, err] = plan::annotation::read(spec)?.hook_output;
    // now and not by the hook: what its path means inside the container is the image's affair
    hooks.redirect(&[open_output("stdout", out)?, open_output("stderr", err)?]);
    Ok(hooks)
}

/// The hooks of a container that is there: a file that is no more must not keep them from being run.
pub(super) fn hooks_of_old(spec: &Spec) -> plan::hook::HooksPlan {
    hooks(spec).unwrap_or_else(|_| without_files(spec))
}

fn without_files(spec: &Spec) -> plan::hook::HooksPlan {
    let env = spec.process().as_ref().and_then(|process| process.env().clone()).unwrap_or_default();
    plan::hook::plan(spec.hooks().as_ref(), &env)
}

fn open_output(name: &str, path: Option<PathBuf>) -> Result<Option<Arc<File>>> {
    let Some(path) = path else { return Ok(None) };
    let open = || -> std::io::Result<File> {
        let file = Place::find(&path)?.append(0o600)?;
        // a hook that writes to a fifo waits for its reader
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        Ok(file)
    };
    Ok(Some(Arc::new(open().with_context(|| format!("annotations[\"run.oci.hooks.{name}\"]: {path:?}"))?)))
}

/// The finished filter.
///
/// # Errors
/// A profile that is wrong, or asks for what the kernel has not.
pub(super) fn filter(linux: Option<&Linux>, extensions: &Extensions) -> Result<Option<Filter>> {
    if let Some(program) = &extensions.seccomp_program {
        return Ok(Some(seccomp::from_bytes(program)?));
    }
    let Some(profile) = linux.and_then(|linux| linux.seccomp().as_ref()) else { return Ok(None) };
    if extensions.fail_unknown_syscall {
        let unknown = seccomp::unknown_names(profile);
        ensure!(unknown.is_empty(), "linux.seccomp.syscalls: this machine has no system call {}", unknown.join(", "));
    }
    let mut profile = profile.clone();
    if profile.listener_path().is_none() {
        profile.set_listener_path(extensions.receiver.clone());
    }
    let filter = seccomp::compile(&profile)?;
    if profile.flags().as_ref().is_some_and(|flags| !flags.is_empty()) && !sys::seccomp::flags_available(filter.flags) {
        bail!("linux.seccomp.flags: the kernel does not know one of them");
    }
    if filter.notify && filter.listener_path.is_none() {
        bail!("linux.seccomp.listenerPath: SCMP_ACT_NOTIFY needs one");
    }
    Ok(Some(filter))
}

/// The user namespace that is joined.
fn user_ns_path(linux: Option<&Linux>) -> Option<&Path> {
    namespace(linux, LinuxNamespaceType::User).flatten()
}

/// What the cgroup plan must know of the caller.
pub(super) fn situation(spec: &Spec, global: &args::Global) -> Result<Situation> {
    let rootless = host::rootless();
    let annotations = || spec.annotations().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let systemd = match global.cgroup_manager {
        CgroupManager::Systemd => {
            Some(ServiceManager { address: host::service_manager()?, user: rootless, annotations: annotations() })
        }
        CgroupManager::Cgroupfs | CgroupManager::Disabled => None,
    };
    Ok(Situation {
        manager_disabled: global.cgroup_manager == CgroupManager::Disabled,
        rootless,
        leave_out: match global.rootless {
            Some(true) => LeaveOut::WithLimits,
            None if rootless => LeaveOut::WithoutLimits,
            None | Some(false) => LeaveOut::Nothing,
        },
        own_cgroup: if rootless { cgroup::layout::own_unified_path()? } else { None },
        delegate: plan::cgroup::delegated_to(spec),
        systemd,
    })
}

/// The container's cgroup as a mount of type `cgroup` shows it.
pub(super) fn cgroup_view(record: &cgroup::CgroupRecord) -> CgroupView {
    match record.dirs.as_slice() {
        [] => CgroupView::None,
        [_] if record.is_pure_v2() => CgroupView::Unified { path: record.path.clone() },
        dirs => {
            let name = |mount: &str| mount.rsplit('/').next().unwrap_or_default().to_owned();
            let one = |dir: &cgroup::CgroupDir| (name(&dir.mount), dir.mount.clone(), record.path.clone());
            CgroupView::Legacy(dirs.iter().map(one).collect())
        }
    }
}

/// The file system part of a container that exists, from its private copy of the configuration: what was mounted where.
///
/// # Errors
/// As [`prepare`].
pub(super) fn stored_rootfs(spec: &Spec, record: &Record) -> Result<RootfsPlan> {
    let given = |kind| namespace(spec.linux().as_ref(), kind);
    let maps = |get: fn(&Linux) -> &Option<Vec<LinuxIdMapping>>| {
        spec.linux().as_ref().map(|linux| id_map(get(linux).as_deref())).unwrap_or_default()
    };
    let context = RootfsContext {
        bundle: &record.bundle,
        user_ns: given(LinuxNamespaceType::User).is_some(),
        mount_ns: given(LinuxNamespaceType::Mount).is_some(),
        cgroup_ns: given(LinuxNamespaceType::Cgroup).is_some(),
        own_cgroup: cgroup_view(&record.cgroup),
        terminal: spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false),
        no_pivot: false,
        id_maps: (maps(Linux::uid_mappings), maps(Linux::gid_mappings)),
        user_ns_path: user_ns_path(spec.linux().as_ref()),
    };
    plan::rootfs::plan(spec, &context)
}

/// The process part of a container that exists.
///
/// # Errors
/// As [`prepare`].
pub(super) fn stored_process(spec: &Spec) -> Result<Option<ProcessPlan>> {
    let Some(process) = spec.process() else { return Ok(None) };
    let linux = spec.linux().as_ref();
    let maps = |get: fn(&Linux) -> &Option<Vec<LinuxIdMapping>>| {
        linux.map(|linux| id_map(get(linux).as_deref())).unwrap_or_default()
    };
    let user_ns = match namespace(linux, LinuxNamespaceType::User) {
        Some(Some(path)) => !std::fs::File::open(path).is_ok_and(|file| is_own_user(file.as_fd()).unwrap_or(false)),
        new => new.is_some(),
    };
    let gid_maps = maps(Linux::gid_mappings);
    let context = ProcessContext {
        user_ns,
        setgroups_denied: host::setgroups_denied() || user_ns && serve::denies_setgroups(&gid_maps),
        uid_maps: maps(Linux::uid_mappings),
        gid_maps,
        available_caps: available_caps(user_ns)?,
        rootless: host::rootless(),
        keep_groups: plan::annotation::read(spec)?.keep_groups,
        ..ProcessContext::default()
    };
    plan::process::plan(process, linux, &context).map(Some)
}

/// Whether a container has a seccomp filter.
///
/// # Errors
/// A wrong annotation.
pub(super) fn has_filter(spec: &Spec) -> Result<bool> {
    let configured = spec.linux().as_ref().is_some_and(|linux| linux.seccomp().is_some());
    Ok(configured || plan::annotation::read(spec)?.seccomp_program.is_some())
}

/// The namespaces of a container that exists: the kind, and the path of one that was joined.
pub(super) fn stored_namespaces(spec: &Spec) -> Vec<(&'static str, Option<CString>)> {
    let linux = spec.linux().as_ref();
    let found = TYPES.into_iter().filter_map(|(kind, name, _)| Some((name, namespace(linux, kind)?)));
    found.map(|(name, path)| (name, path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok()))).collect()
}

/// The namespace of a kind: `Some(None)` is a new one, `Some(Some(path))` one that is joined.
fn namespace(linux: Option<&Linux>, kind: LinuxNamespaceType) -> Option<Option<&Path>> {
    let mut all = linux.and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten();
    let path = all.find(|namespace| namespace.typ() == kind)?.path().as_deref();
    Some(path.filter(|path| !path.as_os_str().is_empty()))
}

/// Namespaces that a checkpoint leaves out and a restore joins again: name below `/proc/PID/ns`, key in the images.
pub(super) fn external_namespaces(spec: &Spec) -> Vec<(&'static str, &'static str)> {
    let all = [(LinuxNamespaceType::Network, "net", NET_KEY), (LinuxNamespaceType::Pid, "pid", PID_KEY)];
    let joined = |kind| namespace(spec.linux().as_ref(), kind).flatten().is_some();
    all.into_iter().filter(|(kind, ..)| joined(*kind)).map(|(_, name, key)| (name, key)).collect()
}

/// The joined network namespace in the images, as other runtimes call it too.
pub(super) const NET_KEY: &str = "extRootNetNS";
/// The joined pid namespace in the images.
pub(super) const PID_KEY: &str = "extRootPidNS";

/// The capabilities that croci can pass on; in a user namespace of the container's own it has them all.
pub(super) fn available_caps(user_ns: bool) -> Result<Option<u64>> {
    if user_ns {
        return Ok(None);
    }
    Ok(Some(sys::cred::capget().context("own capabilities")?.permitted))
}

/// What only the machine and the command line tell of a process.
pub(super) fn finish_process(process: &mut ProcessPlan, filtered: bool, no_new_keyring: bool) -> Result<()> {
    init::lsm::check(process)?;
    process.new_keyring = !no_new_keyring;
    process.filtered = filtered && !process.no_new_privs;
    Ok(())
}
