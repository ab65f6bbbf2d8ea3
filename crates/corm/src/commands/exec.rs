//! `corm exec`: runs another process in a running container. corm executes the runtime in its own place, so that the
//! runtime has the caller as its parent.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Value, json};

use super::Context;
use crate::cli::args;
use crate::config;
use crate::config::options;
use crate::config::process;
use crate::container::run_dir::RunDir;
use crate::container::status;
use crate::container::userns;
use crate::driver::mount_util;

/// Executes the runtime; returns only when that fails, or for a detached process.
///
/// # Errors
/// The container is not running; an invalid argument.
pub(super) fn run(context: &Context, args: &args::Exec) -> Result<u8> {
    ensure!(!(args.detach && (args.interactive || args.tty)), "exec: --detach excludes --interactive and --tty");
    let store = context.store()?;
    let record = store.find_container(&args.container)?;
    let run = RunDir::of(store.root())?;
    let pid = status::of(&store, &run, &record)?.pid();
    let pid = pid.with_context(|| format!("container '{}' is not running", record.name))?;

    let file = store.container_dir(&record.id).join("config.json");
    let bytes = std::fs::read(&file).with_context(|| format!("read {file:?}"))?;
    let mut config: Value = serde_json::from_slice(&bytes).with_context(|| format!("{file:?} is damaged"))?;
    let mut process = config.get_mut("process").map(Value::take).with_context(|| format!("{file:?} has no process"))?;
    apply_arguments(&mut process, args, pid)?;

    let described = write_process(&process)?;
    let mut command = status::runtime(&run, &record).verb("exec");
    command.arg("--process").arg(format!("/proc/self/fd/{}", described.as_raw_fd()));
    if args.detach {
        command.arg("--detach").stdout(Stdio::null()).stderr(Stdio::null());
    }
    if !args.interactive {
        command.stdin(Stdio::null());
    }
    command.arg(&record.id);
    Err(command.exec()).with_context(|| format!("run {:?}", command.get_program()))
}

/// Replaces values of the container's process by those of the arguments.
fn apply_arguments(process: &mut Value, args: &args::Exec, pid: i32) -> Result<()> {
    process["args"] = json!(args.command);
    process["terminal"] = json!(args.tty);
    if let Some(dir) = &args.workdir {
        process["cwd"] = json!(process::working_dir(dir).context("--workdir")?);
    }
    let given = process.get("env").cloned().unwrap_or_default();
    let mut env: Vec<String> = serde_json::from_value(given).context("the environment of the container")?;
    if args.tty && !env.iter().any(|variable| variable.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    for variable in options::environment(&args.env)? {
        process::set(&mut env, &variable);
    }
    process["env"] = json!(env);
    if let Some(text) = &args.user {
        let root = mount_util::open_root_of(pid)?;
        let user = config::image_user(text, root.as_fd()).context("--user")?;
        process["user"] = config::process_user(&user, userns::single_id());
        process["capabilities"] = config::capabilities(&user);
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
