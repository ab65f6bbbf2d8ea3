//! The methods of the sandbox service: pods without an image for the process that holds their namespaces.

use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message as _;

use super::args::check_name;
use super::calls::{FAREWELL, Later, read};
use super::exit::Exit;
use super::pod::Pod;
use super::proto::sandbox as s;
use super::proto::{Empty, Status, Timestamp};
use super::stats;
use super::tasks::{Answer, Shim, Step, What, Work, failed, status, wrong};
use super::wire::{Caller, code};
use croci::api::{self, Bundle, CreateOptions, Outcome};

/// Time for containerd to take the answer to `ShutdownSandbox`: where the end of the connection comes with it, its client may
/// report that alone, and the removal of the pod fails.
const LINGER: Duration = Duration::from_millis(500);

/// Returns the status for a sandbox that is not this shim's.
fn unknown(id: &str) -> Status {
    status(code::NOT_FOUND, format!("sandbox {id} not found"))
}

impl Shim {
    /// Calls a method of the sandbox service.
    pub(crate) fn call_sandbox(&mut self, method: &str, payload: &[u8], caller: Caller) -> Option<Answer> {
        self.dispatch_sandbox(method, payload, caller).transpose()
    }

    fn dispatch_sandbox(&mut self, method: &str, payload: &[u8], caller: Caller) -> Later {
        if method == "CreateSandbox" {
            return self.create_sandbox(&read(payload)?);
        }
        let id = read::<s::Request>(payload)?.sandbox_id;
        match method {
            "StartSandbox" => self.start_sandbox(&id, caller),
            "Platform" => Ok(Some(platform().encode_to_vec())),
            "StopSandbox" => self.stop_sandbox(&id, false, caller),
            "WaitSandbox" => self.wait_sandbox(&id, caller),
            "SandboxStatus" => self.sandbox_status(&id),
            "PingSandbox" => self.pod(&id).map(|_| Some(Empty {}.encode_to_vec())),
            "ShutdownSandbox" => self.stop_sandbox(&id, true, caller),
            "SandboxMetrics" => self.sandbox_metrics(&id),
            _ => Err(status(code::UNIMPLEMENTED, format!("there is no method {method}"))),
        }
    }

    /// Returns the pod.
    fn pod(&mut self, id: &str) -> Result<&mut Pod, Status> {
        self.pod.as_mut().filter(|pod| pod.id == id).ok_or_else(|| unknown(id))
    }

    fn create_sandbox(&mut self, request: &s::CreateRequest) -> Later {
        let id = request.sandbox_id.as_str();
        check_name("sandbox ID", id).map_err(|err| status(code::INVALID_ARGUMENT, err.to_string()))?;
        if let Some(pod) = &self.pod {
            return Err(status(code::ALREADY_EXISTS, format!("this shim has the sandbox {}", pod.id)));
        }
        let options = request.options.as_ref().filter(|any| any.type_url.ends_with("PodSandboxConfig"));
        let config = options.map_or_else(|| Ok(s::PodConfig::default()), |any| read(&any.value))?;
        let bundle = Path::new(&request.bundle_path);
        let pod = Pod::new(&self.namespace, id, bundle, config, &request.netns_path).map_err(|err| wrong(&err))?;
        self.pod = Some(pod);
        Ok(Some(Empty {}.encode_to_vec()))
    }

    fn start_sandbox(&mut self, id: &str, caller: Caller) -> Later {
        let program = self.program.clone();
        let pod = self.pod(id)?;
        if pod.busy || pod.pid != 0 {
            return Err(status(code::FAILED_PRECONDITION, "the sandbox was started already"));
        }
        pod.write(&program).map_err(|err| wrong(&err))?;
        let job = pod.container.begin_create(&Bundle::at(pod.dir()), &CreateOptions::default());
        if job.is_err() {
            let _ = Pod::unmount(&pod.bundle);
        }
        self.begin_step(job, Step::Create, caller)
    }

    /// Begins a verb on the pod, whose end is taken by [`Shim::step_ended`].
    fn begin_step(&mut self, job: api::Result<api::Job>, step: Step, caller: Caller) -> Later {
        let job = job.map_err(|err| failed(&err))?;
        let Some(pod) = &mut self.pod else { return Err(unknown("")) };
        pod.busy = true;
        self.works.push(Work { job, what: What::Pod(step), id: pod.id.clone(), exec_id: String::new(), caller });
        Ok(None)
    }

