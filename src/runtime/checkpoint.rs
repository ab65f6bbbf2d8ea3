//! `checkpoint`: CRIU saves the processes of a container; the images only name mounts and files of the host.

use base::coded;
use base::error::{Code, Coding as _};
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};

use super::criu::{DESCRIPTORS, Dirs, converse, options, require, text};
use super::options;
use super::stored::{external_namespaces, stored_rootfs};
use crate::config;
use crate::config::path::container_path;
use crate::criu;
use crate::criu::CriuRequestType;
use crate::criu::Options;
use crate::criu::Start;
use crate::criu::Swrk;
use crate::plan::external::External;
use crate::plan::mount::SymlinkPolicy;
use crate::rootfs::path as init_path;
use crate::state::Entry;
use crate::state::ProcessId;
use crate::state::Record;
use crate::state::store::CONFIG;
use base::mountinfo;
use base::mountinfo::Mount;
use base::signal_guard::SignalGuard;
use linux::place;

/// Saves the container whose first process is `init`.
///
/// # Errors
/// CRIU is missing or failed (with an excerpt of its log); the container then continues to run.
pub(crate) fn checkpoint(
    entry: &Entry,
    record: &Record,
    init: ProcessId,
    args: &options::Checkpoint,
    program: Option<&Path>,
) -> Result<()> {
    let program = criu::find(program)?;
    check(args)?;
    require(&program, args.pre_dump || args.parent_path.is_some(), args.criu.lazy_pages)?;
    let config = config::parse(&entry.read(CONFIG)?)?;
    let dirs = Dirs::open(&args.criu, "dump.log", true)?;
    let own_cgroup = !record.cgroup.dirs.is_empty();
    let mut options = options(&args.criu, &dirs, &record.annotations, own_cgroup)?;
    own_options(&mut options, record, init, args)?;
    if let Some(parent) = &args.parent_path {
        let full = dirs.images_path.join(parent);
        if !full.is_dir() {
            bail!(coded!(UsageValue, "--parent-path {parent:?}: {full:?} is not a directory"));
        }
        options.parent_img = Some(text(parent)?);
    }
    for (name, key) in external_namespaces(&config.spec) {
        let path = format!("/proc/{}/ns/{name}", init.pid);
        let inode = std::fs::metadata(&path).with_context(|| path.clone())?.ino();
        options.external.push(format!("{name}[{inode}]:{key}"));
    }
    if !args.pre_dump {
        let table = mountinfo::read(&format!("/proc/{}/mountinfo", init.pid)).context("the container's mount table")?;
        let root = root_of(init.pid)?;
        for external in stored_rootfs(&config.spec, record)?.externals(&[]) {
            name_mounts(&external, (root.as_fd(), &record.rootfs), &table, &mut options.external)?;
        }
        let streams = streams(init.pid, &table, &mut options.external)?;
        write_streams(&dirs, &streams)?;
    }
    // blocks signals until CRIU is done, because during a dump CRIU's code runs in the container's processes
    let _interrupt = SignalGuard::block()?;
    let kind = if args.pre_dump { CriuRequestType::PreDump } else { CriuRequestType::Dump };
    dump(&program, kind, &mut options, &dirs, args).map_err(|err| dirs.explain(err))
}

fn check(args: &options::Checkpoint) -> Result<()> {
    if let Some(fd) = args.status_fd {
        if !args.criu.lazy_pages {
            bail!(coded!(UsageValue, "--status-fd: needs --lazy-pages"));
        }
        if !linux::process::is_open(fd) {
            bail!(coded!(FdInvalid, "--status-fd {fd}: is not open"));
        }
    }
    Ok(())
}

fn own_options(options: &mut Options, record: &Record, init: ProcessId, args: &options::Checkpoint) -> Result<()> {
    options.pid = Some(init.pid);
    options.root = Some(text(&record.rootfs)?);
    options.leave_running = args.leave_running;
    options.tcp_skip_in_flight = args.tcp_skip_in_flight;
    options.link_remap = args.link_remap;
    options.track_mem = args.pre_dump || args.parent_path.is_some();
    options.page_server.clone_from(&args.page_server);
    options.status_fd = args.status_fd;
    // only a cgroup that the runtime created, because others may contain processes of other programs
    let freezers = record.cgroup.dirs.iter().filter(|dir| dir.created_depth > 0);
    let freezer = freezers.into_iter().find(|dir| dir.has("freezer") || record.cgroup.is_pure_v2());
    options.freeze_cgroup = freezer.map(|dir| record.cgroup.path_in(dir));
    Ok(())
}

