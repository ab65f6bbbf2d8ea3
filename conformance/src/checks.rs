//! Steps that many tests share: change one property and check the answer of the runtime or of the program; run verbs
//! beyond the specification's five, with the command line of runc.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::container::Container;
use crate::harness::{Done, Harness, skip};

/// Returns a container, not yet created, with one property set; its program sleeps.
pub fn with<'a>(b: &'a Harness, path: &[&str], value: &Value) -> Result<Container<'a>> {
    let mut c = Container::new(b)?;
    c.set(path, value.clone());
    Ok(c)
}

/// Fails unless create fails, and leaves nothing, with each of these values of one property.
pub fn refused(b: &Harness, path: &[&str], values: &[Value]) -> Result<()> {
    for value in values {
        with(b, path, value)?.must_be_refused().with_context(|| format!("{} = {value}", path.join(".")))?;
    }
    Ok(())
}

/// Fails unless a container can be created with each of these values.
pub fn accepted(b: &Harness, path: &[&str], values: &[Value]) -> Result<()> {
    for value in values {
        with(b, path, value)?.create().ok().with_context(|| format!("{} = {value}", path.join(".")))?;
    }
    Ok(())
}

/// Runs a script in a container with one property set, and returns its output.
pub fn printed(b: &Harness, script: &str, path: &[&str], value: &Value) -> Result<String> {
    let mut c = Container::script(b, script)?;
    c.set(path, value.clone());
    c.run().with_context(|| format!("{} = {value}", path.join(".")))
}

/// Fails unless a script prints exactly `wanted` where one property is set.
pub fn prints(b: &Harness, script: &str, path: &[&str], value: &Value, wanted: &str) -> Result<()> {
    let out = printed(b, script, path, value)?;
    ensure!(out == wanted, "{} = {value}: it printed {out:?}, it has to print {wanted:?}", path.join("."));
    Ok(())
}

/// Skips the test where the runtime lacks a verb that the specification does not require.
pub fn need_verb(b: &Harness, verb: &str) -> Result<()> {
    let done = b.call([verb, "--help"]);
    if done.out.contains(verb) && done.ok().is_ok() {
        return Ok(());
    }
    skip(&format!("the runtime has no verb {verb}"))
}

/// Runs `update` with a document of resources.
pub fn update(b: &Harness, c: &Container<'_>, resources: &Value) -> Result<Done> {
    need_verb(b, "update")?;
    let file = c.bundle.join("resources.json");
    fs::write(&file, resources.to_string())?;
    Ok(b.call(["update", "--resources", &file.to_string_lossy(), &c.id]))
}

/// Runs a command in a running container by `exec`.
pub fn exec(b: &Harness, c: &Container<'_>, args: &[&str]) -> Result<Done> {
    need_verb(b, "exec")?;
    Ok(b.call(["exec", &c.id].iter().chain(args)))
}

/// Runs a command by `exec` and returns its output.
pub fn exec_prints(b: &Harness, c: &Container<'_>, args: &[&str]) -> Result<String> {
    Ok(exec(b, c, args)?.ok()?.out)
}

/// Fails if a text file of the host changes while `during` runs.
pub fn unchanged<T>(path: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = crate::files::read(Path::new(path));
    let done = during();
    let after = crate::files::read(Path::new(path));
    ensure!(before == after, "the host's {path} changed from {before:?} to {after:?}");
    done
}

/// Returns whether create succeeded; fails if create failed without a proper error or left something. For values that
/// the specification lets a runtime refuse or accept.
pub fn refused_or_created(c: &Container<'_>) -> Result<bool> {
    let done = c.create();
    match &done.status {
        Ok(status) if status.success() => Ok(true),
        Ok(_) => {
            done.error()?;
            c.must_be_gone()?;
            Ok(false)
        }
        Err(why) => bail!("create: {why}"),
    }
}

/// Creates a container with these resources.
pub fn limited<'a>(b: &'a Harness, resources: &Value) -> Result<Container<'a>> {
    let c = with(b, &["linux", "resources"], resources)?;
    c.create().ok().with_context(|| format!("resources {resources}"))?;
    Ok(c)
}

/// Fails unless create fails with each of these resources.
pub fn limits_refused(b: &Harness, resources: &[Value]) -> Result<()> {
    refused(b, &["linux", "resources"], resources)
}
