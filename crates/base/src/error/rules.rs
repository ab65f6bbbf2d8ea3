//! The tables by which `classify` finds the code of a message. Texts are looked for outside of quotes, because what is
//! quoted is of the caller.

use nix::errno::Errno;

use super::code::Code;

/// The properties at the top of config.json.
pub(super) const CONFIG: &[&str] =
    &["ociVersion", "process", "root", "hostname", "domainname", "mounts", "hooks", "annotations", "linux"];

/// A row of the table: matches an error that has one of the texts, one of the fields and one of the errnos, of those
/// that are not empty.
pub(super) struct Rule {
    pub(super) code: Code,
    pub(super) texts: &'static [&'static str],
    pub(super) fields: &'static [&'static str],
    pub(super) errnos: &'static [Errno],
}

/// Returns a rule about texts alone.
const fn texts(code: Code, texts: &'static [&'static str]) -> Rule {
    Rule { code, texts, fields: &[], errnos: &[] }
}

/// Returns a rule about a field, and the kernel's error if there are any.
const fn field(code: Code, fields: &'static [&'static str], errnos: &'static [Errno]) -> Rule {
    Rule { code, texts: &[], fields, errnos }
}

/// Returns a rule about a field and texts.
const fn field_text(code: Code, fields: &'static [&'static str], texts: &'static [&'static str]) -> Rule {
    Rule { code, texts, fields, errnos: &[] }
}

/// Returns a rule about the kernel's error alone.
const fn errno(code: Code, errnos: &'static [Errno]) -> Rule {
    Rule { code, texts: &[], fields: &[], errnos }
}

/// Returns a rule about a text and the kernel's error.
const fn text_errno(code: Code, texts: &'static [&'static str], errnos: &'static [Errno]) -> Rule {
    Rule { code, texts, fields: &[], errnos }
}

const DENIED: &[Errno] = &[Errno::EPERM, Errno::EACCES];
const MISSING: &[Errno] = &[Errno::ENOENT, Errno::ENOTDIR];
const EXHAUSTED: &[Errno] =
    &[Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOSPC, Errno::EDQUOT, Errno::EAGAIN, Errno::EFBIG];

/// The words about a bad value of a flag.
const MUST: &[&str] = &["must be", "is not an absolute path", "is empty", "is not UTF-8"];
/// The errors of calls that refuse an argument.
const REFUSED: &[Errno] =
    &[Errno::EINVAL, Errno::ERANGE, Errno::EBUSY, Errno::ENODEV, Errno::EIO, Errno::ENOSPC, Errno::ENOENT];
/// The words before an error of the program's execve.
const EXEC: &[&str] = &["exec: ", "exec failed: ", "exec /"];

