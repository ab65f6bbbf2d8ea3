//! `corm update`: changes the limits of a container, of its processes now and for its next starts.

use base::coded;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde_json::{Value, json};

use super::{Context, print};
use crate::cli::args;
use crate::container::Purpose;
use crate::container::config_file;
use crate::container::run_dir::RunDir;
use crate::container::status;
use base::fs::atomic_file::Durability;

/// Sets the limits and prints the container's ID.
///
/// # Errors
/// No limit is given; the runtime refuses one, and nothing is changed then.
pub(super) fn run(context: &Context, args: &args::Update) -> Result<u8> {
    ensure!(!args.limits.is_empty(), coded!(UsageValue, "no limit is given"));
    let store = context.store()?;
    let record = store.find_container(&args.container)?;
    ensure!(
        record.setup.purpose == Purpose::Run,
        coded!(UsageValue, "container '{}' is a bundle: edit its config.json", record.name)
    );
    let run = RunDir::of(store.root())?;
    config_file::change(&store, &record.id, Durability::Full, |config| {
        let mut given = json!({});
        for (path, value) in &args.limits {
            set(&mut given, path, value);
            set(config, &[&["linux", "resources"][..], path].concat(), value);
        }
        if status::of(&store, &run, &record)?.pid().is_none() {
            return Ok(());
        }
        let mut described = File::from(memfd_create("resources", MFdFlags::MFD_CLOEXEC).context("memfd")?);
        described.write_all(given.to_string().as_bytes()).and_then(|()| described.rewind()).context("memfd")?;
        linux::process::clear_cloexec(described.as_raw_fd()).context("memfd")?;
        let path = format!("/proc/self/fd/{}", described.as_raw_fd());
        status::runtime(&run, &record).update(&record.id, &path)
    })?;
    print::line(&record.id)?;
    Ok(0)
}

/// Sets the value at a path of keys; objects on the way are created.
fn set(object: &mut Value, path: &[&str], value: &Value) {
    let mut place = object;
    for key in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*key];
    }
    *place = value.clone();
}
