//! Runs the chosen tests, some side by side, each in a process (`case`), and passes on the verdicts in their order.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context as _, Result};

use crate::harness::{self, name_of};
use crate::tests::Test;
use crate::verdict::Verdict;
use crate::{case, cleanup};

/// The time that a test's process may take to clean up after the test's own time is over.
const GRACE: Duration = Duration::from_secs(30);

/// A test and its number in the registry.
pub type Chosen = (usize, &'static Test);

/// The result of one test.
pub struct Outcome {
    pub test: &'static Test,
    pub verdict: Verdict,
    pub took: Duration,
    /// What was seen in a first run that failed, when the second has passed.
    pub first: Option<String>,
}

/// The settings that the tests' processes need.
pub struct Schedule {
    runtime: PathBuf,
    work: PathBuf,
    timeout: Duration,
}

impl Schedule {
    /// Creates the directory below which each test has its own.
    pub fn new(runtime: &Path, timeout: Duration) -> Result<Self> {
        // the orphans of a test's process that was killed become children of this one
        nix::sys::prctl::set_child_subreaper(true).context("become a subreaper")?;
        let work = std::env::temp_dir().join(format!("conformance.{}", std::process::id()));
        // containers with other ids traverse it
        fs::DirBuilder::new().mode(0o755).create(&work).with_context(|| format!("make {}", work.display()))?;
        let schedule = Self { runtime: runtime.to_owned(), work, timeout };
        harness::make_template(&schedule.work)?;
        Ok(schedule)
    }

    /// Runs the tests; `print` receives each outcome in the order of the tests.
    pub fn run(&self, chosen: &[Chosen], jobs: usize, mut print: impl FnMut(Outcome)) {
        let next = AtomicUsize::new(0);
        let (sender, outcomes) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..jobs.min(chosen.len()) {
                let (next, sender) = (&next, sender.clone());
                scope.spawn(move || {
                    while let Some((at, one)) = take(next, chosen) {
                        let _ = sender.send((at, self.one(*one)));
                    }
                });
            }
            drop(sender);
            let mut early = BTreeMap::new();
            let mut printed = 0;
            for (at, outcome) in outcomes {
                early.insert(at, outcome);
                while let Some(outcome) = early.remove(&printed) {
                    print(outcome);
                    printed += 1;
                }
            }
        });
    }

    /// Runs one test, once more when it fails: on a busy machine a deadline may have been too short.
    fn one(&self, (number, test): Chosen) -> Outcome {
        let start = Instant::now();
        let (mut verdict, mut first) = (self.verdict(number), None);
        if let Verdict::Fail { seen, .. } = &verdict {
            let again = self.verdict(number);
            if again == Verdict::Pass {
                (first, verdict) = (Some(seen.clone()), again);
            }
        }
        Outcome { test, verdict, took: start.elapsed(), first }
    }

    /// Runs one test in its process.
    fn verdict(&self, number: usize) -> Verdict {
        match self.spawn(number) {
            Ok(mut child) => self.wait(&mut child),
            Err(err) => Verdict::failed(format!("the suite's own fault: {err:#}")),
        }
    }

    fn spawn(&self, number: usize) -> Result<Child> {
        Command::new("/proc/self/exe")
            .args([case::FLAG, &number.to_string()])
            .args([&self.runtime, &self.work])
            .arg(self.timeout.as_secs().to_string())
            .stdin(Stdio::piped())
            .spawn()
            .context("run a test's process")
    }

    fn wait(&self, child: &mut Child) -> Verdict {
        let pid = child.id();
        let status = harness::wait_for(child, self.timeout + GRACE);
        let file = self.work.join(format!("{}.{pid}", case::RESULT));
        let verdict = fs::read(&file).ok().and_then(|text| Verdict::from_json(&serde_json::from_slice(&text).ok()?));
        let _ = fs::remove_file(&file);
        verdict.unwrap_or_else(|| {
            // the process was killed before it cleaned up; its processes outside of cgroups are killed when all tests
            // have ended
            cleanup::remove_cgroups(&name_of(pid));
            let how = status.map_or_else(|why| why, |status| status.to_string());
            Verdict::failed(format!("the suite's own fault: the test's process ended without a verdict: {how}"))
        })
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        cleanup::end_descendants();
        cleanup::unmount(&self.work);
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// Returns the next test that no worker has taken.
fn take<'t>(next: &AtomicUsize, chosen: &'t [Chosen]) -> Option<(usize, &'t Chosen)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, chosen.get(at)?))
}
