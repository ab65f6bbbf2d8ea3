//! One entry of `mounts[]` becomes one step for the child: what is mounted, with which flags, where.
//!
//! Pure. The words of `options` are `plan::mount_options`; opening bind sources is `rootfs::opened`; the walk over the
//! steps is `rootfs::mount`.

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

/// One mount, decided.
#[derive(Debug)]
pub(crate) struct MountStep {
    /// How messages call it: `mounts[3]: destination "/data"`.
    pub label: String,
    /// Where, absolute in the container; a `..` is left to the lookup inside the rootfs, before it may be a symlink.
    pub destination: CString,
    /// How the destination is looked up.
    pub target: Target,
    /// What.
    pub kind: MountKind,
    /// Flags of this mount.
    pub attr: Attr,
    /// Flags of the tree.
    pub recursive: Attr,
    /// Changes of propagation, in order.
    pub propagation: Vec<Propagation>,
    /// Owners are shown through this mapping.
    pub idmap: Option<Idmap>,
    /// The destination was given as something inside /proc, and allowed there.
    pub below_proc: bool,
    /// A missing source is no error.
    pub nofail: bool,
}

impl MountStep {
    /// The destination without `.`, `..` and doubled slashes.
    pub(crate) fn place(&self) -> PathBuf {
        clean(Path::new(OsStr::from_bytes(self.destination.as_bytes())))
    }

    /// It is for /proc itself.
    pub(crate) fn destination_is_proc(&self) -> bool {
        self.below_proc && self.place() == Path::new("/proc")
    }
}

/// How a destination may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Symlinks of the image are followed inside the rootfs.
    Follow,
    /// The last component is taken as it is, also when it is a symlink.
    NoFollowLast,
    /// No component may be a symlink: proc, sysfs and what lies inside them (CVE-2019-19921, CVE-2025-54867).
    Real,
}

/// What is mounted.
#[derive(Debug)]
pub(crate) enum MountKind {
    /// A file or tree of the host.
    Bind(Bind),
    /// A new file system, made in the child because it belongs to the child's namespaces.
    New(NewFs),
    /// `type: cgroup`: what the child sees depends on the host's hierarchies.
    Cgroup,
    /// Other flags or options for what is mounted there already; data and superblock flags only when it is no bind.
    Remount {
        /// Options of the file system.
        options: Vec<FsOption>,
    },
}

/// A bind mount.
#[derive(Debug)]
pub(crate) struct Bind {
    /// Host path.
    pub source: CString,
    /// `rbind`
    pub recursive: bool,
    /// `src-nofollow`
    pub nofollow: bool,
    /// `copy-symlink`
    pub copy_symlink: bool,
    /// Stays in the host's peer group: mounts travel in both directions.
    pub shared_with_host: bool,
}

/// A file system to make.
#[derive(Debug)]
pub(crate) struct NewFs {
    /// Its type.
    pub fs: CString,
    /// Shown as the source in mountinfo; a device for file systems on one.
    pub source: CString,
    /// Options, in order.
    pub options: Vec<FsOption>,
    /// The tmpfs starts with a copy of what it covers.
    pub copyup: bool,
    /// A tmpfs becomes read-only last, when later mounts and devices have found their mount points.
    pub late_readonly: bool,
}

/// `key=value`, or a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FsOption {
    /// Name.
    pub key: CString,
    /// Value.
    pub value: Option<CString>,
}

/// An ID-mapped mount.
#[derive(Debug)]
pub(crate) struct Idmap {
    /// `ridmap`
    pub recursive: bool,
    /// Whose mapping.
    pub map: IdmapSource,
}

/// Where the mapping of an ID-mapped mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdmapSource {
    /// These ranges.
    Ranges {
        /// Users.
        uids: IdMappings,
        /// Groups.
        gids: IdMappings,
    },
    /// The user namespace that the container joins.
    Path(PathBuf),
}

/// File systems that have no device: `ro` is the mount's business, not the superblock's.
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