/// The rules about the command line and containers; the first that matches counts, here and below.
pub(super) const CONTAINERS: &[Rule] = &[
    texts(Code::UsageVerb, &["unknown verb", "no verb is given", "requires a verb"]),
    texts(Code::UsageFlag, &["unknown flag \"--", "unknown flag \"-", "unknown flag \"\""]),
    texts(Code::UsageArguments, &["requires exactly", "requires at least", "requires at most", "requires an argument"]),
    texts(Code::UsageArguments, &["exclude each other", "are both given", "a COMMAND, or --process", "excludes "]),
    texts(Code::UsageValue, &["unknown code"]),
    texts(Code::SignalUnknown, &["unknown signal", "invalid signal"]),
    // what became of a process
    texts(Code::CgroupMemory, &["killed by the OOM killer"]),
    texts(Code::CgroupPidsLimit, &["pids limit", "linux.resources.pids.limit:"]),
    texts(Code::SeccompExec, &["the seccomp filter forbids", "SIGSYS"]),
    texts(Code::VerifyDiffers, &["self-check: "]),
    texts(Code::RunSignal, &["interrupted by signal"]),
    // hooks: before others, because a hook's output may have any text
    texts(Code::HookTimeout, &["longer than its timeout"]),
    text_errno(Code::HookMissing, &["error running "], MISSING),
    text_errno(Code::HookMissing, &["error running "], DENIED),
    text_errno(Code::HookMissing, &["error running "], &[Errno::ENOEXEC]),
    texts(Code::HookFailed, &["error running ", "poststop hook"]),
    // containers
    texts(Code::IdInvalid, &["invalid container ID format"]),
    texts(Code::ContainerExists, &["container with given ID already exists"]),
    texts(Code::ContainerNotStopped, &["that is not stopped"]),
    texts(
        Code::ContainerStatus,
        &["not paused", "already paused", "in a paused container", "not created", "container state improper"],
    ),
    texts(Code::ContainerNotRunning, &["container not running", "exited before it was started", "is not running"]),
    texts(Code::ContainerDamaged, &["state is damaged", "damaged record"]),
    texts(Code::ContainerBusy, &["another process", "lock \""]),
    texts(Code::ContainerKilled, &["was killed before", "init has ended", "the runtime ended"]),
    text_errno(Code::HostReadOnly, &["state root", "state directory"], &[Errno::EROFS]),
    text_errno(
        Code::StateRoot,
        &["state root", "state directory"],
        &[Errno::EACCES, Errno::EPERM, Errno::ENOTDIR, Errno::ENOENT, Errno::ELOOP, Errno::EEXIST],
    ),
    texts(Code::StateUnsafe, &["may write to it", "belongs to user", "is not a regular file with one name"]),
    texts(Code::ContainerNotFound, &["No container named", "does not exist"]),
    texts(Code::ConfigSyntax, &["not valid JSON", "is given twice in", "duplicate key"]),
    texts(Code::ConfigVersion, &["ociVersion"]),
    text_errno(Code::ConfigMissing, &["a bundle?)"], MISSING),
    text_errno(Code::BundleMissing, &["bundle \""], MISSING),
    texts(Code::BundleMissing, &["bundle \"\": not a directory"]),
    texts(Code::ConfigType, &["at the top level"]),
    // flags
    field_text(Code::UsageValue, &["--"], MUST),
    field(Code::TerminalListener, &["--console-socket"], &[Errno::ECONNREFUSED, Errno::ENOENT, Errno::ENOTSOCK]),
    field(Code::FileMissing, &["--"], MISSING),
    field(Code::LsmFailed, &["--apparmor", "--process-label"], &[]),
    field(Code::ProcessUser, &["--user", "--additional-gids"], &[]),
    field(Code::ProcessCapability, &["--cap"], &[]),
    field(Code::FdInvalid, &["--preserve-fds", "LISTEN_FDS"], &[]),
    texts(Code::TerminalNone, &["needs a terminal", "no terminal", "is not a terminal", "needs --console-socket"]),
    texts(Code::CriuMissing, &["criu is not installed"]),
    texts(Code::CriuFailed, &["criu"]),
];

