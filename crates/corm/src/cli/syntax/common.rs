//! Flags that several verbs have.

use crate::cli::args::Verb;
use base::cli_parser::Flag;
use base::cli_parser::Flags;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// A verb of corm.
pub(super) type VerbSpec = base::cli_parser::VerbSpec<Verb>;

/// No maximum number of operands.
pub(super) const ANY: usize = usize::MAX;

pub(super) const FORMAT: Flag =
    one("format", None, "FORMAT", "Output format: table, json, or a template of Go [default: table]");
pub(super) const TLS_VERIFY: Flag = switch("tls-verify", None, "Verify certificates and require HTTPS [default: true]");
pub(super) const ENV: Flag = many("env", Some('e'), "K=V", "Set an environment variable (repeatable)");
pub(super) const ENV_FILE: Flag =
    many("env-file", None, "FILE", "Set the environment variables of a file, a line each (repeatable)");
pub(super) const WORKDIR: Flag = one("workdir", Some('w'), "DIR", "Working directory");
pub(super) const USER: Flag = one("user", Some('u'), "USER", "Username or UID (format: USER[:GROUP])");
pub(super) const PLATFORM: Flag = one("platform", None, "OS/ARCH", "Platform of the image [default: this machine's]");
pub(super) const ARCH: Flag = one("arch", None, "ARCH", "Architecture in the place of that of --platform");
pub(super) const OS: Flag = one("os", None, "OS", "Operating system in the place of that of --platform");
pub(super) const VARIANT: Flag = one("variant", None, "VARIANT", "Variant of the architecture");
pub(super) const LABEL: Flag = many("label", Some('l'), "K=V", "Set a label (repeatable)");
pub(super) const DETACH: Flag = switch("detach", Some('d'), "Run in the background");
pub(super) const INTERACTIVE: Flag = switch("interactive", Some('i'), "Keep standard input open");
pub(super) const TTY: Flag = switch("tty", Some('t'), "Allocate a pseudo-terminal");

pub(super) const OUTPUT: Flag = one("output", Some('o'), "PATH", "Output file or directory");

/// `--filter` of verbs on several containers.
pub(super) const SELECT: Flag =
    many("filter", Some('f'), "NAME=VALUE", "The containers that ps lists with this filter (repeatable)");

/// `--filter` of `prune`.
pub(super) const PRUNE_FILTER: Flag =
    many("filter", None, "NAME=VALUE", "Remove only what fits: label=K[=V], label!=K[=V], until=TIME (repeatable)");

/// Defines a verb without trailing arguments; one with a command after its operands has a literal.
pub(super) const fn verb(
    name: &'static str,
    about: &'static str,
    operands: &'static str,
    count: (usize, usize),
    flags: Flags,
    make: fn(&mut base::cli_parser::ParsedArgs) -> anyhow::Result<Verb>,
) -> VerbSpec {
    VerbSpec { name, about, operands, count, has_trailing_args: false, flags, make }
}

/// `--detach-keys`.
pub(super) const DETACH_KEYS: Flag =
    one("detach-keys", None, "KEYS", "Keys that leave the container running [default: ctrl-p,ctrl-q]");

/// `--sig-proxy`.
pub(super) const SIG_PROXY: Flag = switch("sig-proxy", None, "Forward signals to the container [default: true]");
