//! The mount part of the plan: each entry of `mounts[]` becomes a step with source, flags and destination.
//!
//! Pure. `plan::mount_options` parses `options`, `rootfs::opened` opens the sources of binds, `rootfs::mount` executes
//! the steps.

use base::coded;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use oci_spec::runtime::Mount;

use super::context::RootfsContext;
use super::mount_options::{self, Attr, CustomMap, Options, Propagation};
use crate::config::PROC_MOUNT_ALLOWLIST;
use crate::config::path::clean;
use crate::config::path::container_path;
use crate::id_mapping::IdMapping;
use crate::id_mapping::IdMappings;

/// One entry of `mounts[]`, planned.
#[derive(Debug)]
pub(crate) struct MountStep {
    /// The name in messages: `mounts[3]: destination "/data"`.
    pub label: String,
    /// Absolute path in the container, without `.` and `..`: `/x/../data` is `/data` whatever `/x` is.
    pub destination: CString,
    /// The symlinks that the lookup of the destination follows.
    pub target: SymlinkPolicy,
    /// The kind of mount.
    pub kind: MountKind,
    /// Flags of this mount alone.
    pub attr: Attr,
    /// Flags of the whole tree.
    pub recursive: Attr,
    /// Changes of propagation, in order.
    pub propagation: Vec<Propagation>,
    /// The ID mapping of the mount.
    pub idmap: Option<Idmap>,
    /// The configured destination is /proc or one of the files in /proc that a mount may cover.
    pub below_proc: bool,
    /// A missing source is no error (`nofail`).
    pub nofail: bool,
}

impl MountStep {
    /// Returns the destination without `.`, `..` and doubled slashes.
    pub(crate) fn cleaned_destination(&self) -> PathBuf {
        clean(Path::new(OsStr::from_bytes(self.destination.as_bytes())))
    }

    /// Reports whether the mount becomes the container's root.
    pub(crate) fn destination_is_root(&self) -> bool {
        self.destination.as_bytes() == b"/"
    }

    /// Reports whether the destination is /proc itself.
    pub(crate) fn destination_is_proc(&self) -> bool {
        self.below_proc && self.cleaned_destination() == Path::new("/proc")
    }
}

/// The symlinks that the lookup of a destination may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SymlinkPolicy {
    /// All symlinks, inside the rootfs.
    Follow,
    /// All but the last component, which may itself be a symlink.
    NoFollowLast,
    /// None: for proc, sysfs and destinations inside them (CVE-2019-19921, CVE-2025-54867).
    NoSymlinks,
}

/// The kind of a mount.
#[derive(Debug)]
pub(crate) enum MountKind {
    /// A bind of a file or tree of the host.
    Bind(Bind),
    /// A new file system, created in the child because it is of the child's namespaces.
    New(NewFs),
    /// `type: cgroup`: the mounts depend on the host's hierarchies.
    Cgroup,
    /// A change of flags or options of an existing mount; options of the file system only without `bind`.
    Remount {
        /// Options of the file system.
        options: Vec<FsOption>,
    },
}

/// A bind mount.
#[derive(Debug)]
pub(crate) struct Bind {
    /// Path on the host.
    pub source: CString,
    /// `rbind`
    pub recursive: bool,
    /// `src-nofollow`
    pub nofollow: bool,
    /// `copy-symlink`
    pub copy_symlink: bool,
    /// The mount stays in the host's peer group, so that mounts propagate in both directions.
    pub shared_with_host: bool,
    /// Path of the source in the container's root, if the configuration has it below `root.path`: an earlier mount may
    /// make it, so it is resolved in its turn.
    pub inside: Option<CString>,
    /// Flags that were named to be cleared, see [`Options::named_off`].
    pub named_off: u64,
}

/// A file system to create.
#[derive(Debug)]
pub(crate) struct NewFs {
    /// The type of the file system.
    pub fs: CString,
    /// The source in mountinfo; for a file system on a block device, its path.
    pub source: CString,
    /// Options for fsconfig(2), in order.
    pub options: Vec<FsOption>,
    /// The tmpfs starts with a copy of the directory that it covers.
    pub copyup: bool,
    /// A tmpfs becomes read-only last, because later mounts and devices may need mount points in it.
    pub late_readonly: bool,
}

/// An option for fsconfig(2): `key=value`, or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FsOption {
    /// The key, or the name of the flag.
    pub key: CString,
    /// The value; `None` for a flag.
    pub value: Option<CString>,
}

