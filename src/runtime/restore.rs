//! `restore`: the transaction that makes a container from CRIU's images. All but the processes is created as by `create`:
//! journal, cgroup, commit, or everything undone.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::create::journal;
use super::criu::{DESCRIPTORS, Dirs, converse, options, require, text};
use super::criu_rootfs::MountPoints;
use super::namespaces::drop_own_namespaces;
use super::options::{self, CgroupsMode, Mode};
use super::prepare::{self, Preparation, open_console, preserved};
use super::stored::{NET_KEY, PID_KEY};
use super::terminal::Console;
use super::{destroy, outputs, verify};
use crate::bundle;
use crate::bundle::Bundle;
use crate::cgroup;
use crate::cgroup::Cgroup;
use crate::config::ContainerId;
use crate::criu;
use crate::criu::CriuRequestType;
use crate::criu::Notify;
use crate::criu::Options;
use crate::criu::Start;
use crate::criu::Swrk;
use crate::hook;
use crate::hook::Hooks;
use crate::opened::Opened;
use crate::plan::external::External;
use crate::rootfs;
use crate::state::Entry;
use crate::state::Record;
use crate::state::Store;
use crate::state::status;
use crate::state::store::CONFIG;
use crate::state::store::Locked;
use crate::state::store::RECORD;
use base::mountinfo;
use base::mountinfo::Mount;
use base::signal_guard::SignalGuard;
use linux::place;

/// CRIU wants a root that is a mount of its own, on a directory that nothing lies over: made in the state directory,
/// mounted in a namespace of CRIU's. A user namespace has no way into the state directory: then it is the root's own, and
/// the images are shown here.
const ROOT: &str = "criu-root";

/// What is read at most of the names of three files, in bytes.
const LARGEST_DESCRIPTORS: u64 = 1 << 20;

/// A container that runs again.
#[derive(Debug)]
pub(crate) struct Restored {
    /// Its state directory.
    pub entry: Entry,
    /// Held until the verb is done.
    pub lock: Locked,
    /// As committed.
    pub record: Record,
    /// Its first process, a child of this one.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
    /// The master of its terminal, when croci itself is the terminal's other end.
    pub console: Option<OwnedFd>,
    /// Its hooks.
    pub hooks: Hooks,
    /// What went less than well.
    pub warnings: Vec<String>,
    /// Protections that were asked for and that this host does not have.
    pub unprotected: Vec<String>,
    /// Signals wait until the caller attends the process.
    pub interrupt: SignalGuard,
}

/// Restores a container.
///
/// # Errors
/// CRIU is missing or failed (with an excerpt of its log), or a part cannot be created: all is undone.
pub(crate) fn restore(
    store: &Store,
    args: &options::Restore,
    cgroups: options::Cgroups,
    criu: Option<&std::path::Path>,
) -> Result<Restored> {
    let id = ContainerId::new(&args.create.id)?;
    let program = criu::find(criu)?;
    require(&program, false, args.criu.lazy_pages)?;
    let mode = if args.detach { Mode::RunDetached } else { Mode::RunForeground };
    let mut bundle = bundle::open(&args.create.bundle, None)?;
    drop_own_namespaces(&mut bundle)?;
    let keep = preserved(0)?;
    let console = open_console(&args.create, &bundle, mode)?;
    let prepared = prepare::prepare(&id, &bundle, &args.create, &keep, cgroups)?;
    let mut opened = prepared.open()?;
    if !prepared.plan.namespaces.own_mount() {
        bail!("linux.namespaces: a container without a mount namespace of its own cannot be restored");
    }
    prepared.open_rootfs(&mut opened)?;
    let dirs = Dirs::open(&args.criu, "restore.log", false)?;
    let interrupt = SignalGuard::block()?;
    let (entry, lock) = store.create(&id)?;
    let record = match journal(&id, &bundle, &args.create, &prepared, None) {
        Ok(record) => record,
        Err(err) => {
            let _ = entry.remove();
            return Err(err);
        }
    };
    let interrupting = &interrupt;
    let mut making = Restoration {
        entry: &entry,
        record,
        args,
        prepared: &prepared,
        opened: &opened,
        interrupt: interrupting,
        console,
        alive: None,
    };
    let made = making.make(&bundle, &dirs, &program);
    let Restoration { record, alive, .. } = making;
    let mut warnings = bundle.config.warnings;
    warnings.extend(prepared.cgroup.warnings.clone());
    let mut plan = prepared.plan;
    let unprotected = opened.take_unprotected(&mut plan);
    let hooks = opened.into_hooks(plan.hooks, plan.hook_state);
    match (made, alive) {
        (Ok(()), Some(Alive { pid, pidfd, console })) => {
            Ok(Restored { entry, lock, record, pid, pidfd, console, hooks, warnings, unprotected, interrupt })
        }
        (made, _) => {
            destroy::undo(&entry, &record, &hooks);
            Err(made.err().unwrap_or_else(|| anyhow::anyhow!("criu restored no process")))
        }
    }
}

