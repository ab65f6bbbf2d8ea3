//! Ends: of processes, which become events and answers, and of verbs at work.

use prost::Message as _;

use super::exit::Exit;
use super::options::{self, Kept};
use super::proto::events::{
    TaskCheckpointed, TaskCreate, TaskDelete, TaskExecStarted, TaskExit, TaskIo, TaskOnly, TaskStart,
};
use super::proto::task::{DeleteResponse, PidResponse};
use super::proto::{Empty, Status, Timestamp};
use super::rootfs;
use super::tasks::{Phase, Shim, What, Work, failed, not_found, wrong};
use croci::api::{Outcome, Result};

impl Shim {
    /// Takes the end of a child.
    pub(crate) fn child_ended(&mut self, pid: i32, code: i32) {
        let exit = Exit { status: code as u32, at: Timestamp::now() };
        if self.pod_ended(pid, exit) {
            return;
        }
        let mut found = None;
        for (id, task) in &mut self.tasks {
            for (exec_id, process) in
                task.processes().filter(|(_, process)| process.pid == pid && process.exit.is_none())
            {
                found = Some((id.clone(), exec_id.to_owned(), process.busy));
            }
        }
        match found {
            Some((id, exec_id, false)) => self.settle(&id, &exec_id, exit),
            Some((id, exec_id, true)) => {
                if let Some(process) = self.tasks.get_mut(&id).and_then(|task| task.process(&exec_id)) {
                    process.held = Some(exit);
                }
            }
            // perhaps of a process whose creation has not been reported yet
            None if !self.works.is_empty() => drop(self.ended.insert(pid, exit)),
            None => {}
        }
    }

