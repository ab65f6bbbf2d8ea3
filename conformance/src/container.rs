//! One container of a test: its bundle, its configuration, the verbs, and its removal on drop.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::cleanup;
use crate::files::read;
use crate::harness::{Done, Harness, wait_until};

/// The probe in a container.
pub const PROBE_PATH: &str = "/bin/probe";

/// A container whose program sleeps unless the test changes it.
pub struct Container<'a> {
    harness: &'a Harness,
    /// The container ID.
    pub id: String,
    /// The bundle directory.
    pub bundle: PathBuf,
    /// The configuration that `create` writes as config.json.
    pub config: Value,
    /// The pid of the init to reap, once it is known.
    init: Cell<Option<Pid>>,
}

impl<'a> Container<'a> {
    /// Prepares a new bundle and a configuration that every runtime accepts; does not call the runtime.
    pub fn new(harness: &'a Harness) -> Result<Self> {
        let id = harness.fresh_name();
        let bundle = harness.fresh_bundle(&id)?;
        Ok(Self { harness, id, bundle, config: default_config(), init: Cell::new(None) })
    }

    /// Prepares a container whose program is a shell script.
    pub fn script(harness: &'a Harness, script: &str) -> Result<Self> {
        let mut container = Self::new(harness)?;
        container.config["process"]["args"] = json!(["sh", "-c", script]);
        Ok(container)
    }

    /// Prepares a container whose program is the probe with these acts (`probe::acts`); after `hold` or `signals` it
    /// keeps running.
    pub fn probe(harness: &'a Harness, acts: &[&str]) -> Result<Self> {
        let mut container = Self::new(harness)?;
        container.set_acts(acts);
        Ok(container)
    }

    /// Sets the container's program to the probe with these acts.
    pub fn set_acts(&mut self, acts: &[&str]) {
        self.config["process"]["args"] = [PROBE_PATH].iter().chain(acts).copied().collect();
    }

    /// Creates a container.
    pub fn created(harness: &'a Harness) -> Result<Self> {
        let container = Self::new(harness)?;
        container.create().ok()?;
        Ok(container)
    }

    /// Creates and starts a container.
    pub fn running(harness: &'a Harness) -> Result<Self> {
        let container = Self::created(harness)?;
        container.start().ok()?;
        Ok(container)
    }

    /// Creates and starts a container, and waits until its program has ended.
    pub fn stopped(harness: &'a Harness) -> Result<Self> {
        let container = Self::running(harness)?;
        container.kill("KILL").ok()?;
        container.wait_stopped()?;
        Ok(container)
    }

