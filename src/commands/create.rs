//! `create`: creates the container, whose program waits for `start`.

use anyhow::Result;

use super::Context;
use crate::cli::args;
use crate::runtime::create;
use crate::runtime::options::Mode;

/// Creates the container.
pub(super) fn create(context: &Context<'_>, args: &args::Create) -> Result<i32> {
    let created = create::create(&context.store, args, Mode::Create, context.global.cgroups())?;
    context.warn(&created.container.warnings);
    context.warn_by_default(&created.container.of_configuration);
    context.warn_always(&created.container.unprotected);
    // last, because init runs on without this process from here
    if let Err(err) = created.init.send_go() {
        // init was killed, or could not wait
        created.init.abort();
        context.warn_always(&created.container.undo()?);
        return Err(err);
    }
    Ok(0)
}