/// The rules about fields of config.json.
pub(super) const FIELDS: &[Rule] = &[
    field_text(Code::ConfigType, CONFIG, &["expected a", "expected an", "expected true"]),
    field_text(Code::ConfigRequired, CONFIG, &["is required"]),
    // the program
    field(Code::ExecCwd, &["process.cwd"], &[]),
    texts(Code::ExecCwd, &["chdir to cwd"]),
    texts(Code::ExecInterpreter, &["interpreter", "dynamic loader"]),
    texts(Code::ExecNotFound, &["executable file not found"]),
    texts(Code::ExecDirectory, &["is a directory: permission denied"]),
    text_errno(Code::ExecNotFound, EXEC, MISSING),
    text_errno(Code::ExecDenied, EXEC, DENIED),
    text_errno(Code::ExecFormat, EXEC, &[Errno::ENOEXEC]),
    text_errno(Code::ExecFailed, EXEC, &[Errno::E2BIG, Errno::ETXTBSY, Errno::ELOOP, Errno::EINVAL, Errno::EIO]),
    // mounts
    field(Code::MountSourceMissing, &["mounts"], MISSING),
    field(Code::MountUnknownFs, &["mounts"], &[Errno::ENODEV]),
    field(Code::MountDenied, &["mounts"], DENIED),
    field_text(
        Code::MountDestination,
        &["mounts"],
        &["destination: ", "is inside /proc", "cannot be mounted", "would cover", "leads to", "is a symlink"],
    ),
    field(Code::MountOptions, &["mounts"], &[Errno::EINVAL]),
    field_text(Code::MountOptions, &["mounts"], &["option \"", "options", "uids=", "loop devices"]),
    field_text(Code::ConfigRequired, &["mounts"], &["missing", "needs "]),
    field(Code::HostLimit, CONFIG, EXHAUSTED),
    field(Code::RootfsMissing, &["root"], MISSING),
    field(Code::DeviceFailed, &["linux.devices"], &[Errno::EPERM, Errno::EEXIST, Errno::ENOENT, Errno::EINVAL]),
    // namespaces
    field(Code::NamespaceLimit, &["linux.namespaces"], &[Errno::EUSERS]),
    field(Code::NamespaceJoin, &["linux.namespaces"], MISSING),
    field_text(Code::NamespaceJoin, &["linux.namespaces"], &["not a namespace", "is a namespace of type"]),
    field(Code::NamespaceDenied, &["linux.namespaces"], DENIED),
    field(Code::IdMapping, &["linux.uidMappings", "linux.gidMappings"], DENIED),
    // cgroups
    field_text(
        Code::CgroupController,
        &["linux.resources"],
        &["no controller", "needs a cgroup of its own", "does not have the file", "needs cgroup v2"],
    ),
    field(Code::CgroupDenied, &["linux.resources", "linux.cgroupsPath"], DENIED),
    field(Code::CgroupValue, &["linux.resources"], REFUSED),
    field(Code::SysctlFailed, &["linux.sysctl"], DENIED),
    field(Code::SysctlFailed, &["linux.sysctl"], REFUSED),
    // the process
    field(Code::SeccompAgent, &["linux.seccomp.listenerPath"], &[Errno::ECONNREFUSED, Errno::ENOENT]),
    field_text(Code::SeccompAgent, &["linux.seccomp"], &["seccomp agent"]),
    field(Code::LsmFailed, &["process.apparmorProfile", "process.selinuxLabel"], &[]),
    field(Code::ProcessUser, &["process.user"], &[]),
    field(Code::ProcessCapability, &["process.capabilities"], &[]),
    field(Code::ProcessLimit, &["process.rlimits"], DENIED),
    field(Code::NetDevice, &["linux.netDevices"], &[]),
    field(Code::RdtFailed, &["linux.intelRdt"], REFUSED),
    // what is not a failed call but a value
    field_text(Code::ConfigRequired, CONFIG, &[": missing", "needs a ", "needs an ", "is required together"]),
    field_text(Code::ConfigUnknown, CONFIG, &["unknown "]),
    field_text(
        Code::ConfigUnsupported,
        CONFIG,
        &["is not supported", "has no such property", "this machine has no", "is not enabled"],
    ),
    field(Code::SeccompInvalid, &["linux.seccomp"], &[]),
    field(Code::HostUnsupported, CONFIG, &[Errno::ENOSYS, Errno::EOPNOTSUPP]),
    field(Code::ProcessFailed, &["process"], &[Errno::EPERM, Errno::EACCES, Errno::EINVAL, Errno::ENOENT]),
    field(
        Code::RootfsInvalid,
        &["root", "linux.maskedPaths", "linux.readonlyPaths"],
        &[Errno::ELOOP, Errno::EACCES, Errno::EPERM, Errno::EINVAL, Errno::EROFS],
    ),
    field(Code::ConfigInvalid, CONFIG, &[]),
];

