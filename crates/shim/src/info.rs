//! `-info`: answers what the shim is, to containerd 2.x.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result};
use prost::Message as _;

use super::proto::Any;
use super::proto::options::{RuntimeInfo, RuntimeVersion};

/// Prints the information as a message.
///
/// # Errors
/// Standard input or output fail.
pub(crate) fn print() -> Result<()> {
    let mut given = Vec::new();
    std::io::stdin().take(10 << 20).read_to_end(&mut given).context("standard input")?;
    let options = Any::decode(&*given).ok().filter(|any| !any.type_url.is_empty());
    let features = croci::config::features();
    let features = serde_json::to_vec(&features).context("features")?;
    let info = RuntimeInfo {
        name: "io.containerd.croci.v2".to_owned(),
        version: Some(RuntimeVersion { version: env!("CARGO_PKG_VERSION").to_owned(), revision: String::new() }),
        options,
        features: Some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/features/Features".to_owned(),
            value: features,
        }),
        annotations: Default::default(),
    };
    std::io::stdout().write_all(&info.encode_to_vec()).context("standard output")
}
