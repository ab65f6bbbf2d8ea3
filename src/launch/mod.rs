//! Parent side.

pub mod terminal;