/// The process that CRIU made.
#[derive(Debug)]
struct Alive {
    pid: i32,
    pidfd: OwnedFd,
    console: Option<OwnedFd>,
}

/// A container between the journal and the commit.
struct Restoration<'a> {
    entry: &'a Entry,
    record: Record,
    args: &'a options::Restore,
    prepared: &'a Preparation,
    opened: &'a Opened,
    interrupt: &'a SignalGuard,
    console: Option<Console>,
    alive: Option<Alive>,
}

impl<'a> Restoration<'a> {
    fn make(&mut self, bundle: &Bundle, dirs: &Dirs, program: &Path) -> Result<()> {
        self.record.restored = true;
        self.entry.write_new(RECORD, &serde_json::to_vec(&self.record)?)?;
        self.entry.write_new(CONFIG, &bundle.text)?;
        // its maker cleans up after itself: what it did not make is not ours to destroy
        self.record.cgroup = cgroup::CgroupRecord::default();
        let mut cgroup = cgroup::create(&self.prepared.cgroup)?;
        self.record.cgroup = cgroup.record().clone();
        let rootfs = self.prepared.plan.rootfs.as_ref().context("root: missing")?;
        let places = MountPoints::make(rootfs, self.opened_rootfs()?)?;
        let place = self.entry.path.join(ROOT);
        DirBuilder::new().mode(0o700).create(&place).with_context(|| format!("{place:?}"))?;
        let result = self.run(dirs, program, &mut cgroup, &place);
        if result.is_err() {
            places.undo();
        }
        result.map_err(|err| dirs.explain(err))?;
        std::fs::remove_dir(&place).with_context(|| format!("remove {place:?}"))?;
        cgroup.apply_deferred(&self.prepared.cgroup)
    }

    fn run(&mut self, dirs: &Dirs, program: &Path, cgroup: &mut Cgroup, place: &Path) -> Result<()> {
        let joins = cgroup.join_fds()?;
        let rootfs = self.prepared.plan.rootfs.as_ref().context("root: missing")?;
        let opened = self.opened_rootfs()?;
        let root = if rootfs.user_ns { &rootfs.path } else { place };
        self.give_streams();
        let mut inherit = self.namespaces();
        let streams = streams(dirs)?;
        inherit.extend(streams.iter().map(|(key, fd)| (key.clone(), fd.as_raw_fd())));
        let fds: Vec<i32> = inherit.iter().map(|(_, fd)| *fd).collect();
        let before = || {
            for file in &joins {
                nix::unistd::write(file, b"0").context("join the cgroup")?;
            }
            super::criu_rootfs::attach_root(opened, root)?;
            let mut open = dirs.for_criu()?;
            if rootfs.user_ns {
                super::criu_rootfs::show_images(&mut open, &dirs.images_path, place)?;
            }
            Ok(open)
        };
        let start = Start { program, inherit: &fds, own_stdio: true, cgroup: cgroup.clone_into()?, before: &before };
        let mut options = self.options(dirs, root)?;
        options.inherit = inherit;
        let mut criu = Swrk::start(&start)?;
        self.record.criu = Some(status::of(criu.pid).context("the process of criu")?);
        options.cgroup_roots = if self.record.cgroup.dirs.is_empty() { Vec::new() } else { cgroup_roots(criu.pid)? };
        let mut master = None;
        let interrupt = self.interrupt;
        let wait = |fd: BorrowedFd<'_>| interrupt.wait_readable(fd);
        converse(&mut criu, CriuRequestType::Restore, &mut options, &wait, &mut |notify, fd| {
            if fd.is_some() {
                master = fd;
            }
            self.notice(notify, &mut master)
        })?;
        criu.finish()?;
        self.check()
    }

