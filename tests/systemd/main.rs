//! Containers whose cgroups systemd creates. Where systemd is not PID 1 each test is skipped with that reason: `make test-vm`
//! runs them in a guest where it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod devices;
mod faults;
mod limits;
mod podman;
mod scope;
mod user;

use std::sync::{Mutex, MutexGuard, PoisonError};
use test_support::*;

/// Leaves the test where there is no systemd, or gives its containers to systemd.
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

/// A property of a unit, as `systemctl show` has it.
pub fn property(c: &Container, name: &str) -> String {
    let out = c.sandbox.program("systemctl").args(["show", "--value", "-p", name]).arg(unit(c)).out().ok();
    out.text().to_owned()
}

static RELOAD: Mutex<()> = Mutex::new(());

/// Keeps other tests from reloading systemd until dropped, for a test whose settings a reload would undo.
pub fn no_reload() -> MutexGuard<'static, ()> {
    RELOAD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `systemctl daemon-reload`: systemd writes again what it knows of every unit.
pub fn reload(c: &Container) {
    let _alone = no_reload();
    c.sandbox.program("systemctl").arg("daemon-reload").out().ok();
}

/// The unit that the configuration names.
pub fn unit(c: &Container) -> String {
    let dir = cgroup::dir("", &c.cgroup());
    dir.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Whether systemd knows the unit.
pub fn is_loaded(c: &Container) -> bool {
    property(c, "LoadState") == "loaded"
}

/// A file of the container's cgroup.
pub fn file(c: &Container, name: &str) -> String {
    let path = cgroup::dir_of(c.pid(), "name=systemd").unwrap().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display())).trim().to_owned()
}

/// A running container with these resources.
#[track_caller]
pub fn limited(resources: Value) -> Container {
    Container::new(&["sleep", "1000"]).edit(|config| config["linux"]["resources"] = resources).up()
}
