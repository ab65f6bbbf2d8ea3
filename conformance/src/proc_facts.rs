//! The entries of the host's /proc for a container's process, and checks of them: no program of the container takes
//! part, so that none of its limits can falsify the result.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::Pid;
use serde_json::Value;

use crate::container::Container;
use crate::harness::{Done, Harness, skip, wait_until};
use crate::verdict::Mismatch;

/// A process of a container, by its pid in the host's pid namespace.
pub struct Facts(Pid);

/// A line of mountinfo.
#[derive(Debug)]
pub struct Mount {
    /// The ID of the mount.
    pub id: u64,
    /// The mount point.
    pub place: String,
    /// The flags of this mount.
    pub flags: Vec<String>,
    /// The propagation fields.
    pub propagation: String,
    /// The type of the file system.
    pub kind: String,
    /// The options of the file system.
    pub data: Vec<String>,
}

impl Facts {
    /// Creates and starts the container; returns the facts of its program once that is executed.
    pub fn run(container: &Container<'_>) -> Result<Self> {
        container.create().ok()?;
        container.start().ok()?;
        Self::of_program(container)
    }

    /// Waits until a started container's program is executed, and returns its facts.
    pub fn of_program(container: &Container<'_>) -> Result<Self> {
        let facts = Self::of(container)?;
        let args: Vec<_> = container.config["process"]["args"].as_array().into_iter().flatten().collect();
        wait_until("the program is executed", || {
            let line = facts.words("cmdline")?;
            Ok((line.iter().eq(args.iter().filter_map(|arg| arg.as_str()))).then_some(()))
        })?;
        Ok(facts)
    }

    /// Returns the facts of the process in the container's state, whatever it executes.
    pub fn of(container: &Container<'_>) -> Result<Self> {
        Ok(Self(container.pid()?))
    }

    /// Returns the facts of any process.
    pub fn of_pid(pid: Pid) -> Self {
        Self(pid)
    }

    /// Returns the pid in the host's pid namespace.
    pub fn pid(&self) -> Pid {
        self.0
    }

    /// Returns a path below the process's directory in /proc.
    pub fn path(&self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.0.to_string()).join(file)
    }

    /// Reads a file of the process in /proc.
    pub fn read(&self, file: &str) -> Result<String> {
        let path = self.path(file);
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Reads a link of the process in /proc.
    pub fn link(&self, file: &str) -> Result<String> {
        let path = self.path(file);
        let target = fs::read_link(&path).with_context(|| format!("read link {}", path.display()))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// Returns the strings of `cmdline` or `environ`.
    pub fn words(&self, file: &str) -> Result<Vec<String>> {
        let text = self.read(file)?;
        Ok(text.split_terminator('\0').map(str::to_owned).collect())
    }

    /// Returns a field of `status`, its words separated by one space.
    pub fn status(&self, field: &str) -> Result<String> {
        let text = self.read("status")?;
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = value.with_context(|| format!("no {field} in the process's status"))?;
        Ok(value.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Returns field `number` of `stat`, counted as in proc(5).
    pub fn stat(&self, number: usize) -> Result<i64> {
        let text = self.read("stat")?;
        // the second field, the name, may contain spaces
        let rest = text.rsplit_once(')').context("stat without a name")?.1;
        let field = number.checked_sub(3).and_then(|at| rest.split_whitespace().nth(at));
        Ok(field.with_context(|| format!("stat has no field {number}"))?.parse()?)
    }

    /// Returns the soft and the hard limit with this name in `limits`.
    pub fn limit(&self, name: &str) -> Result<[String; 2]> {
        let text = self.read("limits")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let mut words = line.with_context(|| format!("no limit {name:?}"))?.split_whitespace().map(str::to_owned);
        match (words.next(), words.next()) {
            (Some(soft), Some(hard)) => Ok([soft, hard]),
            _ => bail!("limit {name:?} has no values"),
        }
    }

    /// Returns the open descriptors, in order.
    pub fn descriptors(&self) -> Result<Vec<u32>> {
        let path = self.path("fd");
        let mut open = Vec::new();
        for entry in fs::read_dir(&path).with_context(|| format!("list {}", path.display()))? {
            open.push(entry?.file_name().to_string_lossy().parse()?);
        }
        open.sort_unstable();
        Ok(open)
    }

    /// Returns all mounts of the process's mount namespace, in order.
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        parse_mounts(&self.read("mountinfo")?)
    }

    /// Returns whether the working directory is on one of the mounts of the process's own namespace.
    pub fn cwd_is_inside(&self) -> Result<bool> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        // the link resolves to the directory itself, even where no path reaches it
        let stat =
            statx(CWD, self.path("cwd/."), AtFlags::empty(), StatxFlags::MNT_ID).context("stat the directory")?;
        Ok(self.mounts()?.iter().any(|mount| mount.id == stat.stx_mnt_id))
    }

    /// Returns the topmost mount at `place`.
    pub fn mount(&self, place: &str) -> Result<Mount> {
        let mounts = self.mounts()?;
        mounts.into_iter().rev().find(|m| m.place == place).with_context(|| format!("nothing is mounted at {place}"))
    }
}

impl Mount {
    /// Returns whether the mount has the flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|have| have == flag)
    }

    /// Fails unless the mount has all of `present` and none of `absent`.
    pub fn must_have(&self, present: &[&str], absent: &[&str]) -> Result<()> {
        for flag in present {
            ensure!(self.has(flag), "the mount at {} lacks {flag}: {}", self.place, self.flags.join(","));
        }
        for flag in absent {
            ensure!(!self.has(flag), "the mount at {} must not have {flag}: {}", self.place, self.flags.join(","));
        }
        Ok(())
    }
}