/// The rules about images, registries and corm's store.
pub(super) const IMAGES: &[Rule] = &[
    texts(Code::RegistryTls, &["certificate", "UnknownIssuer", "invalid peer"]),
    texts(Code::RegistryPlain, &["plain HTTP", "from https to http"]),
    texts(Code::RegistryAuth, &["HTTP status 401", "HTTP status 403", "not logged in", "UNAUTHORIZED", "DENIED"]),
    texts(Code::RegistryLimit, &["HTTP status 429", "TOOMANYREQUESTS"]),
    texts(Code::RegistryNotFound, &["HTTP status 404", "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "has no tags"]),
    texts(Code::RegistryCut, &["ended early", "bytes early", "cut after", "unexpected end of file"]),
    texts(Code::RegistryAnswer, &["HTML", "not HTTP", "answers no registry"]),
    errno(Code::RegistryUnreachable, &[Errno::ECONNREFUSED, Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::ETIMEDOUT]),
    texts(Code::RegistryUnreachable, &["no such host", "timed out"]),
    texts(Code::RegistryFailed, &["HTTP status "]),
    texts(Code::ImageNotFound, &["No image named", "No image or container named"]),
    texts(Code::NetworkFailed, &["netavark", "slirp4netns", "pasta", "a bridge needs root"]),
    texts(Code::NetworkNotFound, &["No network named"]),
    texts(Code::VolumeNotFound, &["no such volume"]),
    texts(Code::ImageInUse, &["is in use by", "has several names", "several images have an id"]),
    texts(Code::ImagePlatform, &["platform"]),
    texts(Code::StoreDamaged, &["see corm fsck"]),
    texts(
        Code::ImageDigest,
        &["has the digest", "with the digest", "bytes instead of", "were announced", "are announced"],
    ),
    texts(Code::StoreUnsafe, &["store \""]),
    texts(
        Code::ArchiveInvalid,
        &["not a tar archive", "no archive", "no layout", "OCI layout", "manifest.json", "archive ends", "no tar is"],
    ),
    texts(
        Code::ImageName,
        &["image name ", "registry \"", "no other algorithm is supported", "neither a tag nor a name"],
    ),
    texts(Code::ImageInvalid, &["manifest", "--layer-limit", "rootfs.", "index ", "layer", "of the image"]),
    texts(Code::NameTaken, &["exists already", "already exists"]),
];

/// The rules for all else: about cgroups, files, and what the kernel said.
pub(super) const REST: &[Rule] = &[
    texts(Code::CgroupSystemd, &["systemd"]),
    texts(Code::CgroupBusy, &["container's cgroup", "is busy after"]),
    text_errno(Code::CgroupDenied, &["cgroup"], DENIED),
    texts(Code::CgroupFailed, &["cgroup"]),
    texts(Code::NamespaceDenied, &["user namespace"]),
    texts(Code::IdMapping, &["newuidmap", "newgidmap", "uid_map", "gid_map"]),
    texts(Code::TerminalFailed, &["devpts", "/dev/ptmx", "/dev/pts"]),
    texts(Code::FdInvalid, &["is not open"]),
    errno(Code::HostReadOnly, &[Errno::EROFS]),
    errno(Code::HostLimit, EXHAUSTED),
    errno(Code::HostUnsupported, &[Errno::ENOSYS, Errno::EOPNOTSUPP]),
    errno(Code::FileMissing, MISSING),
    errno(Code::FileExists, &[Errno::EEXIST]),
    errno(Code::HostDenied, DENIED),
    errno(Code::FileInvalid, &[Errno::EISDIR, Errno::ELOOP, Errno::ENAMETOOLONG, Errno::ENXIO]),
    field(Code::UsageValue, &["--"], &[]),
    texts(Code::FileInvalid, &["regular file", "a directory", "larger than", "more than"]),
];
