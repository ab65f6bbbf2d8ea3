//! How the kernel's error makes the code of a kind more exact: a mount that fails with `ENOENT` misses its source.

use nix::errno::Errno;

use super::code::Code;

const DENIED: &[Errno] = &[Errno::EPERM, Errno::EACCES];
const MISSING: &[Errno] = &[Errno::ENOENT, Errno::ENOTDIR];
const EXHAUSTED: &[Errno] =
    &[Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOSPC, Errno::EDQUOT, Errno::EAGAIN, Errno::EFBIG];
const UNSUPPORTED: &[Errno] = &[Errno::ENOSYS, Errno::EOPNOTSUPP];
const UNREACHABLE: &[Errno] = &[Errno::ECONNREFUSED, Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::ETIMEDOUT];

/// A row: a code, errnos, and the code that the two make. The first that fits counts.
type Row = (Code, &'static [Errno], Code);

const ROWS: &[Row] = &[
    (Code::MountFailed, MISSING, Code::MountSourceMissing),
    (Code::MountFailed, &[Errno::ENODEV], Code::MountUnknownFs),
    (Code::MountFailed, DENIED, Code::MountDenied),
    (Code::MountFailed, &[Errno::ELOOP, Errno::ENAMETOOLONG], Code::MountDestination),
    (Code::MountFailed, &[Errno::EINVAL, Errno::ENOTBLK], Code::MountOptions),
    (Code::ConfigMissing, DENIED, Code::HostDenied),
    (Code::BundleMissing, DENIED, Code::HostDenied),
    (Code::TerminalListener, DENIED, Code::HostDenied),
    (Code::RootfsInvalid, MISSING, Code::RootfsMissing),
    (Code::NamespaceJoin, DENIED, Code::NamespaceDenied),
    (Code::NamespaceJoin, &[Errno::EUSERS, Errno::ENOSPC], Code::NamespaceLimit),
    (Code::NamespaceDenied, &[Errno::EUSERS, Errno::ENOSPC], Code::NamespaceLimit),
    (Code::CgroupValue, DENIED, Code::CgroupDenied),
    (Code::CgroupFailed, DENIED, Code::CgroupDenied),
    (Code::CgroupFailed, &[Errno::EROFS], Code::HostReadOnly),
    (Code::ExecFailed, MISSING, Code::ExecNotFound),
    (Code::ExecFailed, &[Errno::ELOOP, Errno::ENAMETOOLONG], Code::ExecNotFound),
    (Code::ExecFailed, DENIED, Code::ExecDenied),
    (Code::ExecFailed, &[Errno::ENOEXEC], Code::ExecFormat),
    (Code::ExecFailed, &[Errno::E2BIG], Code::ExecTooLong),
    (Code::HookFailed, MISSING, Code::HookMissing),
    (Code::HookFailed, DENIED, Code::HookMissing),
    (Code::HookFailed, &[Errno::ENOEXEC], Code::HookMissing),
    (Code::StateRoot, &[Errno::EROFS], Code::HostReadOnly),
    (Code::UsageValue, MISSING, Code::FileMissing),
    (Code::UsageValue, DENIED, Code::HostDenied),
    (Code::UsageValue, &[Errno::EROFS], Code::HostReadOnly),
    (Code::ConfigInvalid, DENIED, Code::ProcessFailed),
    (Code::RegistryFailed, UNREACHABLE, Code::RegistryUnreachable),
    (Code::StoreUnsafe, &[Errno::EROFS], Code::HostReadOnly),
    (Code::Failed, &[Errno::EROFS], Code::HostReadOnly),
    (Code::Failed, MISSING, Code::FileMissing),
    (Code::Failed, &[Errno::EEXIST], Code::FileExists),
    (Code::Failed, DENIED, Code::HostDenied),
    (Code::Failed, &[Errno::EISDIR, Errno::ELOOP, Errno::ENAMETOOLONG, Errno::ENXIO], Code::FileInvalid),
    (Code::Failed, UNREACHABLE, Code::RegistryUnreachable),
];

/// The codes of kinds, whose cause is the host if it has reached a limit or lacks the call.
const OF_HOST: &[Code] = &[
    Code::MountFailed,
    Code::RootfsInvalid,
    Code::NamespaceDenied,
    Code::CgroupFailed,
    Code::ExecFailed,
    Code::ConfigInvalid,
    Code::ProcessFailed,
    Code::DeviceFailed,
    Code::StateRoot,
    Code::StoreUnsafe,
    Code::UsageValue,
    Code::TerminalFailed,
    Code::FileInvalid,
    Code::HookFailed,
    Code::Failed,
];

impl Code {
    /// Returns the code that this one is with the kernel's error.
    pub(super) fn refined(self, errno: Option<Errno>) -> Code {
        let Some(errno) = errno else { return self };
        if let Some((_, _, exact)) = ROWS.iter().find(|(code, errnos, _)| *code == self && errnos.contains(&errno)) {
            return *exact;
        }
        match OF_HOST.contains(&self) {
            true if EXHAUSTED.contains(&errno) => Code::HostLimit,
            true if UNSUPPORTED.contains(&errno) => Code::HostUnsupported,
            _ => self,
        }
    }
}