/// The ID mapping of an ID-mapped mount.
#[derive(Debug)]
pub(crate) struct Idmap {
    /// `ridmap`: the whole tree.
    pub recursive: bool,
    /// The source of the mapping.
    pub map: IdmapSource,
}

/// The source of the mapping of an ID-mapped mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdmapSource {
    /// These ranges.
    Ranges {
        /// User mappings.
        uids: IdMappings,
        /// Group mappings.
        gids: IdMappings,
    },
    /// The file of the user namespace that the container joins.
    Path(PathBuf),
}

/// File systems without a block device: `ro` is a flag of the mount, not of the superblock.
const PSEUDO: [&[u8]; 15] = [
    b"proc",
    b"sysfs",
    b"tmpfs",
    b"devpts",
    b"mqueue",
    b"cgroup2",
    b"devtmpfs",
    b"ramfs",
    b"overlay",
    b"debugfs",
    b"tracefs",
    b"securityfs",
    b"bpf",
    b"fuse",
    b"hugetlbfs",
];

/// The root file system, for the plan of a mount.
#[derive(Debug)]
pub(crate) struct PlannedRoot {
    /// Absolute path on the host, without `.` and `..`.
    pub path: PathBuf,
    /// `linux.rootfsPropagation` is `shared` or `rshared`.
    pub shared: bool,
}

impl PlannedRoot {
    /// Returns the path in the container of a path on the host that is below the root; compares the names alone.
    fn inside(&self, path: &Path) -> Option<PathBuf> {
        let below = clean(path).strip_prefix(&self.path).ok()?.to_owned();
        (self.path != Path::new("/")).then(|| Path::new("/").join(below))
    }
}

/// Plans one entry; `label` names it in messages. Adds warnings for the log to `warnings`.
///
/// # Errors
/// A wrong option, or a combination of options, type and destination that is not allowed.
pub(crate) fn plan(
    mount: &Mount,
    label: &str,
    ctx: &RootfsContext<'_>,
    root: &PlannedRoot,
    warnings: &mut Vec<String>,
) -> Result<MountStep> {
    let words = mount_options::parse(mount.options().as_deref().unwrap_or(&[]))?;
    if !mount.destination().is_absolute() {
        warnings.push(format!("{label}: a relative destination is deprecated, interpreted as relative to \"/\""));
    }
    // as runc does: a destination below the root's path on the host is one below the root
    let cleaned = clean(&Path::new("/").join(mount.destination()));
    let cleaned = root.inside(&cleaned).unwrap_or(cleaned);
    let destination = container_path(&cleaned)?;
    let idmap = plan_idmap(mount, &words, ctx)?;
    let kind = plan_kind(mount, &words, ctx, root, label, warnings)?;
    check_destination(&cleaned, &kind, ctx, words.remount)?;
    let target = plan_target(&cleaned, &kind, &words);
    let (mut attr, mut recursive) = (words.attr, words.recursive);
    if matches!(kind, MountKind::Bind(_)) {
        attr = words.of_bind();
    } else {
        // any other mount is a tree of one mount
        attr = attr.and(recursive);
        recursive = Attr::default();
    }
    Ok(MountStep {
        label: label.to_owned(),
        destination,
        target,
        kind,
        attr,
        recursive,
        propagation: words.propagation,
        idmap,
        below_proc: cleaned.starts_with("/proc"),
        nofail: words.nofail,
    })
}

fn plan_kind(
    mount: &Mount,
    words: &Options,
    ctx: &RootfsContext<'_>,
    root: &PlannedRoot,
    label: &str,
    warnings: &mut Vec<String>,
) -> Result<MountKind> {
    let fs = mount.typ().as_deref().unwrap_or("");
    if words.remount {
        let options = if words.bind.is_some() { Vec::new() } else { fs_options(words, fs)? };
        return Ok(MountKind::Remount { options });
    }
    if let Some(recursive) = words.bind {
        return plan_bind(mount, words, ctx, recursive, root, label, warnings);
    }
    if words.copy_symlink || words.src_nofollow {
        bail!(coded!(MountOptions, "options copy-symlink and src-nofollow need a bind mount"));
    }
    match fs {
        "" => bail!(coded!(ConfigRequired, "type: missing, and it is no bind mount")),
        "bind" | "rbind" | "none" => {
            bail!(coded!(MountOptions, "type {fs:?} without the option \"bind\" or \"rbind\" is not a bind mount"))
        }
        "cgroup" => Ok(MountKind::Cgroup),
        _ => Ok(MountKind::New(plan_new(mount, words, fs, ctx)?)),
    }
}

