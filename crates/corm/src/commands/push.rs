//! `corm push IMAGE REF`: pushes an image to a registry.

use anyhow::Result;

use super::{Context, print};
use crate::cli::args;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registry;
use crate::registry::Options;
use crate::registry::Timeouts;

/// Pushes the image and prints its digest in the registry.
///
/// # Errors
/// As [`registry::push`].
pub(super) fn run(context: &Context, args: &args::Push) -> Result<u8> {
    let to = Reference::parse(&args.reference)?;
    let store = context.store()?;
    let image = store.find_image(&args.image)?;
    let options = Options { tls_verify: args.tls_verify, timing: Timeouts::default() };
    let digest = registry::push(&store, &image, &to, &options, &Progress::new(context.global.log_level))?;
    print::line(digest)?;
    Ok(0)
}
