//! `corm version`: the version in the form of other tools.

use anyhow::Result;
use serde_json::json;

use super::print;
use crate::view::listing::Format;

/// corm's version.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Prints it.
///
/// # Errors
/// Standard output is closed.
pub(super) fn run(format: &Format) -> Result<u8> {
    let (system, machine) = ("linux", architecture());
    let platform = format!("{system}/{machine}");
    let client = json!({"Client": {"Version": VERSION, "OsArch": platform, "Os": system, "Arch": machine}});
    print::document(format, &client, || {
        format!("Client:       corm\nVersion:      {VERSION}\nOS/Arch:      {system}/{machine}\n")
    })?;
    Ok(0)
}

/// Returns this machine's architecture in the words of images.
pub(super) fn architecture() -> String {
    oci_spec::image::Arch::default().to_string()
}