/// Plans one entry; `label` names it in messages. Warnings are added to `warnings`.
pub(crate) fn plan(
    mount: &Mount,
    label: &str,
    ctx: &RootfsContext<'_>,
    root_shared: bool,
    warnings: &mut Vec<String>,
) -> Result<MountStep> {
    let words = mount_options::parse(mount.options().as_deref().unwrap_or(&[]))?;
    if !mount.destination().is_absolute() {
        warnings.push(format!("{label}: a relative destination is deprecated, taken as relative to \"/\""));
    }
    let destination = container_path(&Path::new("/").join(mount.destination()))?;
    let cleaned = clean(mount.destination());
    let idmap = plan_idmap(mount, &words, ctx)?;
    let kind = plan_kind(mount, &words, ctx, root_shared, label, warnings)?;
    check_destination(&cleaned, &kind, words.remount)?;
    let target = plan_target(&cleaned, &kind, &words);
    let (mut attr, mut recursive) = (words.attr, words.recursive);
    if !matches!(kind, MountKind::Bind(_)) {
        // a tree of one mount
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
    root_shared: bool,
    label: &str,
    warnings: &mut Vec<String>,
) -> Result<MountKind> {
    let fs = mount.typ().as_deref().unwrap_or("");
    if words.remount {
        let options = if words.bind.is_some() { Vec::new() } else { fs_options(words, fs)? };
        return Ok(MountKind::Remount { options });
    }
    if let Some(recursive) = words.bind {
        return plan_bind(mount, words, ctx, recursive, root_shared, label, warnings);
    }
    if words.copy_symlink || words.src_nofollow {
        bail!("options copy-symlink and src-nofollow need a bind mount");
    }
    match fs {
        "" => bail!("type: missing, and it is no bind mount"),
        "bind" | "rbind" | "none" => bail!("type {fs:?} without the option \"bind\" or \"rbind\" is not a bind mount"),
        "cgroup" => Ok(MountKind::Cgroup),
        _ => Ok(MountKind::New(plan_new(mount, words, fs, ctx)?)),
    }
}

fn plan_bind(
    mount: &Mount,
    words: &Options,
    ctx: &RootfsContext<'_>,
    recursive: bool,
    root_shared: bool,
    label: &str,
    warnings: &mut Vec<String>,
) -> Result<MountKind> {
    for word in words.data.iter().flat_map(|word| word.split(',')) {
        if !mount_options::harmless_on_bind(word) {
            bail!("option {word:?}: unknown, and a bind mount takes no file system data");
        }
        warnings.push(format!("{label}: option {word:?} has no effect on a bind mount"));
    }
    if words.tmpcopyup {
        bail!("option \"tmpcopyup\" needs a tmpfs");
    }
    let Some(source) = mount.source().as_deref().filter(|source| !source.as_os_str().is_empty()) else {
        bail!("source: missing");
    };
    let asks_shared = words.propagation.iter().any(|change| change.kind == libc::MS_SHARED);
    Ok(MountKind::Bind(Bind {
        source: container_path(&ctx.bundle.join(source)).context("source")?,
        recursive,
        nofollow: words.src_nofollow,
        copy_symlink: words.copy_symlink,
        shared_with_host: root_shared && asks_shared,
    }))
}

fn plan_new(mount: &Mount, words: &Options, fs: &str, ctx: &RootfsContext<'_>) -> Result<NewFs> {
    let source = match mount.source().as_deref().filter(|source| !source.as_os_str().is_empty()) {
        Some(source) => container_path(source).context("source")?,
        None => CString::new(fs).context("type")?,
    };
    if words.tmpcopyup && fs != "tmpfs" {
        bail!("option \"tmpcopyup\" needs a tmpfs");
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

/// The kernel answers a bare EINVAL for a group that the user namespace does not have.
fn check_devpts_group(data: &[String], gids: &IdMappings) -> Result<()> {
    for word in data {
        let Some(gid) = word.strip_prefix("gid=").and_then(|gid| gid.parse::<u32>().ok()) else { continue };
        if !gids.contains(gid) {
            bail!("option {word:?}: the user namespace has no group {gid}; map it, or leave the option out");
        }
    }
    Ok(())
}

fn fs_options(words: &Options, fs: &str) -> Result<Vec<FsOption>> {
    let mut options: Vec<FsOption> =
        words.superblock.iter().map(|name| FsOption { key: (*name).to_owned(), value: None }).collect();
    let readonly = words.attr.set & linux::mount::ATTR_RDONLY != 0;
    if readonly && !words.remount && !PSEUDO.contains(&fs.as_bytes()) {
        // a block device that cannot be written is refused otherwise
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

fn check_destination(cleaned: &Path, kind: &MountKind, remount: bool) -> Result<()> {
    if cleaned == Path::new("/") && !remount {
        bail!("the container's root cannot be mounted over; use root.path");
    }
    if !cleaned.starts_with("/proc") || remount {
        return Ok(());
    }
    let allowed = if cleaned == Path::new("/proc") {
        // a bind must turn out to be of procfs when it is opened
        matches!(kind, MountKind::Bind(_)) || matches!(kind, MountKind::New(new) if new.fs.as_c_str() == c"proc")
    } else {
        PROC_MOUNT_ALLOWLIST.iter().any(|path| cleaned == Path::new(path))
    };
    if !allowed {
        bail!("{cleaned:?} cannot be mounted because it is inside /proc");
    }
    Ok(())
}

fn plan_target(cleaned: &Path, kind: &MountKind, words: &Options) -> Target {
    let real_fs = matches!(kind, MountKind::New(new) if is_real_place_fs(&new.fs));
    if real_fs || cleaned.starts_with("/proc") || cleaned == Path::new("/sys") {
        Target::Real
    } else if words.dest_nofollow || words.copy_symlink {
        Target::NoFollowLast
    } else {
        Target::Follow
    }
}

fn is_real_place_fs(fs: &CStr) -> bool {
    fs == c"proc" || fs == c"sysfs"
}

fn plan_idmap(mount: &Mount, words: &Options, ctx: &RootfsContext<'_>) -> Result<Option<Idmap>> {
    let recursive = words.idmap.as_ref().is_some_and(|word| word.recursive);
    let (uids, gids) = (IdMappings::from(mount.uid_mappings()), IdMappings::from(mount.gid_mappings()));
    let map = match (uids.is_empty(), gids.is_empty()) {
        (false, false) => IdmapSource::Ranges { uids, gids },
        (false, true) => bail!("uidMappings without gidMappings"),
        (true, false) => bail!("gidMappings without uidMappings"),
        (true, true) => match &words.idmap {
            None => return Ok(None),
            Some(word) => match &word.custom {
                Some(custom) => custom_ranges(custom, ctx)?,
                None => container_map(ctx)?,
            },
        },
    };
    if words.remount {
        bail!("an ID-mapped mount cannot be a remount");
    }
    Ok(Some(Idmap { recursive, map }))
}

fn container_map(ctx: &RootfsContext<'_>) -> Result<IdmapSource> {
    if let Some(path) = ctx.user_ns_path {
        return Ok(IdmapSource::Path(path.to_owned()));
    }
    if !ctx.user_ns || ctx.id_maps.0.is_empty() || ctx.id_maps.1.is_empty() {
        bail!("option \"idmap\" without uidMappings and gidMappings needs a user namespace with mappings");
    }
    Ok(IdmapSource::Ranges { uids: ctx.id_maps.0.clone(), gids: ctx.id_maps.1.clone() })
}

fn custom_ranges(custom: &CustomMap, ctx: &RootfsContext<'_>) -> Result<IdmapSource> {
    let absolute = |(relative, list): &(bool, IdMappings), container: &IdMappings| -> Result<IdMappings> {
        if !*relative {
            return Ok(list.clone());
        }
        list.iter().map(|range| through(*range, container)).collect()
    };
    Ok(IdmapSource::Ranges {
        uids: absolute(&custom.uids, &ctx.id_maps.0)?,
        gids: absolute(&custom.gids, &ctx.id_maps.1)?,
    })
}

/// A range with `@`: its second number is an ID of the container, to be told as the host's.
fn through(range: IdMapping, container: &IdMappings) -> Result<IdMapping> {
    let IdMapping { host: id, size, .. } = range;
    match container.range_to_host(id, size) {
        Some(host) => Ok(IdMapping { host, ..range }),
        None => bail!("option \"idmap\": IDs {id}…+{size} are not mapped in the container's user namespace"),
    }
}