fn plan_bind(
    mount: &Mount,
    words: &Options,
    ctx: &RootfsContext<'_>,
    recursive: bool,
    root: &PlannedRoot,
    label: &str,
    warnings: &mut Vec<String>,
) -> Result<MountKind> {
    for word in words.data.iter().flat_map(|word| word.split(',')) {
        if !mount_options::is_ignored_on_bind(word) {
            let near = mount_options::near(word);
            bail!(coded!(MountOptions, "option {word:?}: unknown, and a bind mount takes no file system data{near}"));
        }
        warnings.push(format!("{label}: option {word:?} has no effect on a bind mount"));
    }
    if words.tmpcopyup {
        bail!(coded!(MountOptions, "option \"tmpcopyup\" needs a tmpfs"));
    }
    let Some(source) = mount.source().as_deref().filter(|source| !source.as_os_str().is_empty()) else {
        bail!(coded!(ConfigRequired, "source: missing"));
    };
    let requests_shared = words.propagation.iter().any(|change| change.kind == libc::MS_SHARED);
    let source = ctx.bundle.join(source);
    let inside = root.inside(&source).map(|inside| container_path(&inside)).transpose().context("source")?;
    Ok(MountKind::Bind(Bind {
        source: container_path(&source).context("source")?,
        recursive,
        nofollow: words.src_nofollow,
        copy_symlink: words.copy_symlink,
        shared_with_host: root.shared && requests_shared && inside.is_none(),
        inside,
        named_off: words.named_off(),
    }))
}

fn plan_new(mount: &Mount, words: &Options, fs: &str, ctx: &RootfsContext<'_>) -> Result<NewFs> {
    let source = match mount.source().as_deref().filter(|source| !source.as_os_str().is_empty()) {
        Some(source) => container_path(source).context("source")?,
        None => CString::new(fs).context("type")?,
    };
    if words.tmpcopyup && fs != "tmpfs" {
        bail!(coded!(MountOptions, "option \"tmpcopyup\" needs a tmpfs"));
    }
    if fs == "devpts" && ctx.user_ns && !ctx.id_maps.1.is_empty() {
        check_devpts_group(&words.data, &ctx.id_maps.1)?;
    }
    let readonly = words.attr.and(words.recursive).set & linux::mount::ATTR_RDONLY != 0;
    Ok(NewFs {
        fs: CString::new(fs).context("type")?,
        source,
        options: fs_options(words, fs)?,
        copyup: words.tmpcopyup,
        late_readonly: readonly && fs == "tmpfs",
    })
}

/// Checks the group of a devpts, because the kernel has only EINVAL for a group that is not mapped.
fn check_devpts_group(data: &[String], gids: &IdMappings) -> Result<()> {
    for word in data {
        let Some(gid) = word.strip_prefix("gid=").and_then(|gid| gid.parse::<u32>().ok()) else { continue };
        if !gids.contains(gid) {
            bail!(coded!(
                MountOptions,
                "option {word:?}: the user namespace has no group {gid}; map it, or leave the option out"
            ));
        }
    }
    Ok(())
}

fn fs_options(words: &Options, fs: &str) -> Result<Vec<FsOption>> {
    let mut options: Vec<FsOption> =
        words.superblock.iter().map(|name| FsOption { key: (*name).to_owned(), value: None }).collect();
    let readonly = words.attr.set & linux::mount::ATTR_RDONLY != 0;
    if readonly && !words.remount && !PSEUDO.contains(&fs.as_bytes()) {
        // without it the kernel refuses a read-only block device
        options.push(FsOption { key: c"ro".to_owned(), value: None });
    }
    for word in &words.data {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word.as_str(), None),
        };
        let c_string = |text: &str| CString::new(text).with_context(|| format!("option {word:?}"));
        options.push(FsOption { key: c_string(key)?, value: value.map(c_string).transpose()? });
    }
    Ok(options)
}

