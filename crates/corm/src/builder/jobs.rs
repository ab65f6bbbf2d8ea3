//! How many commands of a build run at once (`--jobs`).

use std::sync::{Condvar, Mutex, PoisonError};

/// The places for commands.
#[derive(Debug)]
pub struct Jobs {
    /// Most commands at once; 0 for any number.
    most: usize,
    /// Commands that run.
    running: Mutex<usize>,
    /// Wakes those that wait for a place.
    ended: Condvar,
}

/// A place that a command has; dropped, another may have it.
#[derive(Debug)]
pub struct Place<'a>(&'a Jobs);

impl Jobs {
    /// Creates the places; 0 for any number.
    pub fn new(most: usize) -> Self {
        Self { most, running: Mutex::new(0), ended: Condvar::new() }
    }

    /// Waits for a place.
    pub fn take(&self) -> Place<'_> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while self.most > 0 && *running >= self.most {
            running = self.ended.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_one();
    }
}
