//! `corm pull REF`: an image of a registry, unpacked.

use anyhow::Result;

use super::{Context, print};
use crate::image::cli::args;
use crate::image::model::platform::Platform;
use crate::image::model::reference::Reference;
use crate::image::progress::Progress;
use crate::image::registry::{self, Options, Timeouts};

/// Prints the image's id.
///
/// # Errors
/// As [`registry::pull`].
pub fn run(context: &Context, args: &args::Pull) -> Result<u8> {
    let name = Reference::parse(&args.reference)?;
    let platform = args.platform.as_deref().map(Platform::parse).transpose()?;
    let options = Options { tls_verify: args.tls_verify, timing: Timeouts::default() };
    let progress = Progress::new(context.global.log_level);
    let image = registry::pull(&context.store()?, &name, platform.as_ref(), &options, &progress)?;
    print::line(image.id.hex())?;
    Ok(0)
}