fn check_destination(cleaned: &Path, kind: &MountKind, ctx: &RootfsContext<'_>, remount: bool) -> Result<()> {
    if cleaned == Path::new("/") && !remount {
        match kind {
            MountKind::Bind(_) if ctx.mount_ns => {}
            MountKind::Bind(_) => {
                bail!(coded!(
                    MountDestination,
                    "a bind can be the container's root only in a mount namespace of the container"
                ))
            }
            _ => bail!(coded!(MountDestination, "the container's root cannot be mounted over; use root.path")),
        }
    }
    if !cleaned.starts_with("/proc") || remount {
        return Ok(());
    }
    let allowed = if cleaned == Path::new("/proc") {
        // `rootfs::opened` checks that the source of a bind is a procfs
        matches!(kind, MountKind::Bind(_)) || matches!(kind, MountKind::New(new) if new.fs.as_c_str() == c"proc")
    } else {
        PROC_MOUNT_ALLOWLIST.iter().any(|path| cleaned == Path::new(path))
    };
    if !allowed {
        bail!(coded!(MountDestination, "{cleaned:?} cannot be mounted because it is inside /proc"));
    }
    Ok(())
}

fn plan_target(cleaned: &Path, kind: &MountKind, words: &Options) -> SymlinkPolicy {
    let is_procfs_or_sysfs = matches!(kind, MountKind::New(new) if is_proc_or_sysfs(&new.fs));
    if is_procfs_or_sysfs || cleaned.starts_with("/proc") || cleaned == Path::new("/sys") {
        SymlinkPolicy::NoSymlinks
    } else if words.dest_nofollow || words.copy_symlink {
        SymlinkPolicy::NoFollowLast
    } else {
        SymlinkPolicy::Follow
    }
}

fn is_proc_or_sysfs(fs: &CStr) -> bool {
    fs == c"proc" || fs == c"sysfs"
}

fn plan_idmap(mount: &Mount, words: &Options, ctx: &RootfsContext<'_>) -> Result<Option<Idmap>> {
    let recursive = words.idmap.as_ref().is_some_and(|word| word.recursive);
    let (uids, gids) = (IdMappings::from(mount.uid_mappings()), IdMappings::from(mount.gid_mappings()));
    let map = match (uids.is_empty(), gids.is_empty()) {
        (false, false) => IdmapSource::Ranges { uids, gids },
        (false, true) => bail!(coded!(ConfigRequired, "uidMappings without gidMappings")),
        (true, false) => bail!(coded!(ConfigRequired, "gidMappings without uidMappings")),
        (true, true) => match &words.idmap {
            None => return Ok(None),
            Some(word) => match &word.custom {
                Some(custom) => custom_ranges(custom, ctx)?,
                None => container_map(ctx)?,
            },
        },
    };
    if words.remount {
        bail!(coded!(MountOptions, "an ID-mapped mount cannot be a remount"));
    }
    Ok(Some(Idmap { recursive, map }))
}

fn container_map(ctx: &RootfsContext<'_>) -> Result<IdmapSource> {
    if let Some(path) = ctx.user_ns_path {
        return Ok(IdmapSource::Path(path.to_owned()));
    }
    if !ctx.user_ns || ctx.id_maps.0.is_empty() || ctx.id_maps.1.is_empty() {
        bail!(coded!(
            ConfigRequired,
            "option \"idmap\" without uidMappings and gidMappings needs a user namespace with mappings"
        ));
    }
    Ok(IdmapSource::Ranges { uids: ctx.id_maps.0.clone(), gids: ctx.id_maps.1.clone() })
}

fn custom_ranges(custom: &CustomMap, ctx: &RootfsContext<'_>) -> Result<IdmapSource> {
    let absolute = |(relative, list): &(bool, IdMappings), container: &IdMappings| -> Result<IdMappings> {
        if !*relative {
            return Ok(list.clone());
        }
        list.iter().map(|range| compose(*range, container)).collect()
    };
    Ok(IdmapSource::Ranges {
        uids: absolute(&custom.uids, &ctx.id_maps.0)?,
        gids: absolute(&custom.gids, &ctx.id_maps.1)?,
    })
}

/// Maps a range with `@` to the host: its second number is an ID of the container.
fn compose(range: IdMapping, container: &IdMappings) -> Result<IdMapping> {
    let IdMapping { host: id, size, .. } = range;
    match container.range_to_host(id, size) {
        Some(host) => Ok(IdMapping { host, ..range }),
        None => bail!(coded!(
            MountOptions,
            "option \"idmap\": IDs {id}…+{size} are not mapped in the container's user namespace"
        )),
    }
}
