//! corm, the image builder: parse, call `croci::image`, print the error once, exit.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, Command, value_parser};

fn command() -> Command {
    let path = |name: &'static str| Arg::new(name).value_parser(value_parser!(PathBuf)).required(true);
    Command::new("corm")
        .about("Makes what an OCI runtime starts")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("bundle")
                .about(
                    "Make an OCI bundle of a directory: a faithful copy of it, and the default config.json for a shell",
                )
                .arg(path("DIR").help("The directory that becomes the root file system"))
                .arg(path("BUNDLE").help("The bundle to make; must not exist")),
        )
}

fn main() -> ExitCode {
    run(std::env::args_os().collect())
}

fn run(args: Vec<OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(err) => {
            // a closed standard output is no reason to fail otherwise than by status
            let printed = err.print().is_ok();
            return if err.use_stderr() || !printed { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let result = match matches.subcommand() {
        Some(("bundle", args)) => {
            let path = |name| args.get_one::<PathBuf>(name).map_or(Path::new(""), PathBuf::as_path);
            croci::image::bundle::make(path("DIR"), path("BUNDLE"))
        }
        _ => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let _ = writeln!(std::io::stderr(), "corm: {}", croci::error::describe(&err));
            ExitCode::FAILURE
        }
    }
}