fn dump(
    program: &Path,
    kind: CriuRequestType,
    options: &mut Options,
    dirs: &Dirs,
    args: &options::Checkpoint,
) -> Result<()> {
    let inherit: Vec<i32> = args.status_fd.into_iter().collect();
    let start = Start { program, inherit: &inherit, own_stdio: false, cgroup: None, before: &|| dirs.for_criu() };
    let mut criu = Swrk::start(&start)?;
    // CRIU has its own copy, and the reader waits until all are closed
    args.status_fd.map_or(Ok(()), |fd| nix::unistd::close(fd).code(Code::UsageValue, "--status-fd"))?;
    converse(&mut criu, kind, options, &|_| Ok(()), &mut |_, _| Ok(()))?;
    criu.finish()
}

/// Opens the root directory of a process.
fn root_of(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/root");
    open(path.as_str(), OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .context("the container's root")
}

/// Adds a mount of the host, and those below it, to the names in the images. `root` is the container's root, and its path on
/// the host.
fn name_mounts(
    external: &External,
    root: (BorrowedFd<'_>, &Path),
    table: &[Mount],
    named: &mut Vec<String>,
) -> Result<()> {
    let Some(place) = resolve(root.0, &external.destination)? else { return Ok(()) };
    // of a bind of a directory that has the container's root: what is mounted there is the container's own, which the
    // host does not have at a restore, so that CRIU has to bind it again
    let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (source, own_root) = (canonical(&external.source), canonical(root.1));
    let own_root = own_root.strip_prefix(&source).ok();
    for mount in table.iter().filter(|mount| mount.mount_point.starts_with(&place)) {
        let Ok(below) = mount.mount_point.strip_prefix(&place) else { continue };
        let own = below.as_os_str().is_empty();
        // a masked directory is a tmpfs, which is in the images
        let wanted = if own {
            !external.mask || mount.root.ends_with("null")
        } else {
            external.recursive && !own_root.is_some_and(|root| below.starts_with(root))
        };
        if wanted {
            let name = if own { external.name.clone() } else { external.name.join(below) };
            let line = format!("mnt[{}]:{}", text(&mount.mount_point)?, text(&name)?);
            if !named.contains(&line) {
                named.push(line);
            }
        }
    }
    Ok(())
}

/// Resolves the symlinks of a path in the container, to compare it with the mount table; `None`: the path does not
/// exist.
fn resolve(root: BorrowedFd<'_>, destination: &Path) -> Result<Option<PathBuf>> {
    let path = container_path(destination)?;
    let Ok(found) = init_path::open(root, &path, SymlinkPolicy::Follow, 0) else { return Ok(None) };
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(Some(std::fs::read_link(&link).with_context(|| format!("path of {destination:?}"))?))
}

/// Returns what the standard streams are, and adds files of the host to the names in the images.
fn streams(pid: i32, table: &[Mount], named: &mut Vec<String>) -> Result<Vec<String>> {
    let mut streams = Vec::new();
    for number in 0..3 {
        let path = format!("/proc/{pid}/fd/{number}");
        let Ok(link) = std::fs::read_link(&path) else {
            streams.push(String::new());
            continue;
        };
        let mut stream = link.to_string_lossy().into_owned();
        if let Some(name) = host_file(pid, number, table)? {
            if !named.contains(&name) {
                named.push(name.clone());
            }
            stream = name;
        }
        streams.push(stream);
    }
    Ok(streams)
}

/// Returns CRIU's name `file[MOUNT:INODE]` for an open file that is in no mount of the container.
fn host_file(pid: i32, number: i32, table: &[Mount]) -> Result<Option<String>> {
    let path = format!("/proc/{pid}/fd/{number}");
    let file = open(path.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).with_context(|| path.clone())?;
    let stat = fstat(&file).with_context(|| path.clone())?;
    let kind = stat.st_mode & libc::S_IFMT;
    // consoles and pseudo terminals need no name
    let terminal = kind == libc::S_IFCHR && matches!(libc::major(stat.st_rdev), 4 | 5 | 136..=143);
    if terminal || !matches!(kind, libc::S_IFREG | libc::S_IFCHR) {
        return Ok(None);
    }
    let path = format!("/proc/{pid}/fdinfo/{number}");
    let info = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse::<u64>().ok());
    let id = id.with_context(|| format!("{path}: no mnt_id"))?;
    if table.iter().any(|mount| mount.id == id) {
        return Ok(None);
    }
    Ok(Some(format!("file[{id:x}:{:x}]", stat.st_ino)))
}

fn write_streams(dirs: &Dirs, streams: &[String]) -> Result<()> {
    let bytes = serde_json::to_vec(streams)?;
    place::replace(dirs.images.as_fd(), OsStr::new(DESCRIPTORS), &bytes, 0o600)
        .with_context(|| format!("write {:?}", dirs.images_path.join(DESCRIPTORS)))
}
