//! `manual DIR`: writes the man pages and completions of both programs below a directory, and removes pages of verbs
//! that are gone. `make manual` calls it with `packaging/`.

use std::path::Path;

use anyhow::{Context as _, Result};

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).context("usage: manual DIR")?;
    let dir = Path::new(&dir);
    for kind in manual::DIRECTORIES {
        let place = dir.join(kind);
        match std::fs::remove_dir_all(&place) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                return Err(err).context(place.display().to_string());
            }
            _ => std::fs::create_dir_all(&place)?,
        }
    }
    for (name, text) in manual::files() {
        std::fs::write(dir.join(&name), text).with_context(|| name.clone())?;
    }
    Ok(())
}
