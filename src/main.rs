//! The program croci: parses the command line, runs the verb, prints at most one error and exits.

#![no_main]

use base::error::Report;
use std::io::Write as _;

use base::log::Log;
use base::signal_guard::Interrupted;
use croci::cli;
use croci::cli::Outcome;
use croci::cli::args::Verb;
use croci::commands;

linux::program!(call);

// musl's allocator asks the kernel for memory and gives it back 90 times in a run
#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Does what the command line says and returns the exit status.
fn call() -> u8 {
    match cli::parse(linux::binary::arguments()) {
        Outcome::Run(command) => run(&command),
        Outcome::Print(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            0
        }
        Outcome::Usage { error, usage, global, verb } => {
            // to the log of --log too, because callers read the reason there
            open_log(&global).unwrap_or_else(|_| Log::stderr()).error(&error);
            let _ = std::io::stderr().write_all(usage.as_bytes());
            failure(verb == Some("exec"))
        }
    }
}

/// Runs a verb and returns croci's exit status: 1 after an error, 128 + N when signal N interrupted croci.
fn run(command: &cli::args::Command) -> u8 {
    let failed = failure(matches!(command.verb, Verb::Exec(_)));
    let log = match open_log(&command.global) {
        Ok(log) => log.keep(),
        Err(err) => {
            Log::stderr().error(&Report::of(&err));
            return failed;
        }
    };
    match commands::run(command, log) {
        Ok(status) => status as u8,
        Err(err) => {
            log.error(&Report::of(&err));
            err.downcast_ref::<Interrupted>().map_or(failed, |interrupted| 128 + interrupted.0 as u8)
        }
    }
}

/// Returns the exit status of a failure of croci itself. `exec` leaves 1 to 254 to the program, as runc does.
fn failure(of_exec: bool) -> u8 {
    if of_exec { 255 } else { 1 }
}

/// Opens the log of `--log`, `--log-format` and `--log-level`.
fn open_log(global: &cli::args::Global) -> anyhow::Result<Log> {
    Log::open(global.log.as_deref(), global.log_format, global.log_level)
}
