//! `restore`: the steps of the transaction that creates a container from CRIU's images.

use base::error::{Code, Coding as _};
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::criu::{DESCRIPTORS, Dirs, converse, options, require, text};
use super::criu_rootfs::MountPoints;
use super::namespaces::{drop_own_namespaces, restored_time};
use super::options::{self, CgroupsMode, Mode};
use super::outputs::Outputs;
use super::prepare::{self, Preparation, open_console, preserved};
use super::stored::{NET_KEY, PID_KEY};
use super::terminal::Foreground;
use super::transaction::{Committed, Transaction, planned_record};
use super::verify;
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
use crate::opened::Opened;
use crate::plan::external::External;
use crate::rootfs;
use crate::state::Record;
use crate::state::Store;
use crate::state::status;
use base::mountinfo;
use base::mountinfo::Mount;
use base::signal_guard::SignalGuard;
use linux::place;

/// Directory in the state directory on which the root file system is mounted for CRIU, in CRIU's own mount namespace,
/// because CRIU requires a root that is a mount with no other mount over it. With a user namespace the root is mounted
/// on its own path, because processes there cannot enter the state directory, and the images are mounted here.
const ROOT: &str = "criu-root";

/// Maximum length in bytes of the file with the names of the standard streams.
const MAX_DESCRIPTORS_BYTES: u64 = 1 << 20;

/// A restored container whose processes run again.
#[derive(Debug)]
pub(crate) struct Restored {
    /// The container.
    pub container: Committed,
    /// First process, a child of the runtime.
    pub process: RestoredProcess,
    /// Blocks the signals that ask the runtime to stop, until dropped.
    pub interrupt: SignalGuard,
}

/// The first process of a restored container.
#[derive(Debug)]
pub(crate) struct RestoredProcess {
    /// Pid in the runtime's pid namespace.
    pub pid: i32,
    /// Descriptor of the process, readable when it has ended.
    pub pidfd: OwnedFd,
    /// Pty master, when croci itself is the other end of the terminal.
    pub console: Option<Foreground>,
}

/// Restores a container.
///
/// # Errors
/// CRIU is missing or failed (with an excerpt of its log), or a part cannot be created; everything that was created is
/// removed again.
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
    let prepared = prepare::prepare(&id, &bundle, &args.create, &keep, cgroups).or_code(Code::ConfigInvalid)?;
    let mut opened = prepared.open()?;
    if !prepared.plan.namespaces.own_mount() {
        bail!("linux.namespaces: a container without a mount namespace of its own cannot be restored");
    }
    prepared.open_rootfs(&mut opened)?;
    let dirs = Dirs::open(&args.criu, "restore.log", false)?;
    let record = Record { restored: true, ..planned_record(&bundle, &args.create, &prepared)? };
    let outputs = Outputs::open(console, args.create.pid_file.as_deref(), [])?;
    let interrupt = SignalGuard::block()?;
    let mut restoration = Restoration {
        transaction: Transaction::begin(store, &id, record, &interrupt)?,
        args,
        prepared,
        opened,
        outputs: Some(outputs),
        process: None,
    };
    let result = restoration.run(&bundle, &dirs, &program);
    let Restoration { transaction, prepared, opened, .. } = restoration;
    let (container, process) = transaction.finish(result, prepared, opened, bundle.config.warnings)?;
    Ok(Restored { container, process, interrupt })
}

/// A container between the creation of its state directory and the commit.
struct Restoration<'a> {
    transaction: Transaction<'a>,
    args: &'a options::Restore,
    prepared: Preparation,
    opened: Opened,
    /// Outputs for the caller, until the commit.
    outputs: Option<Outputs>,
    /// First process, from the commit on.
    process: Option<RestoredProcess>,
}

