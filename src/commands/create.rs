//! `create`: makes the container; its program waits for `start`.

use anyhow::Result;

use super::Context;
use crate::cli::args;
use crate::runtime::create;
use crate::runtime::options::Mode;

/// Makes the container.
pub(super) fn create(context: &Context<'_>, args: &args::Create) -> Result<i32> {
    let created = create::create(&context.store, args, Mode::Create, context.global.cgroups())?;
    context.warn(&created.container.warnings);
    context.warn_of_unprotected(&created.container.unprotected);
    // the very last thing: from here init no longer depends on this process
    if created.init.channel.send_go().is_err() {
        // it is recorded, and a process has killed its init: a container that is stopped
        context.warn(&["init has ended already".to_owned()]);
    }
    Ok(0)
}
