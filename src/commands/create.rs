//! `create`: creates the container, whose program waits for `start`.

use anyhow::Result;

use super::Context;
use crate::cli::args;
use crate::runtime::create;
use crate::runtime::destroy;
use crate::runtime::options::Mode;
use crate::runtime::transaction::Committed;

/// Creates the container.
pub(super) fn create(context: &Context<'_>, args: &args::Create) -> Result<i32> {
    let created = create::create(&context.store, args, Mode::Create, context.global.cgroups())?;
    context.warn(&created.container.warnings);
    context.warn_by_default(&created.container.of_configuration);
    context.warn_always(&created.container.unprotected);
    // last, because init runs on without this process from here
    if let Err(err) = created.init.send_go() {
        // another process has killed init
        created.init.abort();
        let Committed { entry, record, hooks, .. } = &created.container;
        context.warn_always(&destroy::destroy(entry, record, hooks)?);
        return Err(err);
    }
    Ok(0)
}