    fn opened_rootfs(&self) -> Result<&'a rootfs::OpenedRootfs> {
        self.opened.rootfs.as_ref().context("the root was not opened")
    }

    /// The images decide what the processes are: that may be less than the configuration allows, never more.
    fn check(&self) -> Result<()> {
        let Some(alive) = &self.alive else { return Ok(()) };
        // told to leave cgroups alone, CRIU makes no cgroup namespace either
        let ignored = self.args.criu.cgroups == CgroupsMode::Ignore;
        verify::restored(alive.pid, (&self.prepared.plan, self.opened), (!ignored).then_some(&self.record.cgroup))
    }

    /// Namespaces that are joined.
    fn namespaces(&self) -> Vec<(String, i32)> {
        let namespaces = &self.opened.namespaces;
        let net = namespaces.joins.iter().filter(|join| join.flag == libc::CLONE_NEWNET).map(|join| (NET_KEY, join));
        let pid = namespaces.pid.iter().map(|join| (PID_KEY, join));
        net.chain(pid).map(|(key, join)| (key.to_owned(), join.fd.as_raw_fd())).collect()
    }

    /// CRIU opens the standard streams again as the container's user, as the program may itself.
    fn give_streams(&self) {
        let plan = &self.prepared.plan;
        let Some(process) = &plan.process else { return };
        let owner = if plan.namespaces.new_user() {
            plan.namespaces.uid_map.to_host(process.uid)
        } else {
            Some(process.uid).filter(|uid| *uid != 0)
        };
        owner.into_iter().for_each(crate::init::console::chown_stdio_to);
    }

    fn options(&self, dirs: &Dirs, root: &Path) -> Result<Options> {
        let own_cgroup = !self.record.cgroup.dirs.is_empty();
        let mut options = options(&self.args.criu, dirs, &self.record.annotations, own_cgroup)?;
        options.root = Some(text(root)?);
        options.evasive_devices = true;
        // the container's process becomes a child of this one
        options.rst_sibling = true;
        options.lsm_profile.clone_from(&self.args.lsm_profile);
        options.lsm_mount_context.clone_from(&self.args.lsm_mount_context);
        let table = mountinfo::read("/proc/self/mountinfo").context("the mount table")?;
        let left_out = self.opened_rootfs()?.without_mount();
        for external in self.prepared.plan.rootfs.iter().flat_map(|rootfs| rootfs.externals(&left_out)) {
            for (name, source) in supplied(&external, &table) {
                let line = format!("mnt[{}]:{}", text(&name)?, text(&source)?);
                if !options.external.contains(&line) {
                    options.external.push(line);
                }
            }
        }
        Ok(options)
    }

    /// What has to be done at this moment of the restore.
    fn notice(&mut self, notify: &Notify, master: &mut Option<OwnedFd>) -> Result<()> {
        let plan = &self.prepared.plan;
        match notify.script.as_str() {
            "setup-namespaces" => {
                let (state, output) = (plan.hook_state.state("creating", Some(notify.pid)), &self.opened.hook_output);
                hook::run_all(&plan.hooks.prestart, output, &state, hook::Procfs::Runtime, Some(self.interrupt))?;
                hook::run_all(&plan.hooks.create_runtime, output, &state, hook::Procfs::Runtime, Some(self.interrupt))
            }
            // the processes are complete and stand still: the last moment at which all can be taken back
            "post-restore" => self.commit(notify.pid, master.take()),
            _ => Ok(()),
        }
    }

    fn commit(&mut self, pid: i32, master: Option<OwnedFd>) -> Result<()> {
        let pidfd = linux::process::pidfd_open(pid).context("the restored process")?;
        self.record.init = Some(status::of(pid).context("the restored process")?);
        let plan = &self.prepared.plan;
        self.record.namespaces = verify::namespaces_of(pid, plan.namespaces.flags(), self.opened.proc_dir.as_fd());
        let console = match (self.console.take(), master) {
            (Some(console), Some(master)) => {
                console.send(master.as_fd())?;
                None
            }
            (None, master) => master,
            (Some(_), None) => bail!("--console-socket: criu gave no terminal"),
        };
        if let Some(path) = &self.args.create.pid_file {
            outputs::write_pid_file(path, pid)?;
        }
        self.entry.save(&self.record)?;
        self.alive = Some(Alive { pid, pidfd, console });
        Ok(())
    }
}

