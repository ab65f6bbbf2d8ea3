//! `corm pull REF`: pulls an image from a registry and unpacks it.

use anyhow::Result;

use super::{Context, print};
use crate::cli::args;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registry;
use crate::registry::Options;
use crate::registry::Timeouts;

/// Pulls the image and prints its ID.
///
/// # Errors
/// As [`registry::pull`].
pub(super) fn run(context: &Context, args: &args::Pull) -> Result<u8> {
    let name = Reference::parse(&args.reference)?;
    let platform = args.platform.as_deref().map(Platform::parse).transpose()?;
    let options = Options { tls_verify: args.tls_verify, timing: Timeouts::default() };
    let progress = Progress::new(context.global.log_level);
    let image = registry::pull(&context.store()?, &name, platform.as_ref(), &options, &progress)?;
    print::line(image.id.hex())?;
    Ok(0)
}
