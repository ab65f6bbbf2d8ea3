//! Conversion of parsed flags to the types of `args`: one function per verb, in files as those of `syntax`.

pub(super) mod build;
mod common;
pub(super) mod containers;
pub(super) mod images;
pub(super) mod manifest;
pub(super) mod network;
pub(super) mod registry;
pub(super) mod run;
mod settings;
pub(super) mod system;
pub(super) mod update;
pub(super) mod views;
pub(super) mod volumes;

use base::coded;
use base::error::{Code, Coding as _};
use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::args::{Global, LogLevel};
use crate::driver::DriverKind;
use base::cli_parser::ParsedArgs;

pub(super) fn global(given: &mut ParsedArgs) -> (Global, Result<()>) {
    let mut global = Global::default();
    let result = fill_global(given, &mut global);
    (global, result)
}

fn fill_global(given: &mut ParsedArgs, global: &mut Global) -> Result<()> {
    let levels = [
        ("error", LogLevel::Error),
        ("warning", LogLevel::Warning),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
    if given.place("log-level").is_some() {
        global.log_level = given.choice("log-level", &levels)?;
    }
    global.root = given.raw("root").map(PathBuf::from);
    // an empty value is refused, because the default is another store than the caller's
    ensure!(
        global.root.as_ref().is_none_or(|root| !root.as_os_str().is_empty()),
        coded!(UsageValue, "--root: is empty")
    );
    global.driver = given.parsed("driver", str::parse::<DriverKind>)?;
    global.runtime = given.path("runtime");
    for text in given.texts("layer-limit")? {
        global.layer_limits.set(&text).with_code(Code::ImageInvalid, || format!("--layer-limit {text:?}"))?;
    }
    Ok(())
}
