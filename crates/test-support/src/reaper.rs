//! The work of a shim: being the parent of containers whose runtime has ended, and waiting for their dead processes.
//!
//! Members of a container are waited for at once: the end of a pid namespace's init blocks in the kernel until all of
//! them are. Inits are left as zombies until a test asks for their status, as under a shim that is slow.

use super::host;
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

/// The statuses of the processes that have been waited for already.
static ENDED: Mutex<Option<HashMap<i32, i32>>> = Mutex::new(None);

/// Makes this process the subreaper and starts waiting.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        linux::process::set_child_subreaper(true).unwrap();
        std::thread::spawn(|| {
            loop {
                for pid in children() {
                    if is_dead_member(pid) {
                        status(pid);
                    }
                }
                std::thread::sleep(Duration::from_millis(25)); // the interval of polling, on which nothing depends
            }
        });
    });
}

/// Returns the exit status of a child (128 + n for signals), once it has ended.
pub fn status(pid: i32) -> Option<i32> {
    let mut ended = ENDED.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = ended.get_or_insert_with(HashMap::new);
    match waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(_, code)) => drop(ended.insert(pid, code)),
        Ok(WaitStatus::Signaled(_, signal, _)) => drop(ended.insert(pid, 128 + signal as i32)),
        Ok(_) | Err(Errno::ECHILD) => {}
        Err(err) => panic!("waitpid {pid}: {err}"),
    }
    ended.get(&pid).copied()
}

/// Waits for the dead inits of which no test will ask: each one more makes the thread's next look longer.
pub fn forget_inits() {
    let ended: Vec<i32> =
        children().into_iter().filter(|pid| is_dead(*pid) && number_inside(*pid).as_deref() == Some("1")).collect();
    for pid in ended {
        let _ = status(pid);
    }
}

/// Returns the children of all threads of this process.
fn children() -> Vec<i32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        match std::fs::read_to_string(task.path().join("children")) {
            Ok(text) => found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            Err(_) => return host::pids(), // a kernel without the file: examine all processes
        }
    }
    found
}

/// Returns whether a process is a zombie child in a pid namespace below ours, but not the namespace's init.
fn is_dead_member(pid: i32) -> bool {
    is_dead(pid) && number_inside(pid).is_some_and(|number| number != "1")
}

/// Returns whether a process is a zombie child.
fn is_dead(pid: i32) -> bool {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    host::stat(pid).is_some_and(|stat| stat.state == 'Z' && stat.parent == own)
}

/// Returns the number of a process in its own pid namespace, if that is below ours.
fn number_inside(pid: i32) -> Option<String> {
    let numbers = host::status_field(pid, "NSpid")?;
    numbers.split_whitespace().skip(1).last().map(str::to_owned)
}
