//! Containers from several threads at once, and what the library leaves as it was. Runs as a test, as root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use croci::api::{Bundle, Container, CreateOptions, ExecOptions, Runtime, Streams};

/// Number of threads.
const THREADS: usize = 6;

/// Returns what a call of the library must not change.
fn facts() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let wanted = ["Umask", "SigBlk", "SigIgn", "SigCgt", "Cpus_allowed", "NoNewPrivs", "Seccomp", "CapEff"];
    let lines = status.lines().filter(|line| wanted.iter().any(|name| line.starts_with(&format!("{name}:"))));
    let links = ["/proc/self/cwd", "/proc/self/ns/mnt", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"];
    let links = links.map(|link| format!("{:?}", std::fs::read_link(link).unwrap()));
    format!("{:?} {links:?} {}", lines.collect::<Vec<_>>(), std::fs::read_dir("/proc/self/fd").unwrap().count())
}

fn main() {
    croci::api::protect_program().unwrap();
    if linux::process::euid() != 0 {
        println!("skipped: needs root");
        return;
    }
    let sandbox = test_support::Sandbox::new();
    croci::api::adopt_processes().unwrap();
    let before = facts();
    let start = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (sandbox, start) = (sandbox.clone(), start.clone());
            std::thread::spawn(move || {
                start.wait();
                let made = test_support::Container::within(
                    &sandbox,
                    &["sh", "-c", "echo $0; sleep 1000", &number.to_string()],
                );
                made.write_config();
                life(&made, number);
            })
        })
        .collect();
    let count = std::fs::read_dir("/proc/self/task").unwrap().count();
    assert!(count > THREADS, "{count} threads");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(facts(), before, "the library changed the caller");
    println!("{THREADS} containers of {count} threads");
}

/// Creates, starts, executes in and deletes a container.
fn life(made: &test_support::Container, number: usize) {
    let runtime = Runtime::new().root(&made.sandbox.root);
    let (mut output, sink) = std::io::pipe().unwrap();
    let options = CreateOptions::default().streams(Streams::new(None, Some(sink.into()), None));
    let container = Container::named(&runtime, made.id.as_str());
    // as an event loop does it: poll, then look
    let mut job = container.begin_create(&Bundle::open(&made.bundle).unwrap(), &options).unwrap();
    drop(options);
    let created = loop {
        assert!(linux::socket::wait_readable(job.as_fd(), Duration::from_secs(30)).unwrap(), "no answer");
        if let Some(result) = job.advance() {
            break result.unwrap();
        }
    };
    container.start().unwrap();
    let mut line = [0; 2];
    output.read_exact(&mut line).unwrap();
    assert_eq!(line, [b'0' + number as u8, b'\n']);
    let done = container.exec(&ExecOptions::command(["no-such-program"])).unwrap_err();
    assert!(done.message().contains("executable file"), "{done}");
    let with_terminal = ExecOptions::command(["sh", "-c", "tty"]).terminal(true);
    let outcome = container.exec(&with_terminal).unwrap();
    let mut text = Vec::new();
    // EIO at the end, when the program has closed it
    let _ = std::fs::File::from(outcome.terminal.expect("a terminal")).read_to_end(&mut text);
    assert!(text.starts_with(b"/dev/pts/"), "{:?}", String::from_utf8_lossy(&text));
    assert_eq!(container.state().unwrap().pid, created.pid);
    container.kill(libc::SIGKILL, false).unwrap();
    assert_eq!(container.wait().unwrap(), Some(137));
    container.delete(false).unwrap();
}