/// Parses the lines of a mountinfo.
pub fn parse_mounts(mountinfo: &str) -> Result<Vec<Mount>> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    let mut mounts = Vec::new();
    for line in mountinfo.lines() {
        let (own, fs) = line.split_once(" - ").with_context(|| format!("mountinfo without a separator: {line}"))?;
        let (own, fs): (Vec<_>, Vec<_>) = (own.split(' ').collect(), fs.split(' ').collect());
        let ([id, _, _, _, place, flags, optional @ ..], [kind, _, data]) = (own.as_slice(), fs.as_slice()) else {
            bail!("mountinfo has a line of another form: {line}");
        };
        mounts.push(Mount {
            id: id.parse()?,
            place: (*place).to_owned(),
            flags: list(flags),
            propagation: optional.join(" "),
            kind: (*kind).to_owned(),
            data: list(data),
        });
    }
    Ok(mounts)
}

/// Fails, naming both, unless the actual value is the wanted one.
pub fn expect<S: PartialEq<W> + Debug, W: Debug>(what: &str, seen: S, wanted: W) -> Result<()> {
    if seen == wanted {
        return Ok(());
    }
    Err(Mismatch { expected: format!("{what}: {wanted:?}"), seen: format!("{seen:?}") }.into())
}

/// Fails unless create fails, and leaves nothing, with each of these values alone.
pub fn refuse_each(harness: &Harness, cases: &[(&[&str], Value)]) -> Result<()> {
    for (path, value) in cases {
        let mut c = Container::new(harness)?;
        c.set(path, value.clone());
        c.must_be_refused().with_context(|| format!("{} = {value}", path.join(".")))?;
    }
    Ok(())
}

/// Returns the result of create or, when create succeeds, of start, because some errors may be reported by either.
pub fn create_or_start(container: &Container<'_>) -> Done {
    let created = container.create();
    if matches!(&created.status, Ok(status) if status.success()) { container.start() } else { created }
}

/// Fails unless the call failed with an error that contains one of these texts, which callers treat alike.
pub fn error_saying_one_of(done: Done, words: &[&str]) -> Result<()> {
    let done = done.error()?;
    let text = done.err.to_lowercase();
    ensure!(
        words.iter().any(|words| text.contains(words)),
        "the error has to contain one of {words:?}: {}",
        done.err.trim()
    );
    Ok(())
}

/// Skips the test where the runtime's own help does not name the flag of a verb.
pub fn need_flag(harness: &Harness, verb: &str, flag: &str) -> Result<()> {
    let help = harness.call([verb, "--help"]);
    if (help.out + &help.err).contains(flag) {
        return Ok(());
    }
    skip(&format!("this runtime's {verb} has no {flag}"))
}

/// Returns the path of a program of the host; skips the test where it is missing.
pub fn need_program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    match dirs.map(|dir| dir.join(name)).find(|file| file.is_file()) {
        Some(found) => Ok(found),
        None => skip(&format!("no program {name} on this machine")),
    }
}

/// Skips the test where the kernel has no such namespaces, by the name of their file.
pub fn need_namespace(file: &str) -> Result<()> {
    if Path::new("/proc/self/ns").join(file).exists() {
        return Ok(());
    }
    skip(&format!("this kernel has no {file} namespaces"))
}

/// A mount that a test creates below its own bundle; unmounted on drop.
pub struct HostMount(PathBuf);

impl HostMount {
    /// Creates `place` and mounts a tmpfs with these flags there.
    pub fn tmpfs(place: &Path, flags: MsFlags) -> Result<Self> {
        fs::create_dir_all(place)?;
        mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some("mode=755"))
            .with_context(|| format!("mount a tmpfs at {}", place.display()))?;
        let mounted = Self(place.to_owned());
        mount(None::<&str>, place, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>)?;
        Ok(mounted)
    }

    /// Changes the flags of this mount only, not those of its file system.
    pub fn set_flags(&self, flags: MsFlags) -> Result<()> {
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        Ok(mount(None::<&str>, &self.0, None::<&str>, flags, None::<&str>)?)
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A namespace of its own for this thread and the children it spawns, until drop; an error of the runtime is confined
/// to it.
pub struct OwnNamespace(fs::File, CloneFlags);

impl OwnNamespace {
    /// Moves this thread into a network namespace without devices.
    pub fn network() -> Result<Self> {
        Self::enter("net", CloneFlags::CLONE_NEWNET)
    }

    /// Moves this thread into a UTS namespace, whose names it may change.
    pub fn names() -> Result<Self> {
        Self::enter("uts", CloneFlags::CLONE_NEWUTS)
    }

    fn enter(file: &str, kind: CloneFlags) -> Result<Self> {
        let path = Path::new("/proc/thread-self/ns").join(file);
        let before = fs::File::open(&path).with_context(|| format!("open {}", path.display()))?;
        unshare(kind).with_context(|| format!("a {file} namespace for the case"))?;
        Ok(Self(before, kind))
    }
}

impl Drop for OwnNamespace {
    fn drop(&mut self) {
        // a thread that cannot return would run the other cases in the wrong namespace, so the process ends
        if setns(&self.0, self.1).is_err() {
            std::process::abort();
        }
    }
}
