//! The methods of the task service.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prost::Message as _;
use serde::Deserialize;

use super::args::check_name;
use super::proto::events::{TaskExecAdded, TaskOnly};
use super::proto::options::{CheckpointOptions, ProcessDetails};
use super::proto::task as t;
use super::proto::{Any, Empty, Status, Timestamp};
use super::streams::{Io, Paths};
use super::tasks::{Answer, Phase, Process, Shim, Task, What, Work, failed, not_found, status, wrong};
use super::wire::{Caller, code};
use super::{options, rootfs, stats};
use croci::api::{self, Bundle, Container, CreateOptions, ExecOptions, RestoreOptions};

/// Time to hand over the last events when the shim ends.
pub(crate) const FAREWELL: Duration = Duration::from_secs(3);

/// The answer to a call that is not answered now.
pub(crate) type Later = std::result::Result<Option<Vec<u8>>, Status>;

/// The part of config.json that the shim needs.
#[derive(Deserialize, Default)]
struct Spec {
    #[serde(default)]
    linux: Linux,
}

/// `linux` of config.json.
#[derive(Deserialize, Default)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
}

/// A namespace of config.json.
#[derive(Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

/// Decodes the message of a call.
pub(crate) fn read<T: prost::Message + Default>(payload: &[u8]) -> std::result::Result<T, Status> {
    T::decode(payload).map_err(|err| status(code::INVALID_ARGUMENT, err.to_string()))
}

/// Returns the answer without a message.
fn empty() -> Later {
    Ok(Some(Empty {}.encode_to_vec()))
}

impl Shim {
    /// Returns a container.
    fn task(&mut self, id: &str) -> std::result::Result<&mut Task, Status> {
        self.tasks.get_mut(id).ok_or_else(|| not_found(id, ""))
    }

    /// Returns a process of a container.
    fn process(&mut self, id: &str, exec_id: &str) -> std::result::Result<&mut Process, Status> {
        self.task(id)?.process(exec_id).ok_or_else(|| not_found(id, exec_id))
    }

    /// Begins a verb, whose end answers the call.
    fn begin(&mut self, job: api::Result<api::Job>, what: What, (id, exec_id): (&str, &str), caller: Caller) -> Later {
        let job = match job {
            Ok(job) => job,
            Err(err) => {
                if matches!(what, What::Create) {
                    self.forget(id);
                }
                return Err(failed(&err));
            }
        };
        if let Ok(process) = self.process(id, exec_id) {
            process.busy = true;
        }
        self.works.push(Work { job, what, id: id.to_owned(), exec_id: exec_id.to_owned(), caller });
        Ok(None)
    }

    /// `Create`
    pub(crate) fn create(&mut self, request: t::CreateTaskRequest, caller: Caller) -> Later {
        let id = request.id.clone();
        check_name("container ID", &id).map_err(|err| status(code::INVALID_ARGUMENT, err.to_string()))?;
        if self.tasks.contains_key(&id) {
            return Err(status(code::ALREADY_EXISTS, format!("container {id} exists")));
        }
        let given = options::decode(request.options.as_ref()).map_err(|err| wrong(&err))?;
        if !given.binary_name.is_empty() {
            let text = format!("BinaryName {:?} is ignored: this shim is the runtime", given.binary_name);
            self.warn(&id, &[text]);
        }
        let bundle = PathBuf::from(&request.bundle);
        let private_pids = has_private_pids(&bundle).map_err(|err| wrong(&err))?;
        let paths =
            Paths { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal };
        let (io, streams) = Io::open(&paths, &self.namespace, &id).map_err(|err| wrong(&err))?;
        // before anything is mounted, because a shim that is killed leaves it to `delete`
        let kept = options::Kept { root: options::root(&given, &self.namespace), ..Default::default() };
        kept.write(&bundle).map_err(|err| wrong(&err))?;
        if let Some(pod) = &self.pod {
            pod.share(&bundle).map_err(|err| wrong(&err))?;
        }
        rootfs::mount(&request.rootfs, &bundle.join("rootfs")).map_err(|err| wrong(&err))?;
        let container = Container::named(&options::runtime(&given, &self.namespace), &id);
        let create = CreateOptions::default()
            .streams(streams)
            .no_pivot(given.no_pivot_root)
            .no_new_keyring(given.no_new_keyring)
            .pid_file(bundle.join("init.pid"));
        let mut task = Task {
            container: container.clone(),
            bundle: bundle.clone(),
            rootfs: request.rootfs,
            options: given,
            init: Process::new(paths, Vec::new()),
            execs: Default::default(),
            oom: None,
            paused: false,
            private_pids,
            restore: None,
        };
        task.init.io = io;
        if !request.checkpoint.is_empty() {
            let work = bundle.join("criu-work");
            let restore = RestoreOptions::new(&request.checkpoint, create).work_path(work);
            task.restore = Some((restore, request.checkpoint));
            self.tasks.insert(id, task);
            return Ok(Some(t::PidResponse { pid: 0 }.encode_to_vec()));
        }
        self.tasks.insert(id.clone(), task);
        self.begin(container.begin_create(&Bundle::at(bundle), &create), What::Create, (id.as_str(), ""), caller)
    }

