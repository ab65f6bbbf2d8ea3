//! The security tests A1 … R1 of the checklist's part 6, by letter: `paths` A, `masks` B and C, `descriptors` D,
//! `identity` E, `namespaces` G, `race` R; `verify` is the self-check. The F tests that are about refused values are in `bad_input` as well as here.
//!
//! In each a host directory with a marker stands beside the bundle; it must be the same afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod devices;
mod escapes;
mod identity;
mod live;
mod masks;
mod names;
mod namespaces;
mod paths;
mod race;
mod state;
mod streams;
mod verify;
