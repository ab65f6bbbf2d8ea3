//! What the verbs that show something print: rows, documents, filters, and the templates and tables that format them.
//!
//! Keys, columns and units are Podman's. `images`, `containers` and `document` build JSON values from the store;
//! `template` and `listing` print them; no function here changes the store.

mod check;
pub mod containers;
pub mod document;
pub mod filter;
mod functions;
pub mod images;
pub mod listing;
pub mod log;
pub mod networks;
pub mod template;
pub mod time;
pub mod units;
pub mod volumes;
