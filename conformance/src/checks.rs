//! What many tests do: change one property and see how the runtime or the program answers; the verbs beyond the
//! specification's five, as runc's command line has them.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::container::Container;
use crate::harness::{Done, Harness, skip};

/// A container with one property set: a program that sleeps.
pub fn with<'a>(b: &'a Harness, path: &[&str], value: &Value) -> Result<Container<'a>> {
    let mut c = Container::new(b)?;
    c.set(path, value.clone());
    Ok(c)
}

/// Each of these values of one property is an error of create, which leaves nothing.
pub fn refused(b: &Harness, path: &[&str], values: &[Value]) -> Result<()> {
    for value in values {
        with(b, path, value)?.must_be_refused().with_context(|| format!("{} = {value}", path.join(".")))?;
    }
    Ok(())
}

/// A container can be created with each of these values.
pub fn accepted(b: &Harness, path: &[&str], values: &[Value]) -> Result<()> {
    for value in values {
        with(b, path, value)?.create().ok().with_context(|| format!("{} = {value}", path.join(".")))?;
    }
    Ok(())
}

/// The output of a script where one property is set.
pub fn printed(b: &Harness, script: &str, path: &[&str], value: &Value) -> Result<String> {
    let mut c = Container::script(b, script)?;
    c.set(path, value.clone());
    c.run().with_context(|| format!("{} = {value}", path.join(".")))
}

/// A script prints exactly this where one property is set.
pub fn prints(b: &Harness, script: &str, path: &[&str], value: &Value, wanted: &str) -> Result<()> {
    let out = printed(b, script, path, value)?;
    ensure!(out == wanted, "{} = {value}: it printed {out:?}, it has to print {wanted:?}", path.join("."));
    Ok(())
}

/// Ends a test where the runtime lacks a verb that the specification does not ask for.
pub fn need_verb(b: &Harness, verb: &str) -> Result<()> {
    let done = b.call([verb, "--help"]);
    if done.out.contains(verb) && done.ok().is_ok() {
        return Ok(());
    }
    skip(&format!("the runtime has no verb {verb}"))
}

/// `update` with a document of resources.
pub fn update(b: &Harness, c: &Container<'_>, resources: &Value) -> Result<Done> {
    need_verb(b, "update")?;
    let file = c.bundle.join("resources.json");
    fs::write(&file, resources.to_string())?;
    Ok(b.call(["update", "--resources", &file.to_string_lossy(), &c.id]))
}

/// `exec` of a command in a running container.
pub fn exec(b: &Harness, c: &Container<'_>, args: &[&str]) -> Result<Done> {
    need_verb(b, "exec")?;
    Ok(b.call(["exec", &c.id].iter().chain(args)))
}

/// The output of a command that `exec` runs.
pub fn exec_prints(b: &Harness, c: &Container<'_>, args: &[&str]) -> Result<String> {
    Ok(exec(b, c, args)?.ok()?.out)
}

/// A text file of the host has to be as it was.
pub fn unchanged<T>(path: &str, during: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = crate::files::read(Path::new(path));
    let done = during();
    let after = crate::files::read(Path::new(path));
    ensure!(before == after, "the host's {path} changed from {before:?} to {after:?}");
    done
}

/// Either the call failed cleanly and left nothing, or it succeeded: for what a runtime may do as it likes.
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

/// A created container with these resources.
pub fn limited<'a>(b: &'a Harness, resources: &Value) -> Result<Container<'a>> {
    let c = with(b, &["linux", "resources"], resources)?;
    c.create().ok().with_context(|| format!("resources {resources}"))?;
    Ok(c)
}

/// With each of these resources, create fails.
pub fn limits_refused(b: &Harness, resources: &[Value]) -> Result<()> {
    refused(b, &["linux", "resources"], resources)
}