    /// Takes the end of a verb on the pod: answers the call, or begins the next verb of it.
    pub(crate) fn step_ended(&mut self, step: Step, caller: Caller, result: api::Result<Outcome>) {
        let Some(pod) = &mut self.pod else { return };
        pod.busy = false;
        let answer = match (step, result) {
            (Step::Create, Ok(outcome)) => {
                pod.pid = outcome.pid;
                let job = pod.container.begin_start();
                self.begin_step(job, Step::Start, caller).or_else(|err| self.undo(err, caller))
            }
            (Step::Start, Ok(_)) => {
                let now = Timestamp::now();
                pod.created = Some(now);
                Ok(Some(s::StartResponse { pid: pod.pid as u32, created_at: Some(now) }.encode_to_vec()))
            }
            (Step::Create | Step::Start, Err(err)) => self.undo(failed(&err), caller),
            (Step::Undo(status), _) => {
                let _ = Pod::unmount(&pod.bundle);
                pod.pid = 0;
                Err(status)
            }
            (Step::Stop(_), Err(err)) => Err(failed(&err)),
            (Step::Stop(end), Ok(_)) => self.stopped(end),
        };
        let pid = self.pod.as_ref().map_or(0, |pod| pod.pid);
        if let Some(exit) = self.ended.remove(&pid) {
            self.pod_ended(pid, exit);
        }
        if let Some(answer) = answer.transpose() {
            self.answer(caller, answer);
        }
    }

    /// Removes what a start that failed has left.
    fn undo(&mut self, err: Status, caller: Caller) -> Later {
        let Some(pod) = &self.pod else { return Err(err) };
        let job = pod.container.begin_delete(true);
        self.begin_step(job, Step::Undo(err), caller)
    }

    fn stop_sandbox(&mut self, id: &str, end: bool, caller: Caller) -> Later {
        if end && self.pod.is_none() {
            // containerd asks so where it could not create the sandbox
            return self.stopped(true);
        }
        let pod = self.pod(id)?;
        if pod.busy {
            return Err(status(code::FAILED_PRECONDITION, "the sandbox is being started or stopped"));
        }
        let job = pod.container.begin_delete(true);
        self.begin_step(job, Step::Stop(end), caller)
    }

    /// Takes the end of a pod that was stopped; with `end` the shim ends.
    fn stopped(&mut self, end: bool) -> Later {
        if let Some(pod) = &mut self.pod {
            Pod::unmount(&pod.bundle).map_err(|err| wrong(&err))?;
            let waiting = std::mem::take(&mut pod.waiting);
            // a sandbox that was never started, or whose end has not been reported yet
            let exit = *pod.exit.get_or_insert_with(Exit::killed);
            waiting.into_iter().for_each(|caller| self.answer(caller, Ok(exit.answer())));
        }
        if end {
            self.pod = None;
            if self.tasks.is_empty() {
                let now = Instant::now();
                self.shutdown.get_or_insert(now + FAREWELL);
                self.linger = Some(now + LINGER);
            }
        }
        Ok(Some(Empty {}.encode_to_vec()))
    }

    /// Takes the end of a child if it is the pod's process; returns whether it is.
    pub(crate) fn pod_ended(&mut self, pid: i32, exit: Exit) -> bool {
        let Some(pod) = self.pod.as_mut().filter(|pod| pod.pid == pid && pid != 0) else { return false };
        let exit = *pod.exit.get_or_insert(exit);
        let waiting = std::mem::take(&mut pod.waiting);
        waiting.into_iter().for_each(|caller| self.answer(caller, Ok(exit.answer())));
        true
    }

    fn wait_sandbox(&mut self, id: &str, caller: Caller) -> Later {
        let pod = self.pod(id)?;
        let Some(exit) = pod.exit else {
            pod.waiting.push(caller);
            return Ok(None);
        };
        Ok(Some(exit.answer()))
    }

    fn sandbox_status(&mut self, id: &str) -> Later {
        let pod = self.pod(id)?;
        let state = if pod.is_ready() { "SANDBOX_READY" } else { "SANDBOX_NOTREADY" };
        let answer = s::StatusResponse {
            sandbox_id: id.to_owned(),
            pid: if pod.is_ready() { pod.pid as u32 } else { 0 },
            state: state.to_owned(),
            created_at: pod.created,
            exited_at: pod.exit.map(|exit| exit.at),
        };
        Ok(Some(answer.encode_to_vec()))
    }

    fn sandbox_metrics(&mut self, id: &str) -> Later {
        let pod = self.pod(id)?;
        let counters = pod.container.stats().map_err(|err| failed(&err))?;
        let unified = pod.container.has_unified_cgroup().map_err(|err| failed(&err))?;
        let data = Some(stats::message(&counters, unified));
        let metrics = s::Metric { timestamp: Some(Timestamp::now()), id: id.to_owned(), data };
        Ok(Some(s::MetricsResponse { metrics: Some(metrics) }.encode_to_vec()))
    }
}

/// Returns the host's platform, as Go names it.
fn platform() -> s::PlatformResponse {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "loongarch64" => "loong64",
        "powerpc64" => "ppc64le",
        "x86" => "386",
        other => other,
    };
    let platform = s::Platform { os: "linux".to_owned(), architecture: architecture.to_owned() };
    s::PlatformResponse { platform: Some(platform) }
}
