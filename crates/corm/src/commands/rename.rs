//! `corm rename`: gives a container another name.

use anyhow::Result;

use super::Context;
use crate::container::names;

/// Renames the container, whether it runs or not.
///
/// # Errors
/// The name is invalid, or another container has it.
pub(super) fn run(context: &Context, container: &str, name: &str) -> Result<u8> {
    names::check(name)?;
    let store = context.store()?;
    let record = store.find_container(container)?;
    store.change_container(&record.id, |record| {
        name.clone_into(&mut record.name);
        Ok(())
    })?;
    Ok(0)
}
