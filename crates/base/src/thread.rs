//! Threads whose start may fail: the standard library's `spawn` panics where the kernel refuses a thread.

use std::thread::{Builder, Scope, ScopedJoinHandle};

use anyhow::{Context as _, Result};

/// Starts a thread of a scope, with its name in `ps -L`.
///
/// # Errors
/// As pthread_create(3).
pub fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().name(name.to_owned()).spawn_scoped(scope, work).context("start a thread")
}

/// Starts threads that share one piece of work: up to `count`, and fewer where the kernel refuses more.
///
/// # Errors
/// Not one could be started.
pub fn start_some<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    (name, count): (&str, usize),
    work: impl Fn() -> T + Send + Copy + 'scope,
) -> Result<Vec<ScopedJoinHandle<'scope, T>>> {
    let mut threads = Vec::with_capacity(count);
    for _ in 0..count {
        match start(scope, name, work) {
            Ok(thread) => threads.push(thread),
            Err(err) if threads.is_empty() => return Err(err),
            Err(_) => break,
        }
    }
    Ok(threads)
}
