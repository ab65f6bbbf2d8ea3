//! The life of a container by the library: `lifecycle BUNDLE`, as root. Without an argument, as a test runs it, it makes a
//! bundle of its own with busybox.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::io::Read as _;
use std::path::PathBuf;

use croci::api::{Bundle, Code, Container, CreateOptions, ExecOptions, Runtime, Status, Streams};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // first, because it executes the program again from where no container can write to it
    croci::api::protect_program()?;
    let made = match std::env::args().nth(1) {
        Some(_) => None,
        None if linux::process::euid() != 0 => {
            println!("skipped: needs root");
            return Ok(());
        }
        None => Some(test_support::Container::sh("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done")),
    };
    // so that `wait` learns the exit status
    croci::api::adopt_processes()?;
    let (bundle, root, id) = match &made {
        Some(made) => {
            made.write_config();
            (made.bundle.clone(), made.sandbox.root.clone(), made.id.clone())
        }
        None => {
            (PathBuf::from(std::env::args().nth(1).unwrap()), PathBuf::from("/run/lifecycle"), "example".to_owned())
        }
    };
    let runtime = Runtime::new().root(root);
    let bundle = Bundle::open(bundle)?;

    // the program's output comes by a pipe
    let (mut output, sink) = std::io::pipe()?;
    let streams = Streams::new(None, Some(sink.into()), None);
    let (container, outcome) =
        Container::create(&runtime, id.clone(), &bundle, &CreateOptions::default().streams(streams))?;
    assert_eq!((container.state()?.status, container.state()?.pid), (Status::Created, outcome.pid));
    container.start()?;
    let mut line = [0; 3];
    output.read_exact(&mut line)?;
    assert_eq!(&line, b"up\n");

    further_process(&container)?;

    // limits and counters; a host may have no cgroups for them
    container.pause()?;
    assert_eq!(container.state()?.status, Status::Paused);
    container.resume()?;
    container.update(r#"{"pids": {"limit": 50}}"#)?;
    println!("{}", serde_json::to_string(&container.stats()?)?);
    assert!(container.processes()?.contains(&outcome.pid));

    // errors have codes
    let err = Container::create(&runtime, id, &bundle, &CreateOptions::default()).unwrap_err();
    assert_eq!(err.code(), Code::ContainerExists, "{err}");
    assert!(container.delete(false).is_err(), "it runs");

    container.kill(libc::SIGTERM, false)?;
    assert_eq!(container.wait()?, Some(7));
    container.delete(false)?;
    assert_eq!(container.state().unwrap_err().code(), Code::ContainerNotFound);
    Ok(())
}

/// Runs a further process in the container and reads its output.
fn further_process(container: &Container) -> Result<(), Box<dyn std::error::Error>> {
    let (mut said, sink) = std::io::pipe()?;
    let exec = ExecOptions::command(["sh", "-c", "echo from $A; exit 3"]).env("A=inside");
    container.exec(&exec.streams(Streams::new(None, Some(sink.into()), None)))?;
    let mut text = String::new();
    said.read_to_string(&mut text)?;
    assert_eq!(text, "from inside\n");
    Ok(())
}
