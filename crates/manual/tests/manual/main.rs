//! The man pages and completions in the tree, in real shells; and each command that they and the guides show, run. Root.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod current;
mod documents;
mod examples;
mod scene;
mod shells;