    /// `Start`
    pub(crate) fn start(&mut self, request: &t::ProcessRequest, caller: Caller) -> Later {
        let (id, exec_id) = (request.id.as_str(), request.exec_id.as_str());
        let namespace = self.namespace.clone();
        let held = self.take_held(id, exec_id);
        let task = self.task(id)?;
        let process = task.process(exec_id).ok_or_else(|| not_found(id, exec_id))?;
        if process.phase != Phase::Created || process.busy {
            return Err(status(code::FAILED_PRECONDITION, "the process was started already"));
        }
        if !exec_id.is_empty() {
            let (io, streams) = Io::open(&process.paths, &namespace, id).map_err(|err| wrong(&err))?;
            process.io = io;
            let exec = exec_options(process);
            let job = match held.filter(|job| job.release(&streams).is_ok()) {
                Some(job) => Ok(job),
                None => task.container.begin_exec(&exec.streams(streams)),
            };
            return self.begin(job, What::Exec, (id, exec_id), caller);
        }
        if let Some((restore, _)) = task.restore.take() {
            let work = task.bundle.join("criu-work");
            std::fs::create_dir_all(&work).map_err(|err| wrong(&anyhow::Error::from(err).context("criu-work")))?;
            let job = task.container.begin_restore(&Bundle::at(&task.bundle), &restore);
            return self.begin(job, What::Restore, (id, ""), caller);
        }
        let job = task.container.begin_start();
        self.begin(job, What::Start, (id, ""), caller)
    }

    /// `Exec`
    pub(crate) fn exec(&mut self, request: t::ExecProcessRequest) -> Later {
        let task = self.task(&request.id)?;
        check_name("exec ID", &request.exec_id).map_err(|err| status(code::INVALID_ARGUMENT, err.to_string()))?;
        if task.execs.contains_key(&request.exec_id) {
            return Err(status(code::ALREADY_EXISTS, format!("process {} exists", request.exec_id)));
        }
        let paths =
            Paths { stdin: request.stdin, stdout: request.stdout, stderr: request.stderr, terminal: request.terminal };
        let spec = request.spec.map(|any| any.value).unwrap_or_default();
        task.execs.insert(request.exec_id.clone(), Process::new(paths, spec));
        self.announced = Some((request.id.clone(), request.exec_id.clone()));
        let event = TaskExecAdded { container_id: request.id, exec_id: request.exec_id };
        self.publisher.publish_later("/tasks/exec-added", "TaskExecAdded", &event);
        empty()
    }

    /// `Delete`
    pub(crate) fn delete(&mut self, request: &t::ProcessRequest, caller: Caller) -> Later {
        let (id, exec_id) = (request.id.as_str(), request.exec_id.as_str());
        let task = self.task(id)?;
        let process = task.process(exec_id).ok_or_else(|| not_found(id, exec_id))?;
        if process.phase == Phase::Running && process.exit.is_none() || process.busy {
            return Err(status(code::FAILED_PRECONDITION, "cannot delete a running process"));
        }
        if exec_id.is_empty() {
            // also where CRIU or a failed start has removed it
            let job = task.container.begin_delete(true);
            return self.begin(job, What::Delete, (id, ""), caller);
        }
        let (pid, exit) = (process.pid as u32, process.exit);
        task.execs.remove(exec_id);
        self.take_held(id, exec_id);
        let exited_at = exit.map_or_else(Timestamp::now, |exit| exit.at);
        let exit_status = exit.map_or(0, |exit| exit.status);
        Ok(Some(t::DeleteResponse { pid, exit_status, exited_at: Some(exited_at) }.encode_to_vec()))
    }

