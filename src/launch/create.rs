//! The transaction that makes a container: plan, journal, cgroup, clone, commit; or everything undone.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};

use super::interrupt::Interrupt;
use super::serve::{self, Served};
use super::spawn::{self, Init};
use super::terminal::Console;
use super::{destroy, hook};
use crate::bundle::{self, Bundle};
use crate::cgroup::{self, Cgroup};
use crate::cli::args;
use crate::container::store::{CONFIG, Locked, RECORD};
use crate::container::{Entry, Record, Store, record, status};
use crate::plan::cgroup::{CgroupPlan, Situation};
use crate::plan::process::{ProcessContext, ProcessPlan};
use crate::plan::rootfs::{CgroupView, RootfsContext};
use crate::plan::{self, ContainerPlan, Gate};
use crate::seccomp::Filter;
use crate::spec::ContainerId;
use crate::{host, init, log, seccomp, sys};

/// How the container is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `create`: init waits for a later `start`.
    Create,
    /// `run --detach`
    RunDetached,
    /// `run` in the foreground.
    RunForeground,
}

/// A container that is made and waits for its start.
#[derive(Debug)]
pub struct Created {
    /// Its state directory.
    pub entry: Entry,
    /// Held until the verb is done.
    pub lock: Locked,
    /// As committed.
    pub record: Record,
    /// Its process.
    pub init: Init,
    /// The master of its terminal, when croci itself is the terminal's other end.
    pub console: Option<OwnedFd>,
    /// Its hooks.
    pub hooks: plan::hook::HooksPlan,
    /// What hooks are told.
    pub told: hook::Told,
    /// What went less than well.
    pub warnings: Vec<String>,
}

/// Plans and makes a container.
///
/// # Errors
/// Whatever fails is undone: nothing is left behind but the error.
pub fn create(store: &Store, args: &args::Create, mode: Mode, no_cgroup: bool) -> Result<Created> {
    let id = ContainerId::new(&args.id)?;
    let bundle = bundle::open(&args.bundle, args.config.as_deref())?;
    let keep = preserved(args.preserve_fds)?;
    let console = open_console(args, &bundle, mode)?;
    let (mut plan, cgroup_plan) = plan(&id, &bundle, args, mode, &keep, no_cgroup)?;
    if let Some(rootfs) = &mut plan.rootfs {
        rootfs.open()?;
    }
    let interrupt = Interrupt::hold()?;
    let (entry, lock) = store.create(&id)?;
    let mut record = journal(&id, &bundle, &cgroup_plan, args, &plan)?;
    let made = make(&entry, &mut record, &mut plan, &cgroup_plan, &bundle, mode, &interrupt);
    let (init, served) = match made {
        Ok(made) => made,
        Err(err) => {
            destroy::undo(&entry, &record, &plan.hooks, &plan.told);
            return Err(err);
        }
    };
    let mut created = Created {
        entry,
        lock,
        record,
        init,
        console: None,
        hooks: plan.hooks,
        told: plan.told,
        warnings: bundle.config.warnings,
    };
    created.warnings.extend(plan.process.into_iter().flat_map(|process| process.warnings));
    match commit(&mut created, served, plan.seccomp.as_ref(), console, args) {
        Ok(()) => Ok(created),
        Err(err) => {
            created.init.abort();
            destroy::undo(&created.entry, &created.record, &created.hooks, &created.told);
            Err(err)
        }
    }
}