    /// Returns a path below the container's root, as the host sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.bundle.join("rootfs").join(inside.trim_start_matches('/'))
    }

    /// Returns the output of the container's program so far.
    pub fn output(&self) -> String {
        read(&self.bundle.join("out")) + &read(&self.bundle.join("err"))
    }

    fn place(&mut self, path: &[&str]) -> &mut Value {
        path.iter().fold(&mut self.config, |place, key| &mut place[*key])
    }

    /// Sets a property of the configuration; missing objects on the path are created.
    pub fn set(&mut self, path: &[&str], value: Value) {
        *self.place(path) = value;
    }

    /// Removes a property of the configuration.
    pub fn remove(&mut self, path: &[&str]) {
        if let Some((last, above)) = path.split_last()
            && let Value::Object(object) = self.place(above)
        {
            object.remove(*last);
        }
    }

    /// Appends to a list of the configuration, which is created where it is missing.
    pub fn push(&mut self, path: &[&str], value: Value) {
        match self.place(path) {
            Value::Array(list) => list.push(value),
            other => *other = json!([value]),
        }
    }

    /// Writes config.json.
    pub fn write_config(&self) -> Result<()> {
        Ok(fs::write(self.bundle.join("config.json"), serde_json::to_vec(&self.config)?)?)
    }

    /// Prepares `create`, so that a test can add to the command before it runs it.
    pub fn create_command(&self) -> Command {
        let bundle = self.bundle.to_string_lossy();
        self.harness.command(["create", "--bundle", &bundle, &self.id])
    }

    /// Writes the configuration and runs `create`.
    pub fn create(&self) -> Done {
        if let Err(err) = self.write_config() {
            return Done {
                what: "create".into(),
                status: Err(format!("{err:#}")),
                out: String::new(),
                err: String::new(),
            };
        }
        self.create_as_it_is(&mut self.create_command())
    }

    /// Runs `create` without writing config.json first.
    pub fn create_as_it_is(&self, command: &mut Command) -> Done {
        let done = self.harness.call_to(command, &self.bundle.join("out"), &self.bundle.join("err"));
        self.adopt();
        done
    }

    /// Records the init of a container that another call has created, so that it is reaped.
    pub fn adopt(&self) {
        if let Ok(pid) = self.pid() {
            self.init.set(Some(pid));
        }
    }

    /// Runs `start`.
    pub fn start(&self) -> Done {
        self.harness.call(["start", &self.id])
    }

    /// Runs `kill`.
    pub fn kill(&self, signal: &str) -> Done {
        self.harness.call(["kill", &self.id, signal])
    }

    /// Runs `delete`.
    pub fn delete(&self) -> Done {
        self.harness.call(["delete", &self.id])
    }

    /// Runs create, start, kill and delete.
    pub fn live(&self) -> Result<()> {
        self.create().ok()?;
        self.start().ok()?;
        self.kill("KILL").ok()?;
        self.wait_stopped()?;
        self.delete().ok()?;
        Ok(())
    }

    /// Runs `state` and parses its output.
    pub fn state(&self) -> Result<Value> {
        let done = self.harness.call(["state", &self.id]).ok()?;
        serde_json::from_str(&done.out).with_context(|| format!("state printed no JSON: {}", done.out))
    }

    /// Returns the status in the state.
    pub fn status(&self) -> Result<String> {
        Ok(self.state()?["status"].as_str().context("state has no status")?.to_owned())
    }

    /// Fails unless the container has this status.
    pub fn must_be(&self, status: &str) -> Result<()> {
        let now = self.status()?;
        ensure!(now == status, "the status is {now}, it has to be {status}");
        Ok(())
    }

    /// Returns the pid of the init, from `state`.
    pub fn pid(&self) -> Result<Pid> {
        let state = self.state()?;
        let pid = state["pid"].as_i64().filter(|&pid| pid > 0).with_context(|| format!("no pid in {state}"))?;
        Ok(Pid::from_raw(i32::try_from(pid)?))
    }

    /// Waits until the container is stopped, and reaps its init as a caller would.
    pub fn wait_stopped(&self) -> Result<()> {
        wait_until("the container stops", || {
            self.reap();
            Ok((self.status()? == "stopped").then_some(()))
        })
    }

    /// Waits until the program has printed `text`.
    pub fn wait_output(&self, text: &str) -> Result<()> {
        wait_until(&format!("the container prints {text:?}"), || Ok(self.output().contains(text).then_some(())))
            .with_context(|| format!("it printed {:?}", self.output()))
    }

    /// Creates and starts the container, waits for its end, and returns all that the program printed.
    pub fn run(&self) -> Result<String> {
        self.create().ok()?;
        self.start().ok()?;
        self.wait_stopped()?;
        Ok(self.output())
    }

    /// Creates and starts the container, waits for its end, and returns the facts that the probe printed.
    pub fn facts(&self) -> Result<Value> {
        parse_facts(&self.run()?)
    }

    /// Waits until a probe that keeps running has printed its facts, and returns them.
    pub fn wait_facts(&self) -> Result<Value> {
        self.wait_output("\n").context("the probe prints")?;
        parse_facts(&self.output())
    }

    /// Runs the probe by `exec` with these options, and returns its facts.
    pub fn exec_probe(&self, options: &[&str], acts: &[&str]) -> Result<Value> {
        let words = ["exec"].iter().chain(options).copied().chain([self.id.as_str(), PROBE_PATH]);
        parse_facts(&self.harness.call(words.chain(acts.iter().copied())).ok()?.out)
    }

    /// Fails unless `create` fails and leaves nothing of the container.
    pub fn must_be_refused(&self) -> Result<Done> {
        let done = self.create();
        // the error message of a failed create is in the container's files
        let done = done.error()?;
        self.must_be_gone()?;
        Ok(done)
    }

    /// Fails unless the runtime has no such container and its state directory and cgroups are removed.
    pub fn must_be_gone(&self) -> Result<()> {
        self.harness.call(["state", &self.id]).error().context("after the failure")?;
        ensure!(!self.harness.root().join(&self.id).exists(), "the state directory is left");
        if let Some(cgroup) = find_cgroup(Path::new("/sys/fs/cgroup"), &self.id, 4) {
            bail!("the cgroup {} is left", cgroup.display());
        }
        Ok(())
    }

    /// Reaps the init if it has ended; returns whether there is none left to reap.
    pub fn reap(&self) -> bool {
        match self.init.get().map(|pid| waitpid(pid, Some(WaitPidFlag::WNOHANG))) {
            Some(Ok(WaitStatus::StillAlive)) => false,
            _ => {
                self.init.set(None);
                true
            }
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.harness.call(["delete", "--force", &self.id]);
        // a runtime that failed to end its own container must not leave it on the machine
        if !self.reap()
            && let Some(pid) = self.init.get()
        {
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
        cleanup::remove_cgroups(&self.id);
        let _ = fs::remove_dir_all(&self.bundle);
    }
}

/// Parses the first line of JSON that the probe printed.
pub fn parse_facts(output: &str) -> Result<Value> {
    let line = output.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_default()).with_context(|| format!("no facts from the probe: {output:?}"))
}

/// Returns one of the cgroups that [`cleanup::cgroups_below`] finds.
pub fn find_cgroup(below: &Path, id: &str, depth: u32) -> Option<PathBuf> {
    cleanup::cgroups_below(below, id, depth).into_iter().next()
}

fn default_config() -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["sleep", "1000"], "cwd": "/",
            "env": ["PATH=/bin"], "noNewPrivileges": true,
            "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]},
        },
        "root": {"path": "rootfs"},
        "mounts": [
            mount("/proc", "proc", &[]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
        },
    })
}
