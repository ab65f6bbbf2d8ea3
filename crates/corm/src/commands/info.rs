//! `corm info`: the store, its driver, the runtime and the host, with Podman's keys.

use std::fmt::Write as _;

use anyhow::Result;
use nix::sys::utsname::uname;
use serde_json::{Value, json};

use super::{Context, print, version};
use crate::container::run_dir::RunDir;
use crate::container::runtime;
use crate::container::status::{self, Status};
use crate::container::userns;
use crate::store::Store;
use crate::view::listing::Format;

/// Prints the information: as JSON, or as lines of YAML.
///
/// # Errors
/// A record is damaged.
pub(super) fn run(context: &Context, format: &Format) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let all = json!({
        "host": host(context)?,
        "store": storage(&store, &run)?,
        "version": {"Version": version::VERSION, "OsArch": format!("linux/{}", version::architecture())},
    });
    print::document(format, &all, || {
        let mut text = String::new();
        lines(&mut text, &all, 0);
        text
    })?;
    Ok(0)
}

fn host(context: &Context) -> Result<Value> {
    let cgroup_v2 = base::host::cgroup_v2()?;
    let name = uname()?;
    // information is printed also where no runtime is installed
    let found = runtime::find(context.global.runtime.as_deref()).ok();
    let runtime = found.map(|path| {
        let words = base::child::output(std::process::Command::new(&path).arg("--version"));
        let text = words.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default();
        json!({"name": path.file_name().unwrap_or_default().to_string_lossy(), "path": path, "version": text})
    });
    Ok(json!({
        "arch": version::architecture(),
        "cgroupVersion": if cgroup_v2 { "v2" } else { "v1" },
        "cpus": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "hostname": name.nodename().to_string_lossy(),
        "kernel": name.release().to_string_lossy(),
        "memFree": memory("MemFree:"),
        "memTotal": memory("MemTotal:"),
        "os": "linux",
        "ociRuntime": runtime,
        "security": {"rootless": userns::unprivileged()},
    }))
}

/// Returns a line of /proc/meminfo in bytes.
fn memory(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes << 10)
}

fn storage(store: &Store, run: &RunDir) -> Result<Value> {
    let (mut paused, mut running, mut stopped) = (0, 0, 0);
    let containers = store.containers()?;
    for record in &containers {
        match status::of(store, run, record)? {
            Status::Paused(_) => paused += 1,
            Status::Running(_) => running += 1,
            _ => stopped += 1,
        }
    }
    Ok(json!({
        "containerStore": {
            "number": containers.len(), "paused": paused, "running": running, "stopped": stopped,
        },
        "graphDriverName": store.driver().kind().name(),
        "graphRoot": store.root(),
        "imageStore": {"number": store.images()?.len()},
        "runRoot": run.path(),
        "volumeStore": {"number": store.volumes()?.len()},
        "volumePath": store.root().join("volumes"),
    }))
}

/// Formats an object as lines of YAML; multi-line texts are indented.
fn lines(text: &mut String, value: &Value, depth: usize) {
    let Value::Object(map) = value else { return };
    let indent = "  ".repeat(depth);
    for (key, value) in map {
        match value {
            Value::Object(_) => {
                let _ = writeln!(text, "{indent}{key}:");
                lines(text, value, depth + 1);
            }
            Value::String(words) if words.contains('\n') => {
                let _ = writeln!(text, "{indent}{key}: |-");
                for line in words.lines() {
                    let _ = writeln!(text, "{indent}  {line}");
                }
            }
            Value::String(words) => {
                let _ = writeln!(text, "{indent}{key}: {words}");
            }
            other => {
                let _ = writeln!(text, "{indent}{key}: {other}");
            }
        }
    }
}