    /// `State`
    pub(crate) fn state(&mut self, request: &t::ProcessRequest) -> Later {
        let task = self.task(&request.id)?;
        let (bundle, paused) = (task.bundle.display().to_string(), task.paused);
        let process = task.process(&request.exec_id).ok_or_else(|| not_found(&request.id, &request.exec_id))?;
        let status = match process.phase {
            Phase::Created => t::status::CREATED,
            Phase::Running if paused && request.exec_id.is_empty() => t::status::PAUSED,
            Phase::Running => t::status::RUNNING,
            Phase::Stopped => t::status::STOPPED,
        };
        let answer = t::StateResponse {
            id: if request.exec_id.is_empty() { request.id.clone() } else { request.exec_id.clone() },
            bundle,
            pid: process.pid as u32,
            status,
            stdin: process.paths.stdin.clone(),
            stdout: process.paths.stdout.clone(),
            stderr: process.paths.stderr.clone(),
            terminal: process.paths.terminal,
            exit_status: process.exit.map_or(0, |exit| exit.status),
            exited_at: process.exit.map(|exit| exit.at),
            exec_id: request.exec_id.clone(),
        };
        Ok(Some(answer.encode_to_vec()))
    }

    /// `Wait`
    pub(crate) fn wait(&mut self, request: &t::ProcessRequest, caller: Caller) -> Later {
        let process = self.process(&request.id, &request.exec_id)?;
        let Some(exit) = process.exit else {
            process.waiting.push(caller);
            return Ok(None);
        };
        Ok(Some(exit.answer()))
    }

    /// `Kill`
    pub(crate) fn kill(&mut self, request: &t::KillRequest) -> Later {
        let signal = i32::try_from(request.signal).unwrap_or(-1);
        let task = self.task(&request.id)?;
        let container = task.container.clone();
        let process = task.process(&request.exec_id).ok_or_else(|| not_found(&request.id, &request.exec_id))?;
        let (ended, pid) = (process.phase == Phase::Stopped || process.held.is_some(), process.pid);
        if pid == 0 {
            return Err(status(code::FAILED_PRECONDITION, "the process was not started"));
        }
        let finished = || status(code::NOT_FOUND, "process already finished");
        if request.exec_id.is_empty() && (request.all || !ended) {
            return match container.kill(signal, request.all) {
                Err(err) if err.message().contains("not running") => Err(finished()),
                Err(err) => Err(failed(&err)),
                Ok(()) => empty(),
            };
        }
        if ended {
            return Err(finished());
        }
        // a child that has not been reaped: the pid is not another's
        match linux::event::kill(pid, signal) {
            Err(err) if err.raw_os_error() == Some(libc::ESRCH) => Err(finished()),
            Err(err) => Err(wrong(&anyhow::Error::from(err).context(format!("signal process {pid}")))),
            Ok(()) => empty(),
        }
    }

    /// `Pause` and `Resume`
    pub(crate) fn pause(&mut self, request: &t::ProcessRequest, pause: bool) -> Later {
        let task = self.task(&request.id)?;
        let done = if pause { task.container.pause() } else { task.container.resume() };
        done.map_err(|err| failed(&err))?;
        task.paused = pause;
        let (topic, name) = if pause { ("/tasks/paused", "TaskPaused") } else { ("/tasks/resumed", "TaskResumed") };
        self.publisher.publish(topic, name, &TaskOnly { container_id: request.id.clone() });
        empty()
    }

    /// `Pids`
    pub(crate) fn pids(&mut self, request: &t::ProcessRequest) -> Later {
        let task = self.task(&request.id)?;
        let pids = task.container.processes().map_err(|err| failed(&err))?;
        let info = |pid: i32| {
            let (exec_id, _) = task.execs.iter().find(|(_, process)| process.pid == pid)?;
            Some(Any::pack("containerd.runc.v1.ProcessDetails", &ProcessDetails { exec_id: exec_id.clone() }))
        };
        let processes = pids.into_iter().map(|pid| t::ProcessInfo { pid: pid as u32, info: info(pid) }).collect();
        Ok(Some(t::PidsResponse { processes }.encode_to_vec()))
    }

    /// `ResizePty`
    pub(crate) fn resize(&mut self, request: &t::ResizePtyRequest) -> Later {
        let process = self.process(&request.id, &request.exec_id)?;
        if let Some(relay) = &process.io.relay {
            relay.resize(request.width, request.height).map_err(|err| wrong(&err))?;
        }
        empty()
    }

    /// `CloseIO`
    pub(crate) fn close_io(&mut self, request: &t::CloseIoRequest) -> Later {
        let process = self.process(&request.id, &request.exec_id)?;
        if request.stdin {
            process.io.close_stdin();
        }
        empty()
    }