impl Restoration<'_> {
    /// Takes all steps from the journal to the self-check; CRIU's notification of the complete processes commits.
    fn run(&mut self, bundle: &Bundle, dirs: &Dirs, program: &Path) -> Result<RestoredProcess> {
        self.transaction.write_journal(&bundle.text)?;
        let mut cgroup = self.transaction.create_cgroup(&mut self.prepared)?;
        let rootfs = self.prepared.plan.rootfs.as_ref().code(Code::ConfigRequired, "root: missing")?;
        let mount_points = MountPoints::create(rootfs, self.opened_rootfs()?)?;
        let root = self.transaction.entry.path.join(ROOT);
        DirBuilder::new().mode(0o700).create(&root).with_context(|| format!("{root:?}"))?;
        let result = self.run_criu(dirs, program, &mut cgroup, &root);
        if result.is_err() {
            mount_points.undo();
        }
        result.map_err(|err| dirs.explain(err))?;
        std::fs::remove_dir(&root).with_context(|| format!("remove {root:?}"))?;
        cgroup.apply_deferred(&self.prepared.cgroup)?;
        self.process.take().code(Code::CriuFailed, "criu restored no process")
    }

    fn run_criu(&mut self, dirs: &Dirs, program: &Path, cgroup: &mut Cgroup, place: &Path) -> Result<()> {
        let joins = cgroup.join_fds()?;
        let rootfs = self.prepared.plan.rootfs.as_ref().code(Code::ConfigRequired, "root: missing")?;
        let opened = self.opened_rootfs()?;
        let (user_ns, root) = (rootfs.user_ns, if rootfs.user_ns { &rootfs.path } else { place }.to_owned());
        self.chown_stdio();
        let mut inherit = self.namespaces();
        let streams = streams(dirs)?;
        inherit.extend(streams.iter().map(|(key, fd)| (key.clone(), fd.as_raw_fd())));
        let fds: Vec<i32> = inherit.iter().map(|(_, fd)| *fd).collect();
        let before = || {
            for file in &joins {
                nix::unistd::write(file, b"0").code(Code::CgroupFailed, "join the cgroup")?;
            }
            super::criu_rootfs::attach_root(opened, &root)?;
            let mut open = dirs.for_criu()?;
            if user_ns {
                super::criu_rootfs::show_images(&mut open, &dirs.images_path, place)?;
            }
            Ok(open)
        };
        let start = Start { program, inherit: &fds, own_stdio: true, cgroup: cgroup.clone_into()?, before: &before };
        let mut options = self.options(dirs, &root)?;
        options.inherit = inherit;
        let mut criu = Swrk::start(&start)?;
        let record = &mut self.transaction.record;
        record.criu = Some(status::process_id(criu.pid).code(Code::CriuFailed, "the process of criu")?);
        options.cgroup_roots = if record.cgroup.dirs.is_empty() { Vec::new() } else { cgroup_roots(criu.pid)? };
        let mut master = None;
        let interrupt = self.transaction.interrupt;
        let wait = |fd: BorrowedFd<'_>| interrupt.wait_readable(fd);
        converse(&mut criu, CriuRequestType::Restore, &mut options, &wait, &mut |notify, fd| {
            if fd.is_some() {
                master = fd;
            }
            self.on_notify(notify, &mut master)
        })?;
        criu.finish()?;
        self.check()
    }

    fn opened_rootfs(&self) -> Result<&rootfs::OpenedRootfs> {
        self.opened.rootfs.as_ref().context("the root was not opened")
    }

    /// Compares the first process with the plan, because the images decide what it is: it may have less than the
    /// configuration allows, never more.
    fn check(&self) -> Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        // in the mode "ignore" CRIU creates no cgroup namespace either
        let ignored = self.args.criu.cgroups == CgroupsMode::Ignore;
        verify::restored(
            process.pid,
            (&self.prepared.plan, &self.opened),
            (!ignored).then_some(&self.transaction.record.cgroup),
        )
    }

    /// Returns key and descriptor of the namespaces that are joined.
    fn namespaces(&self) -> Vec<(String, i32)> {
        let namespaces = &self.opened.namespaces;
        let net = namespaces.joins.iter().filter(|join| join.flag == libc::CLONE_NEWNET).map(|join| (NET_KEY, join));
        let pid = namespaces.pid.iter().map(|join| (PID_KEY, join));
        net.chain(pid).map(|(key, join)| (key.to_owned(), join.fd.as_raw_fd())).collect()
    }

    /// Changes the owner of the standard streams to the container's user, because CRIU opens them again as that user.
    fn chown_stdio(&self) {
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
        let own_cgroup = !self.transaction.record.cgroup.dirs.is_empty();
        let mut options = options(&self.args.criu, dirs, &self.transaction.record.annotations, own_cgroup)?;
        options.root = Some(text(root)?);
        options.evasive_devices = true;
        // the container's process becomes a child of the runtime
        options.rst_sibling = true;
        options.lsm_profile.clone_from(&self.args.lsm_profile);
        options.lsm_mount_context.clone_from(&self.args.lsm_mount_context);
        let table = mountinfo::read("/proc/self/mountinfo").context("the mount table")?;
        let left_out = self.opened_rootfs()?.without_mount();
        for external in self.prepared.plan.rootfs.iter().flat_map(|rootfs| rootfs.externals(&left_out)) {
            for (name, source) in host_mounts(&external, &table) {
                let line = format!("mnt[{}]:{}", text(&name)?, text(&source)?);
                if !options.external.contains(&line) {
                    options.external.push(line);
                }
            }
        }
        Ok(options)
    }

    /// Does the runtime's own work at a notification of CRIU. `master`: of the container's terminal.
    fn on_notify(&mut self, notify: &Notify, master: &mut Option<OwnedFd>) -> Result<()> {
        match notify.script.as_str() {
            "setup-namespaces" => self.transaction.run_hooks(&self.prepared, &self.opened, notify.pid),
            // the processes are complete and stopped: the last moment at which CRIU ends them all on a failure
            "post-restore" => self.commit(notify.pid, master.take()),
            _ => Ok(()),
        }
    }

    fn commit(&mut self, pid: i32, master: Option<OwnedFd>) -> Result<()> {
        let pidfd = linux::process::pidfd_open(pid).context("the restored process")?;
        let (record, plan) = (&mut self.transaction.record, &self.prepared.plan);
        record.init = Some(status::process_id(pid).context("the restored process")?);
        let kinds = plan.namespaces.flags() | restored_time(pid)?;
        record.namespaces = verify::namespaces_of(pid, kinds, self.opened.proc_dir.as_fd());
        let outputs = self.outputs.take().code(Code::CriuFailed, "criu restored a second process")?;
        let console = self.transaction.commit(outputs, (pid, pidfd.as_fd()), master)?;
        self.process = Some(RestoredProcess { pid, pidfd, console });
        Ok(())
    }
}

/// Returns the sources on the host of a mount and of those below its source, as name in the images and path.
fn host_mounts(external: &External, table: &[Mount]) -> Vec<(PathBuf, PathBuf)> {
    // CRIU looks for the path among the mount points as a text, so that `/bundle/.` would not be found
    let source = external.source.canonicalize().unwrap_or_else(|_| external.source.clone());
    let mut list = vec![(external.name.clone(), source.clone())];
    if external.recursive {
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

/// Returns the standard streams of the images that croci's own replace, as copies, because CRIU closes those that it
/// gets.
fn streams(dirs: &Dirs) -> Result<Vec<(String, OwnedFd)>> {
    let path = dirs.images_path.join(DESCRIPTORS);
    // untrusted, because the images may be from anywhere
    let bytes = match place::read_untrusted(dirs.images.as_fd(), OsStr::new(DESCRIPTORS), MAX_DESCRIPTORS_BYTES) {
        // images of other programs may not have the file
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

/// Returns the cgroup of CRIU, and so of the container, in each hierarchy.
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
