//! One test in a process of its own: this process is its subreaper, has its own mount namespace and its own directory,
//! waits for the verdict or the time limit, and removes whatever is left. The other side is `schedule`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::cleanup;
use crate::harness::{Harness, name_of};
use crate::tests::{self, Test};
use crate::verdict::Verdict;

/// The option by which the suite calls itself for one test.
pub const FLAG: &str = "--case";
/// The file, beside the test's directory, that holds the verdict.
pub const RESULT: &str = "result";

enum Event {
    Ended(Verdict),
    /// The suite's main process has ended, so that no process waits for the verdict.
    Abandoned,
}

/// Runs the test with the given number: `--case NUMBER RUNTIME WORK SECONDS`.
pub fn main(args: &[String]) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("conformance: {err:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let [number, runtime, work, seconds] = args else { anyhow::bail!("{FLAG} takes four values") };
    let test = tests::all().nth(number.parse()?).context("no such test")?;
    let limit = Duration::from_secs(seconds.parse()?);
    let (runtime, work) = (PathBuf::from(runtime), PathBuf::from(work));
    isolate()?;
    let (events, happened) = mpsc::channel();
    let abandoned = events.clone();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = abandoned.send(Event::Abandoned);
    });
    let place = work.join(std::process::id().to_string());
    let thread_place = place.clone();
    thread::spawn(move || events.send(Event::Ended(verdict(test, &runtime, &thread_place))));
    let event = happened
        .recv_timeout(limit)
        .unwrap_or_else(|_| Event::Ended(Verdict::failed(format!("timed out after {} s", limit.as_secs()))));
    cleanup::all(&name_of(std::process::id()), &place);
    match event {
        Event::Ended(verdict) => {
            let file = work.join(format!("{RESULT}.{}", std::process::id()));
            fs::write(&file, verdict.to_json().to_string()).with_context(|| format!("write {}", file.display()))
        }
        Event::Abandoned => Ok(fs::remove_dir_all(&work)?),
    }
}

fn verdict(test: &Test, runtime: &Path, place: &Path) -> Verdict {
    match Harness::new(runtime, place) {
        Ok(harness) => Verdict::of((test.run)(&harness)),
        Err(err) => Verdict::failed(format!("the suite's own fault: {err:#}")),
    }
}

/// Detaches this process from its surroundings, so that what a runtime does by mistake is undone by its end.
fn isolate() -> Result<()> {
    // no terminal of the caller's, and no interrupt from it: the end of stdin means that the caller has ended
    nix::unistd::setsid().context("begin a session")?;
    // a detached container's init becomes a child of this process, as it does with any caller
    nix::sys::prctl::set_child_subreaper(true).context("become a subreaper")?;
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let none = None::<&Path>;
    mount(none, Path::new("/"), none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none).context("make all mounts slaves")
}
