//! Changes of a container's `config.json` after its creation: one process at a time, because each reads, changes and
//! replaces the whole file.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::store::Store;
use base::fs::atomic_file;
use base::fs::atomic_file::Durability;
use base::fs::lock::create_locked;

/// Changes the configuration of a container; other processes that change it wait meanwhile.
///
/// # Errors
/// Those of `change`, and the file stays as it was; the file cannot be read or written.
pub fn change(
    store: &Store,
    id: &str,
    durability: Durability,
    change: impl FnOnce(&mut Value) -> Result<()>,
) -> Result<()> {
    let dir = store.container_dir(id);
    let _lock = create_locked(&dir.join("update.lock")).with_context(|| format!("lock {dir:?}"))?;
    let file = dir.join("config.json");
    let bytes = std::fs::read(&file).with_context(|| format!("read {file:?}"))?;
    let mut config = serde_json::from_slice(&bytes).with_context(|| format!("{file:?} is damaged"))?;
    change(&mut config)?;
    atomic_file::write(&store.tmp(), &file, &serde_json::to_vec(&config)?, durability)
}
