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
    if created.init.channel.send_go().is_err() {
        // another process has killed init: the container is recorded, with the status stopped
        context.warn(&["init has ended already".to_owned()]);
    }
    Ok(0)
}
