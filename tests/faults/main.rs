//! The fault tests (FT-1 … FT-48): after any interruption `delete --force` brings the host back to the state before
//! `create`. By part of the list: `interrupt` 1, `concurrent` 2, `exhausted` 3, `states` 4, `hooks` and
//! `host_environment` 5; part 6, hostile input, is in `bad_input`, the damaged state in `states` and `record`. `failing`,
//! `fallbacks` and `sweep` fail system calls, `parents` and `many` have many runtimes at once, `rootfs` a failed `create`.
//!
//! `SWEEP=all` kills, and fails calls, at every system call instead of at the usual number of points.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod concurrent;
mod exhausted;
mod failing;
mod fallbacks;
mod hooks;
mod host_environment;
mod interrupt;
mod many;
mod parents;
mod record;
mod rootfs;
mod states;
mod sweep;
