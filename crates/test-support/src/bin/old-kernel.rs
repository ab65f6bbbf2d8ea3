//! Runs a command as on an older kernel: `old-kernel 5.4 COMMAND ARGUMENT...`. The command and everything that it starts have the
//! filter of `test_support::old_kernel`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use test_support::old_kernel;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let version = arguments.next().and_then(|text| old_kernel::parse(text.to_str()?));
    let (Some(version), Some(command)) = (version, arguments.next()) else {
        eprintln!("usage: old-kernel MAJOR.MINOR COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    };
    if let Err(err) = linux::seccomp::install(&old_kernel::filter(version), 0) {
        eprintln!("old-kernel: the filter: {err}");
        return ExitCode::from(2);
    }
    let err = Command::new(&command).args(arguments).exec();
    eprintln!("old-kernel: {command:?}: {err}");
    ExitCode::from(127)
}
