//! The security tests A1 … R1 of the checklist's part 6, by letter: `paths` A, `masks` B and C, `descriptors` D1 to D3,
//! `births` D4, `binary` D5, `identity` E, `namespaces` G, `race` R; `verify` is the self-check. The F tests that are
//! about refused values are in `bad_input` as well as here.
//!
//! Each test has a host directory with a marker beside the bundle, which must be unchanged afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod attacker;
mod binary;
mod births;
mod cgroups;
mod descriptors;
mod devices;
mod escapes;
mod files;
mod identity;
mod images;
mod left_namespaces;
mod live;
mod masks;
mod names;
mod namespaces;
mod own_namespaces;
mod paths;
mod process_names;
mod race;
mod state;
mod stops;
mod streams;
mod verify;
