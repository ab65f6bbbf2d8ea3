//! `corm copy SOURCE DESTINATION`: copies an image without unpacking it.

use anyhow::Result;

use super::{Context, print, remote};
use crate::cli::args;
use crate::copy::{Location, Request, Side, copy};
use crate::model::platform::Platform;

/// Copies the image and prints its digest at the destination.
///
/// # Errors
/// As [`copy`].
pub(super) fn run(context: &Context, args: &args::Copy) -> Result<u8> {
    let (from, to) = (Location::parse(&args.from)?, Location::parse(&args.to)?);
    let request = Request {
        all: args.all,
        platform: args.platform.as_deref().map(Platform::parse).transpose()?,
        preserve_digests: args.preserve_digests,
        compression: args.compression.map(|wanted| (wanted.format, wanted.level)),
    };
    let (source, target) = (remote::options(&args.source)?, remote::options(&args.target)?);
    let store = context.store()?;
    let (from, to) = (Side { at: &from, options: &source }, Side { at: &to, options: &target });
    let copied = copy(&store, &from, &to, &request, &remote::progress(context, args.quiet));
    // what passed through, also after a failure; while another process adds, the next removal does it
    store.collect()?;
    let digest = copied?;
    remote::write_digest(args.digestfile.as_deref(), &digest)?;
    if !args.quiet {
        print::line(digest)?;
    }
    Ok(0)
}
