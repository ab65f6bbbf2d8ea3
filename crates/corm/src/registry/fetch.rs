//! Download of one blob into the store: skipped when the store has it, else resumed where an earlier one stopped.

use anyhow::{Result, bail};
use base::coded;

use super::client::Client;
use crate::model::digest::Digest;
use crate::progress::Progress;
use crate::store::Store;

/// A download.
pub(crate) struct Fetch<'a> {
    /// Where the blob is stored.
    pub store: &'a Store,
    /// The repository.
    pub client: &'a Client,
    /// Output of progress.
    pub progress: &'a Progress,
    /// Fails when the download has become useless.
    pub stopped: &'a dyn Fn() -> Result<()>,
}

impl Fetch<'_> {
    /// Downloads and verifies a blob; `urls` are further places of it.
    ///
    /// # Errors
    /// The content does not match; as [`Client::blob`].
    pub(crate) fn run(&self, (digest, size): (&Digest, u64), urls: &[String]) -> Result<()> {
        (self.stopped)()?;
        if let Some(present) = self.store.has_blob(digest) {
            return check_size(digest, present, size);
        }
        // the bytes of an earlier download may be wrong: then once more from the start
        loop {
            let mut partial = self.store.partial(digest)?;
            if let Some(present) = self.store.has_blob(digest) {
                partial.discard();
                return check_size(digest, present, size);
            }
            let resumed = !partial.is_empty();
            let bar = self.progress.blob("pulled", digest, size);
            self.client.blob((digest, size), urls, &mut partial, &|bytes| {
                bar.set(bytes);
                (self.stopped)()
            })?;
            match partial.commit(Some(size)) {
                Ok(_) => {
                    bar.done();
                    return Ok(());
                }
                Err(_) if resumed => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn check_size(digest: &Digest, present: u64, size: u64) -> Result<()> {
    if present != size {
        bail!(coded!(
            ImageInvalid,
            "blob {digest}: {size} bytes by the manifest, but {present} with this digest are in the store"
        ));
    }
    Ok(())
}