    /// `Checkpoint`
    pub(crate) fn checkpoint(&mut self, request: t::CheckpointTaskRequest, caller: Caller) -> Later {
        let task = self.task(&request.id)?;
        let any = request.options.unwrap_or_default();
        let given = CheckpointOptions::decode(&*any.value).map_err(|err| wrong(&err.into()))?;
        let work = if given.work_path.is_empty() { task.bundle.join("criu-work") } else { given.work_path.into() };
        std::fs::create_dir_all(&work).map_err(|err| wrong(&anyhow::Error::from(err).context("work directory")))?;
        let options = api::CheckpointOptions::new(&request.path)
            .leave_running(!given.exit)
            .work_path(work)
            .tcp_established(given.open_tcp)
            .external_unix_sockets(given.external_unix_sockets)
            .shell_job(given.terminal)
            .file_locks(given.file_locks);
        let job = task.container.begin_checkpoint(&options);
        self.begin(job, What::Checkpoint(request.path), (request.id.as_str(), ""), caller)
    }

    /// `Update`
    pub(crate) fn update(&mut self, request: t::UpdateTaskRequest) -> Later {
        let task = self.task(&request.id)?;
        let resources = request.resources.map(|any| any.value).unwrap_or_default();
        task.container.update(resources).map_err(|err| failed(&err))?;
        empty()
    }

    /// `Stats`
    pub(crate) fn stats(&mut self, request: &t::ProcessRequest) -> Later {
        let task = self.task(&request.id)?;
        let counters = task.container.stats().map_err(|err| failed(&err))?;
        let unified = task.container.has_unified_cgroup().map_err(|err| failed(&err))?;
        Ok(Some(t::StatsResponse { stats: Some(stats::message(&counters, unified)) }.encode_to_vec()))
    }

    /// `Connect`
    pub(crate) fn connect(&mut self, request: &t::ProcessRequest) -> Later {
        let task_pid = self.tasks.get(&request.id).map_or(0, |task| task.init.pid as u32);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Some(t::ConnectResponse { shim_pid: std::process::id(), task_pid, version }.encode_to_vec()))
    }

    /// `Shutdown`: ends the shim, unless it has containers.
    pub(crate) fn shutdown(&mut self, request: &t::ShutdownRequest) -> Later {
        if self.tasks.is_empty() && self.pod.is_none() || request.now {
            self.shutdown.get_or_insert_with(|| Instant::now() + FAREWELL);
        }
        empty()
    }

    /// Calls a method of the task service.
    pub(crate) fn call(&mut self, method: &str, payload: &[u8], caller: Caller) -> Option<Answer> {
        self.dispatch(method, payload, caller).transpose()
    }

    fn dispatch(&mut self, method: &str, payload: &[u8], caller: Caller) -> Later {
        match method {
            "Create" => self.create(read(payload)?, caller),
            "Start" => self.start(&read(payload)?, caller),
            "Exec" => self.exec(read(payload)?),
            "Delete" => self.delete(&read(payload)?, caller),
            "State" => self.state(&read(payload)?),
            "Wait" => self.wait(&read(payload)?, caller),
            "Kill" => self.kill(&read(payload)?),
            "Pause" => self.pause(&read(payload)?, true),
            "Resume" => self.pause(&read(payload)?, false),
            "Pids" => self.pids(&read(payload)?),
            "ResizePty" => self.resize(&read(payload)?),
            "CloseIO" => self.close_io(&read(payload)?),
            "Checkpoint" => self.checkpoint(read(payload)?, caller),
            "Update" => self.update(read(payload)?),
            "Stats" => self.stats(&read(payload)?),
            "Connect" => self.connect(&read(payload)?),
            "Shutdown" => self.shutdown(&read(payload)?),
            _ => Err(status(code::UNIMPLEMENTED, format!("there is no method {method}"))),
        }
    }
}

/// Returns the options of a further process, without its streams.
pub(crate) fn exec_options(process: &Process) -> ExecOptions {
    ExecOptions::process(process.spec.clone()).terminal(process.paths.terminal)
}

/// Returns whether the container has a pid namespace that ends with its first process.
fn has_private_pids(bundle: &std::path::Path) -> anyhow::Result<bool> {
    let path = bundle.join("config.json");
    let text = std::fs::read(&path).with_context(|| format!("{path:?}"))?;
    let spec: Spec = serde_json::from_slice(&text).with_context(|| format!("{path:?}"))?;
    Ok(spec.linux.namespaces.iter().any(|one| one.kind == "pid" && one.path.is_empty()))
}
