//! A process that is prepared before it is wanted, and what may happen to its container meanwhile. Runs as a test, as root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

use croci::api::{Bundle, Container, CreateOptions, ExecOptions, Job, Outcome, Result, Runtime, Streams};

/// Returns what a released process writes, and how its verb ended.
fn release(job: Job) -> (String, Result<Outcome>) {
    let (mut output, sink) = std::io::pipe().unwrap();
    let streams = Streams::new(None, Some(sink.into()), None);
    job.release(&streams).unwrap();
    drop(streams);
    let ended = job.finish();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    (text, ended)
}

/// Waits until the process of a job has reported its end.
fn wait_for_end(job: &Job) {
    assert!(linux::socket::wait_readable(job.as_fd(), Duration::from_secs(60)).unwrap(), "it waits for ever");
}

fn main() {
    croci::api::protect_program().unwrap();
    if linux::process::euid() != 0 {
        println!("skipped: needs root");
        return;
    }
    let made = test_support::Container::within(&test_support::Sandbox::new(), &["sleep", "1000"]);
    made.write_config();
    let container = Container::named(&Runtime::new().root(&made.sandbox.root), made.id.as_str());
    let create = || {
        container
            .begin_create(&Bundle::open(&made.bundle).unwrap(), &CreateOptions::default())
            .unwrap()
            .finish()
            .unwrap();
        container.start().unwrap();
    };
    create();
    let command = ExecOptions::command(["sh", "-c", "echo $0 $(tr '\\0' ' ' </proc/1/cmdline)", "first process:"]);
    let first = |text: &str| assert_eq!(text, "first process: sleep 1000\n");

    let (text, ended) = release(container.prepare_exec(&command).unwrap());
    ended.unwrap();
    first(&text);

    let job = container.prepare_exec(&command).unwrap();
    container.pause().unwrap();
    let (text, ended) = release(job);
    assert_eq!(text, "");
    assert!(ended.unwrap_err().message().contains("paused"));
    let job = container.prepare_exec(&command).unwrap();
    container.resume().unwrap();
    let (text, ended) = release(job);
    ended.unwrap();
    first(&text);

    let job = container.prepare_exec(&ExecOptions::command(["no-such-program"])).unwrap();
    assert!(release(job).1.unwrap_err().message().contains("executable file"));

    // one that is never released ends, and does nothing afterwards
    let job = container.prepare_exec(&command).unwrap();
    wait_for_end(&job);
    // its end of the socket may be open for a moment more
    let _ = job.release(&Streams::default());
    job.finish().unwrap_err();

    // the ID is another container's now
    let (job, second) = (container.prepare_exec(&command).unwrap(), container.prepare_exec(&command).unwrap());
    container.delete(true).unwrap();
    let (text, ended) = release(second);
    assert_eq!(text, "");
    assert!(ended.unwrap_err().message().contains("does not exist"));
    create();
    let outcome = release(job);
    outcome.1.unwrap();
    first(&outcome.0);
    container.delete(true).unwrap();
    println!("prepared, released and forgotten");
}