/// How many descriptors from 3 on pass to the program: `--preserve-fds` after those of socket activation (FD-2).
pub(super) fn preserved(asked: u32) -> Result<Preserved> {
    let listen: u32 = std::env::var("LISTEN_FDS").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
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

/// Descriptors that pass to the program.
#[derive(Debug)]
pub(super) struct Preserved {
    pub total: u32,
    pub listen: Option<(u32, Option<String>)>,
}

/// Connects to the console socket before anything is made, and refuses what cannot work (PR-4).
fn open_console(args: &args::Create, bundle: &Bundle, mode: Mode) -> Result<Option<Console>> {
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

fn plan(
    id: &ContainerId,
    bundle: &Bundle,
    args: &args::Create,
    mode: Mode,
    keep: &Preserved,
    no_cgroup: bool,
) -> Result<(ContainerPlan, CgroupPlan)> {
    let spec = &bundle.config.spec;
    let linux = spec.linux().as_ref();
    let spaces = plan::namespace::plan(linux)?;
    let layout = cgroup::layout::detect()?;
    let mut cgroup_plan = plan::cgroup::plan(linux, id.as_str(), &layout, &situation(spec, no_cgroup)?)?;
    cgroup::survey(&mut cgroup_plan)?;
    let context = RootfsContext {
        bundle: &bundle.dir,
        user_ns: spaces.own_user(),
        mount_ns: spaces.own_mount(),
        cgroup_ns: spaces.new_cgroup,
        own_cgroup: cgroup_view(&cgroup_plan),
        terminal: spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false),
        no_pivot: args.no_pivot,
        id_maps: (spaces.uid_map.clone(), spaces.gid_map.clone()),
        user_ns_path: user_ns_path(linux),
    };
    let rootfs = plan::rootfs::plan(spec, &context)?;
    let process = match spec.process() {
        Some(process) => {
            let context = ProcessContext {
                user_ns: spaces.own_user(),
                uid_maps: spaces.uid_map.clone(),
                gid_maps: spaces.gid_map.clone(),
                setgroups_denied: spaces.new_user() && sys::process::euid() != 0 && spaces.gid_map.len() == 1,
                listen_fds: keep.listen.clone(),
                keep_groups: false,
                available_caps: available_caps(spaces.own_user())?,
                is_exec: false,
                rootless: host::rootless(),
            };
            let mut process = plan::process::plan(process, linux, &context)?;
            let filtered = linux.is_some_and(|linux| linux.seccomp().is_some());
            finish_process(&mut process, filtered, args.no_new_keyring)?;
            Some(process)
        }
        None => None,
    };
    let seccomp = match linux.and_then(|linux| linux.seccomp().as_ref()) {
        Some(profile) => Some(seccomp::compile(profile)?),
        None => None,
    };
    let env = spec.process().as_ref().and_then(|process| process.env().clone()).unwrap_or_default();
    let hooks = plan::hook::plan(spec.hooks().as_ref(), &env);
    let told = hook::Told {
        id: id.as_str().to_owned(),
        bundle: bundle.dir.clone(),
        annotations: spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
    };
    let plan = ContainerPlan {
        id: id.as_str().to_owned(),
        target: None,
        cgroup_join: Vec::new(),
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        loopback: spaces.clone_flags & libc::CLONE_NEWNET != 0,
        namespaces: spaces,
        rootfs: Some(rootfs),
        sysctl: plan::sysctl::plan(linux)?,
        process,
        seccomp,
        stop_after_mounts: hooks.during_create(),
        hooks,
        told,
        preserve_fds: keep.total,
        // `create` gets its fifos once there is a directory for them
        gate: match mode {
            Mode::Create | Mode::RunDetached | Mode::RunForeground => Gate::Channel,
        },
        proc_dir: host::proc_dir()?,
    };
    Ok((plan, cgroup_plan))
}

/// The user namespace that is joined.
fn user_ns_path(linux: Option<&Linux>) -> Option<&Path> {
    let mut all = linux.and_then(|linux| linux.namespaces().as_ref()).into_iter().flatten();
    all.find(|namespace| namespace.typ() == LinuxNamespaceType::User)?.path().as_deref()
}

/// What the cgroup plan must know of the caller.
pub(super) fn situation(spec: &Spec, no_cgroup: bool) -> Result<Situation> {
    let rootless = host::rootless();
    Ok(Situation {
        manager_disabled: no_cgroup,
        rootless,
        own_cgroup: if rootless { cgroup::layout::own_unified_path()? } else { None },
        delegate: plan::cgroup::delegated_to(spec),
    })
}

/// The container's cgroup as a mount of type `cgroup` shows it.
fn cgroup_view(plan: &CgroupPlan) -> CgroupView {
    let record = &plan.record;
    match record.dirs.as_slice() {
        [] => CgroupView::None,
        [dir] if record.is_pure_v2() => CgroupView::Unified { path: record.path_in(dir) },
        dirs => {
            let name = |mount: &str| mount.rsplit('/').next().unwrap_or_default().to_owned();
            let one = |dir: &cgroup::CgroupDir| (name(&dir.mount), dir.mount.clone(), record.path.clone());
            CgroupView::Legacy(dirs.iter().map(one).collect())
        }
    }
}

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

/// The record before anything outside the state directory exists.
fn journal(
    id: &ContainerId,
    bundle: &Bundle,
    cgroup: &CgroupPlan,
    args: &args::Create,
    plan: &ContainerPlan,
) -> Result<Record> {
    let root = bundle.config.spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    Ok(Record {
        format: record::FORMAT,
        id: id.as_str().to_owned(),
        bundle: bundle.dir.clone(),
        rootfs: bundle.dir.join(root),
        created: log::rfc3339(SystemTime::now()),
        owner: sys::process::euid(),
        boot_id: status::boot_id().context("boot id")?,
        runtime: status::myself().context("own process")?,
        init: None,
        cgroup: cgroup.record(),
        annotations: plan.told.annotations.clone(),
        resources: None,
        no_new_keyring: args.no_new_keyring,
        own_pid_namespace: plan.namespaces.clone_flags & libc::CLONE_NEWPID != 0,
        mounts_outside: !plan.namespaces.own_mount(),
        resctrl: None,
    })
}

/// From the journal to an init that is ready.
fn make(
    entry: &Entry,
    record: &mut Record,
    plan: &mut ContainerPlan,
    cgroup_plan: &CgroupPlan,
    bundle: &Bundle,
    mode: Mode,
    interrupt: &Interrupt,
) -> Result<(Init, Served)> {
    entry.write_new(RECORD, &serde_json::to_vec(record)?)?;
    entry.write_new(CONFIG, &bundle.text)?;
    if mode == Mode::Create {
        let (start, status) = entry.make_fifos()?;
        plan.gate = Gate::Fifos { start, status };
    }
    let mut cgroup = cgroup::create(cgroup_plan)?;
    record.cgroup = cgroup.record().clone();
    plan.cgroup_join = cgroup.join_fds()?;
    let init = spawn::spawn(plan, cgroup.clone_into()?)?;
    let served = serve_init(entry, record, plan, &init, interrupt).and_then(|served| {
        cgroup.settle(cgroup_plan)?;
        Ok(served)
    });
    match served {
        Ok(served) => Ok((init, served)),
        Err(err) => {
            init.abort();
            Err(after_oom(err, &cgroup))
        }
    }
}

fn serve_init(
    entry: &Entry,
    record: &mut Record,
    plan: &ContainerPlan,
    init: &Init,
    interrupt: &Interrupt,
) -> Result<Served> {
    // while init works: all that the commit needs but the rename
    record.init = Some(status::of(init.pid).context("init")?);
    entry.prepare(record)?;
    let pid = init.pid;
    let mut at_mounts = || {
        let state = plan.told.state("creating", Some(pid));
        hook::run_all(&plan.hooks.prestart, &state)?;
        hook::run_all(&plan.hooks.create_runtime, &state)
    };
    serve::until_ready(init, plan, interrupt, &mut at_mounts)
}

/// A memory limit below what init itself needs shows as a killed init: say so.
fn after_oom(err: anyhow::Error, cgroup: &Cgroup) -> anyhow::Error {
    let kills = cgroup.oom_events().and_then(|watch| watch.map_or(Ok(None), |mut watch| watch.kills()));
    match kills {
        Ok(Some(1..)) => err.context("killed by the OOM killer: the memory limit is too low to start"),
        _ => err,
    }
}

/// The commit and what callers get with it; init is let go at the very end.
fn commit(
    created: &mut Created,
    served: Served,
    seccomp: Option<&Filter>,
    console: Option<Console>,
    args: &args::Create,
) -> Result<()> {
    created.warnings.extend(served.warnings);
    if let (Some(listener), Some(filter)) = (&served.listener, seccomp) {
        send_listener(listener.as_fd(), filter, &created.told, "creating", created.init.pid, created.init.pid)?;
    }
    match (console, served.console) {
        (Some(console), Some(master)) => console.send(master.as_fd())?,
        (None, master) => created.console = master,
        (Some(_), None) => bail!("init gave no terminal"),
    }
    if let Some(path) = &args.pid_file {
        write_pid_file(path, created.init.pid)?;
    }
    if let Some(path) = &args.pidfd_socket {
        send_pidfd(path, &created.init)?;
    }
    created.entry.commit()
}

/// Hands the listener to its agent; `of` is the filtered process, `pid` the container's.
pub(super) fn send_listener(
    listener: BorrowedFd<'_>,
    filter: &Filter,
    told: &hook::Told,
    status: &str,
    pid: i32,
    of: i32,
) -> Result<()> {
    let path = filter.listener_path.as_deref().context("linux.seccomp.listenerPath is not set")?;
    let state = serde_json::from_slice(&told.state(status, Some(pid)))?;
    super::seccomp_listener::send(path, listener, of, filter.listener_metadata.as_deref(), state)
}

/// Digits and nothing else, there at once or not at all (CL-6).
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let told = || format!("--pid-file {path:?}");
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().with_context(told)?);
    name.push(format!(".{}", std::process::id()));
    let aside = path.with_file_name(name);
    let written = std::fs::File::create(&aside)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| std::fs::rename(&aside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written.with_context(told)
}

/// Hands over a descriptor of the process (CL-12).
pub(super) fn send_pidfd(path: &Path, init: &Init) -> Result<()> {
    let told = || format!("--pidfd-socket {path:?}");
    let stream = std::os::unix::net::UnixStream::connect(path).with_context(told)?;
    sys::socket::send(stream.as_fd(), b"pidfd", &[init.pidfd.as_fd()]).with_context(told)
}