    /// Makes an end known. That of the first process comes last, as in runc's shim.
    fn settle(&mut self, id: &str, exec_id: &str, exit: Exit) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if exec_id.is_empty() {
            if !task.private_pids {
                // the others would outlive it
                let _ = task.container.kill(libc::SIGKILL, true);
            }
            if task.runs_others() {
                task.init.held = Some(exit);
                return;
            }
            let kills = task.oom.as_mut().map_or(0, |watch| watch.events(true).unwrap_or(0));
            task.oom = None;
            self.report_oom(id, kills);
        }
        let Some(process) = self.tasks.get_mut(id).and_then(|task| task.process(exec_id)) else { return };
        (process.exit, process.held, process.phase) = (Some(exit), None, Phase::Stopped);
        process.io.close_stdin();
        if let Some(relay) = &mut process.io.relay {
            relay.end_soon();
        }
        let pid = process.pid as u32;
        let waiting = std::mem::take(&mut process.waiting);
        let event = TaskExit {
            container_id: id.to_owned(),
            id: if exec_id.is_empty() { id } else { exec_id }.to_owned(),
            pid,
            exit_status: exit.status,
            exited_at: Some(exit.at),
        };
        if exec_id.is_empty() {
            self.publisher.publish("/tasks/exit", "TaskExit", &event);
        } else {
            self.publisher.publish_later("/tasks/exit", "TaskExit", &event);
        }
        waiting.into_iter().for_each(|caller| self.answer(caller, Ok(exit.answer())));
        if !exec_id.is_empty() {
            self.settle_first(id);
        }
    }

    /// Makes the end of the first process known if it was held for another one.
    fn settle_first(&mut self, id: &str) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        if !task.runs_others()
            && !task.init.busy
            && let Some(exit) = task.init.held.take()
        {
            self.settle(id, "", exit);
        }
    }

    /// Publishes OOM kills of a container.
    pub(crate) fn report_oom(&mut self, id: &str, kills: u64) {
        for _ in 0..kills {
            self.publisher.publish("/tasks/oom", "TaskOOM", &TaskOnly { container_id: id.to_owned() });
        }
    }

    /// Takes the end of a verb: its events, its answer, and the end of its process if that came first.
    pub(crate) fn work_ended(&mut self, work: Work, result: Result<Outcome>) {
        let Work { job, what, id, exec_id, caller } = work;
        // its process may take some time to end, and is reaped as all others
        job.leave();
        let what = match what {
            What::Pod(step) => return self.step_ended(step, caller, result),
            what => what,
        };
        if let Some(process) = self.tasks.get_mut(&id).and_then(|task| task.process(&exec_id)) {
            process.busy = false;
        }
        let result = match result {
            Ok(mut outcome) => {
                let warnings = std::mem::take(&mut outcome.warnings);
                self.warn(&id, &warnings);
                self.succeeded(&what, &id, &exec_id, outcome)
            }
            Err(err) => {
                if matches!(what, What::Create) {
                    self.forget(&id);
                } else if matches!(what, What::Exec)
                    && let Some(process) = self.tasks.get_mut(&id).and_then(|task| task.process(&exec_id))
                {
                    // its streams end now; the client deletes it
                    process.io = Default::default();
                    process.phase = Phase::Stopped;
                }
                Err(failed(&err))
            }
        };
        self.answer(caller, result);
        let held = self.tasks.get_mut(&id).and_then(|task| {
            let process = task.process(&exec_id)?;
            process.held.take().or_else(|| self.ended.remove(&process.pid).filter(|_| process.pid != 0))
        });
        if let Some(exit) = held {
            self.settle(&id, &exec_id, exit);
        }
        if self.works.is_empty() {
            self.ended.clear();
        }
    }

    /// Removes a container that could not be created.
    pub(crate) fn forget(&mut self, id: &str) {
        if let Some(task) = self.tasks.remove(id)
            && let Err(err) = rootfs::unmount(&task.bundle.join("rootfs"))
        {
            self.warn(id, &[base::error::describe(&err)]);
        }
    }

    /// Does what follows a verb that succeeded, and returns the answer.
    fn succeeded(
        &mut self,
        what: &What,
        id: &str,
        exec_id: &str,
        outcome: Outcome,
    ) -> std::result::Result<Vec<u8>, Status> {
        let name = id.to_owned();
        let Some(task) = self.tasks.get_mut(id) else { return Err(not_found(id, exec_id)) };
        if let What::Delete = what {
            return self.deleted(id);
        }
        if let What::Checkpoint(path) = what {
            let event = TaskCheckpointed { container_id: name, checkpoint: path.clone() };
            self.publisher.publish("/tasks/checkpointed", "TaskCheckpointed", &event);
            return Ok(Empty {}.encode_to_vec());
        }
        let (bundle, rootfs) = (task.bundle.display().to_string(), task.rootfs.clone());
        let given = task.options.clone();
        let watch = if matches!(what, What::Start | What::Restore) { task.container.oom_watch() } else { Ok(None) };
        task.oom = task.oom.take().or(watch.unwrap_or(None));
        let bundle_dir = task.bundle.clone();
        let Some(process) = task.process(exec_id) else { return Err(not_found(id, exec_id)) };
        if outcome.pid != 0 {
            process.pid = outcome.pid;
        }
        process.io.connect(outcome.terminal).map_err(|err| wrong(&err))?;
        let pid = process.pid as u32;
        if !matches!(what, What::Create) {
            process.phase = Phase::Running;
        }
        let paths = process.paths.clone();
        match what {
            What::Create => {
                let kept = Kept { root: options::root(&given, &self.namespace), pid: pid as i32, ..Kept::default() };
                kept.write(&bundle_dir).map_err(|err| wrong(&err))?;
                let io =
                    TaskIo { stdin: paths.stdin, stdout: paths.stdout, stderr: paths.stderr, terminal: paths.terminal };
                let event =
                    TaskCreate { container_id: name, bundle, rootfs, io: Some(io), checkpoint: String::new(), pid };
                self.publisher.publish("/tasks/create", "TaskCreate", &event);
            }
            What::Exec => {
                let event = TaskExecStarted { container_id: name, exec_id: exec_id.to_owned(), pid };
                self.publisher.publish_later("/tasks/exec-started", "TaskExecStarted", &event);
            }
            _ => self.publisher.publish("/tasks/start", "TaskStart", &TaskStart { container_id: name, pid }),
        }
        Ok(PidResponse { pid }.encode_to_vec())
    }

    /// Removes a container that was deleted.
    fn deleted(&mut self, id: &str) -> std::result::Result<Vec<u8>, Status> {
        let Some(mut task) = self.tasks.remove(id) else { return Err(not_found(id, "")) };
        if let Err(err) = rootfs::unmount(&task.bundle.join("rootfs")) {
            let status = wrong(&err);
            self.tasks.insert(id.to_owned(), task);
            return Err(status);
        }
        // a container that was never started has been killed
        let exit = task.init.exit.or(task.init.held).unwrap_or_else(Exit::killed);
        let pid = task.init.pid as u32;
        let waiting: Vec<_> = task.processes().flat_map(|(_, process)| std::mem::take(&mut process.waiting)).collect();
        waiting.into_iter().for_each(|caller| self.answer(caller, Ok(exit.answer())));
        let event = TaskDelete {
            container_id: id.to_owned(),
            pid,
            exit_status: exit.status,
            exited_at: Some(exit.at),
            id: String::new(),
        };
        self.publisher.publish("/tasks/delete", "TaskDelete", &event);
        Ok(DeleteResponse { pid, exit_status: exit.status, exited_at: Some(exit.at) }.encode_to_vec())
    }
}
