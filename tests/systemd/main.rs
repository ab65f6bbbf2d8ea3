//! Containers whose cgroups systemd creates. Each test is skipped where systemd is not PID 1; `make test-vm` runs them
//! in a guest where it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod devices;
mod faults;
mod limits;
mod podman;
mod scope;
mod user;

use std::sync::{Mutex, MutexGuard, PoisonError};
use test_support::*;

/// Skips the test where systemd is not PID 1; elsewhere configures its containers to use systemd.
#[macro_export]
macro_rules! need_systemd {
    () => {
        test_support::need_root!();
        if !std::path::Path::new("/run/systemd/system").exists() {
            test_support::skip!("systemd is not PID 1 here");
        }
        test_support::cgroup::use_systemd();
    };
}

/// Returns a property of the container's unit, as `systemctl show` prints it.
pub fn property(c: &Container, name: &str) -> String {
    let out = c.sandbox.program("systemctl").args(["show", "--value", "-p", name]).arg(unit(c)).out().ok();
    out.text().to_owned()
}

static RELOAD: Mutex<()> = Mutex::new(());

/// Keeps other tests from reloading systemd until the value is dropped, for a test whose settings a reload would undo.
pub fn no_reload() -> MutexGuard<'static, ()> {
    RELOAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `systemctl daemon-reload`, by which systemd writes its settings of every unit again.
pub fn reload(c: &Container) {
    let _alone = no_reload();
    c.sandbox.program("systemctl").arg("daemon-reload").out().ok();
}

/// Returns the name of the unit that the configuration gives.
pub fn unit(c: &Container) -> String {
    let dir = cgroup::dir("", &c.cgroup());
    dir.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Returns whether systemd has loaded the unit.
pub fn is_loaded(c: &Container) -> bool {
    property(c, "LoadState") == "loaded"
}

/// Returns the content of a file of the container's cgroup.
pub fn file(c: &Container, name: &str) -> String {
    let path = cgroup::dir_of(c.pid(), "name=systemd").unwrap().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display())).trim().to_owned()
}

/// Starts a container with these resources.
#[track_caller]
pub fn limited(resources: Value) -> Container {
    Container::new(&["sleep", "1000"]).edit(|config| config["linux"]["resources"] = resources).up()
}
