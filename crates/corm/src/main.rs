//! corm, the image builder: parses the command line, runs the verb, prints an error, exits.

use base::error::Report;
use std::io::Write as _;
use std::process::ExitCode;

use corm::cli;
use corm::cli::Outcome;
use corm::cli::args::{ContainerVerb, Verb};
use corm::commands;
use corm::commands::Context;

fn main() -> ExitCode {
    let (context, verb) = match cli::parse(std::env::args_os()) {
        Outcome::Run(global, verb) => (Context { global }, verb),
        Outcome::Print(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Outcome::Usage { error, usage, verb, .. } => {
            let _ = write!(std::io::stderr(), "corm: {}\n{usage}", error.line());
            return ExitCode::from(failure(matches!(verb, Some("run" | "create" | "exec"))));
        }
    };
    let status = failure(matches!(
        verb,
        Verb::Container(ContainerVerb::Run(_) | ContainerVerb::Create(_) | ContainerVerb::Exec(_))
    ));
    match commands::run(&context, verb) {
        Ok(status) => ExitCode::from(status),
        Err(err) => {
            let _ = writeln!(std::io::stderr(), "corm: {}", Report::of(&err).line());
            ExitCode::from(status)
        }
    }
}

/// Returns the exit status of a failure; `run` and `exec` leave 1 to 124 to the program, as other tools do.
fn failure(of_program: bool) -> u8 {
    if of_program { 125 } else { 1 }
}