/// The host's side of a mount, and of those below its source: name in the images and path.
fn supplied(external: &External, table: &[Mount]) -> Vec<(PathBuf, PathBuf)> {
    let mut list = vec![(external.name.clone(), external.source.clone())];
    if external.recursive {
        let source = external.source.canonicalize().unwrap_or_else(|_| external.source.clone());
        for mount in table {
            match mount.mount_point.strip_prefix(&source) {
                Ok(below) if !below.as_os_str().is_empty() => {
                    list.push((external.name.join(below), mount.mount_point.clone()));
                }
                _ => {}
            }
        }
    }
    list
}

/// The standard streams of the images that are croci's own now: copies, for CRIU closes what it takes.
fn streams(dirs: &Dirs) -> Result<Vec<(String, OwnedFd)>> {
    let path = dirs.images_path.join(DESCRIPTORS);
    // the images may come from anywhere
    let bytes = match place::read_untrusted(dirs.images.as_fd(), OsStr::new(DESCRIPTORS), LARGEST_DESCRIPTORS) {
        // images of other makers may come without
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("{path:?}"))?,
    };
    let names: Vec<String> = serde_json::from_slice(&bytes).with_context(|| format!("{path:?}"))?;
    let mut streams: Vec<(String, OwnedFd)> = Vec::new();
    for (name, number) in names.into_iter().zip(0..3) {
        let ours = name.starts_with("pipe:") || name.starts_with("file[");
        if !ours || streams.iter().any(|(known, _)| *known == name) {
            continue;
        }
        let Some(stream) = linux::term::stdio(number) else { bail!("standard stream {number} is closed") };
        streams.push((name, stream.try_clone_to_owned().context("standard stream")?));
    }
    Ok(streams)
}

/// Where CRIU, and so the container, is in each hierarchy.
fn cgroup_roots(pid: i32) -> Result<Vec<(String, String)>> {
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    Ok(roots(&text))
}

fn roots(text: &str) -> Vec<(String, String)> {
    let mut roots = Vec::new();
    for membership in cgroup::proc::parse(text.as_bytes()) {
        let names = if membership.unified { vec![""] } else { membership.controllers.clone() };
        roots.extend(names.into_iter().map(|name| (name.to_owned(), membership.path_text().into_owned())));
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_has_its_root() {
        let got = roots("12:cpu,cpuacct:/a\n1:name=systemd:/b:c\n0::/d\n");
        let want = [("cpu", "/a"), ("cpuacct", "/a"), ("name=systemd", "/b:c"), ("", "/d")];
        assert_eq!(got, want.map(|(name, path)| (name.to_owned(), path.to_owned())));
    }
}
