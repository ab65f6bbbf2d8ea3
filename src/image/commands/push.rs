//! `corm push IMAGE REF`: an image to a registry.

use anyhow::Result;

use super::{Context, print};
use crate::image::cli::args;
use crate::image::model::reference::Reference;
use crate::image::progress::Progress;
use crate::image::registry::{self, Options, Timeouts};

/// Prints the digest under which the registry has it.
///
/// # Errors
/// As [`registry::push`].
pub fn run(context: &Context, args: &args::Push) -> Result<u8> {
    let to = Reference::parse(&args.reference)?;
    let store = context.store()?;
    let image = store.find_image(&args.image)?;
    let options = Options { tls_verify: args.tls_verify, timing: Timeouts::default() };
    let digest = registry::push(&store, &image, &to, &options, &Progress::new(context.global.log_level))?;
    print::line(digest)?;
    Ok(0)
}
