//! `corm exec`: runs another process in a running container.
//!
//! The runtime is a child of corm, because only corm can tell its failure from the program's exit status: the pid file that
//! the runtime writes when the program runs, and the log for the reason when it does not.

use base::coded;
use base::error::{Code, Coding as _};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Value, json};

use super::Context;
use crate::cli::args;
use crate::config;
use crate::config::options;
use crate::config::process;
use crate::config::settings::security;
use crate::container::run_dir::RunDir;
use crate::container::runtime;
use crate::container::status;
use crate::container::status::Status;
use crate::container::userns;
use crate::driver::mount_util;
use base::foreground;
use linux::process::CloneResult;
use linux::signal;

/// Exit status of a runtime that cannot be executed.
const NOT_EXECUTED: i32 = 127;

/// Runs the program and returns its exit status, or 127 when it does not exist and 126 when it cannot be executed.
///
/// # Errors
/// The container is not running; an invalid argument; the runtime's error.
pub(super) fn run(context: &Context, args: &args::Exec) -> Result<u8> {
    ensure!(
        !(args.detach && (args.interactive || args.tty)),
        coded!(UsageArguments, "exec: --detach excludes --interactive and --tty")
    );
    let store = context.store()?;
    let record = store.find_container(&args.container)?;
    let run = RunDir::of(store.root())?;
    let status = status::of(&store, &run, &record)?;
    let name = &record.name;
    let pid = status.pid().with_code(Code::ContainerNotRunning, || {
        format!("container '{name}' is not running: it is {} (`corm start {name}` starts it)", status.name())
    })?;
    ensure!(
        !matches!(status, Status::Paused(_)),
        coded!(ContainerStatus, "container '{name}' is paused, can't exec in it (`corm unpause {name}` continues it)")
    );

    let file = store.container_dir(&record.id).join("config.json");
    let bytes = std::fs::read(&file).with_context(|| format!("read {file:?}"))?;
    let mut config: Value = serde_json::from_slice(&bytes).with_context(|| format!("{file:?} is damaged"))?;
    let mut process = config.get_mut("process").map(Value::take).with_context(|| format!("{file:?} has no process"))?;
    apply_arguments(&mut process, args, pid)?;

    let described = write_process(&process)?;
    let runtime = status::runtime(&run, &record);
    let files = Files::new(&run, &record.id);
    let mut command = runtime.verb_with_log("exec", &files.log);
    command.arg("--process").arg(format!("/proc/self/fd/{}", described.as_raw_fd()));
    command.arg("--pid-file").arg(&files.pid);
    if args.detach {
        command.arg("--detach").stdout(Stdio::null()).stderr(Stdio::null());
    }
    if !args.interactive {
        command.stdin(Stdio::null());
    }
    command.arg(&record.id);
    let status = wait_for(&mut command)?;
    if status == 0 || files.pid.exists() {
        return Ok(u8::try_from(status).unwrap_or(u8::MAX));
    }
    let log = std::fs::read(&files.log).unwrap_or_default();
    let text = runtime::error_message(runtime.program(), &log);
    // the runtime has printed it, unless its standard error is closed
    if args.detach || log.is_empty() {
        let _ = writeln!(io::stderr(), "corm: {text}");
    }
    Ok(runtime::failed_start(&text))
}

/// The files that a runtime writes for one call; removed on drop.
struct Files {
    log: PathBuf,
    pid: PathBuf,
}

impl Files {
    fn new(run: &RunDir, id: &str) -> Self {
        let file = |kind: &str| run.pid_file(id).with_file_name(format!("exec-{}.{kind}", std::process::id()));
        Self { log: file("log"), pid: file("pid") }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for file in [&self.log, &self.pid] {
            // missing when the runtime did not write it; the container's removal deletes the directory
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Executes the runtime in a fork, passes signals to it and returns its exit status, as in a shell.
fn wait_for(command: &mut Command) -> Result<i32> {
    linux::process::default_sigchld();
    let blocked = foreground::signals();
    let before = signal::set_mask(blocked).context("signal mask")?;
    let signals = signal::descriptor(blocked).context("signalfd")?;
    let child = match linux::process::clone3(0, None).context("fork")? {
        CloneResult::Child => {
            // the runtime itself decides about signals
            let _ = signal::set_mask(before);
            let err = command.exec();
            let _ = writeln!(io::stderr(), "corm: run {:?}: {err}", command.get_program());
            linux::process::exit(NOT_EXECUTED)
        }
        CloneResult::Parent { pidfd, .. } => pidfd,
    };
    loop {
        if let Some(ended) = linux::process::wait(child.as_fd(), false).context("wait for the runtime")? {
            return Ok(ended.status());
        }
        pass_signals(&signals, &child)?;
    }
}

/// Waits for a signal or the end of the runtime, and passes signals to it, except those of the terminal, which reach the
/// runtime as a process of the same group.
fn pass_signals(signals: &OwnedFd, child: &OwnedFd) -> Result<()> {
    let mut set = [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(child.as_fd(), PollFlags::POLLIN)];
    match linux::event::poll(&mut set, PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(err) => return Err(io::Error::from(err)).context("poll"),
    }
    while let Some((number, of_kernel)) = signal::read_origin(signals.as_fd()).context("read a signal")? {
        if number != libc::SIGCHLD && !of_kernel {
            drop(linux::process::pidfd_send_signal(child.as_fd(), number));
        }
    }
    Ok(())
}

/// Replaces values of the container's process by those of the arguments.
fn apply_arguments(process: &mut Value, args: &args::Exec, pid: i32) -> Result<()> {
    process["args"] = json!(args.command);
    process["terminal"] = json!(args.tty);
    if let Some(dir) = &args.workdir {
        process["cwd"] = json!(process::working_dir(dir).code(Code::UsageValue, "--workdir")?);
    }
    let given = process.get("env").cloned().unwrap_or_default();
    let mut env: Vec<String> = serde_json::from_value(given).context("the environment of the container")?;
    if args.tty && !env.iter().any(|variable| variable.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    let of_files = options::lines_of(&args.env_files, "--env-file")?;
    for variable in options::environment(&[of_files, args.env.clone()].concat())? {
        process::set(&mut env, &variable);
    }
    process["env"] = json!(env);
    if let Some(text) = &args.user {
        let root = mount_util::open_root_of(pid)?;
        let user = config::image_user(text, root.as_fd()).code(Code::ProcessUser, "--user")?;
        process["user"] = config::process_user(&user, userns::single_id());
        // root has what the container may have, others nothing
        let bounding = process["capabilities"]["bounding"].clone();
        process["capabilities"] = security::sets(&user, &bounding, &json!([]));
    }
    Ok(())
}

/// Writes the process to an unlinked file that the runtime inherits.
fn write_process(process: &Value) -> Result<File> {
    let mut file = File::from(memfd_create("process", MFdFlags::MFD_CLOEXEC).context("memfd")?);
    file.write_all(&serde_json::to_vec(process)?).and_then(|()| file.rewind()).context("memfd")?;
    linux::process::clear_cloexec(file.as_raw_fd()).context("memfd")?;
    Ok(file)
}
