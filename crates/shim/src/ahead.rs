//! Further processes, which are prepared when they are announced, so that `Start` has less to wait for.
//!
//! `Exec` is answered first, and containerd takes longer to ask for `Start` than the preparation takes. One process is prepared at a
//! time. Its streams are opened by `Start`: a client whose input has ended calls `CloseIO` only after it
//! has the answer to `Exec`.

use std::time::{Duration, Instant};

use super::calls::exec_options;
use super::tasks::{Held, Phase, Shim};
use croci::api::Job;

/// Age up to which a prepared process is used, which is less than the time after which it ends by itself.
const FRESH: Duration = Duration::from_secs(5);

impl Shim {
    /// Prepares the process that was announced last, unless another one waits.
    pub(crate) fn prepare_announced(&mut self) {
        let Some((id, exec_id)) = self.announced.take() else { return };
        if self.held.as_ref().is_some_and(|held| held.since.elapsed() < FRESH) {
            return;
        }
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let container = task.container.clone();
        let Some(process) = task.process(&exec_id).filter(|process| process.phase == Phase::Created && !process.busy)
        else {
            return;
        };
        let since = Instant::now();
        // an error is that of `Start`, if it is still one then
        let job = container.prepare_exec(&exec_options(process)).ok();
        self.held = job.map(|job| Held { id, exec_id, job, since });
    }

    /// Takes a prepared process, if there is one that can still be used.
    pub(crate) fn take_held(&mut self, id: &str, exec_id: &str) -> Option<Job> {
        let held = self.held.take_if(|held| held.id == id && held.exec_id == exec_id)?;
        (held.since.elapsed() < FRESH).then_some(held.job)
    }
}
