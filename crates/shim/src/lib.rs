//! containerd-shim-croci-v2: the shim of containerd that is the runtime, too.
//!
//! containerd calls `start` for each container, which answers with the address of a socket; behind it is one process for each
//! pod (`server`), with one thread, because croci forks. Every container is made by the library `croci::api`.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]
#![deny(clippy::indexing_slicing)]

mod ahead;
mod args;
mod calls;
mod cleanup;
mod ends;
mod exit;
mod idmapped;
mod info;
mod logger;
mod options;
mod pod;
mod proto;
mod publisher;
mod relay;
mod rootfs;
mod sandbox;
mod server;
mod start;
mod stats;
mod streams;
mod tasks;
mod wire;

use std::io::Write as _;
/// Does what the command line asks for and returns the exit status.
pub fn call() -> u8 {
    let words = linux::binary::arguments().into_iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    match args::parse(words).and_then(|args| run(&args)) {
        Ok(()) => 0,
        Err(err) => {
            let _ = writeln!(std::io::stderr(), "containerd-shim-croci-v2: {}", base::error::describe(&err));
            1
        }
    }
}

/// Does what the command line says.
fn run(args: &args::Args) -> anyhow::Result<()> {
    if args.version {
        let text = format!("containerd-shim-croci-v2:\n  Version:  {}\n", env!("CARGO_PKG_VERSION"));
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    if args.info {
        return info::print();
    }
    if args.action == pod::ACTION {
        return pod::pause();
    }
    args::check_name("-namespace", &args.namespace)?;
    match args.action.as_str() {
        "start" => start::start(args),
        "delete" => cleanup::delete(args),
        "serve" => {
            // first, because it executes the program again
            croci::api::protect_program()?;
            server::serve(args)
        }
        other => anyhow::bail!("{other:?}: the action must be start or delete"),
    }
}
