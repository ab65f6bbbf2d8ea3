//! `corm volume create`, `ls`, `inspect`, `rm`, `export`, `import`: named volumes.

use base::coded;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, IsTerminal as _, Read, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Context, for_each, print};
use crate::cli::args;
use crate::cli::args::{LogLevel, VolumeCreate};
use crate::commit::write_atomically;
use crate::container::cleanup;
use crate::container::cp::{self, Given, Rules, View};
use crate::container::run_dir::RunDir;
use crate::driver::mount_util;
use crate::layer::pack;
use crate::store::Store;
use crate::store::VolumeRecord;
use crate::view::listing::{Format, Listing};
use crate::view::volumes;

/// Creates a volume and prints its name.
///
/// # Errors
/// There is one of this name.
pub(super) fn create(context: &Context, args: &VolumeCreate) -> Result<u8> {
    let store = context.store()?;
    let mut labels = BTreeMap::new();
    for label in &args.labels {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        ensure!(!key.is_empty(), coded!(UsageValue, "--label {label:?}: not of the form NAME=VALUE"));
        labels.insert(key.to_owned(), value.to_owned());
    }
    let name = match &args.name {
        Some(name) => name.clone(),
        None => store.new_id()?,
    };
    if !store.create_volume(&name, labels)? && !args.ignore {
        bail!(coded!(NameTaken, "volume with name {name} already exists: volume already exists"));
    }
    print::line(name)?;
    Ok(0)
}

/// Lists the volumes.
///
/// # Errors
/// A record is damaged.
pub(super) fn list(context: &Context, args: &args::VolumeList) -> Result<u8> {
    let store = context.store()?;
    let volumes = volumes::that_fit(&store, &args.filters)?;
    if args.quiet {
        volumes.iter().try_for_each(|volume| print::line(&volume.name))?;
        return Ok(0);
    }
    let rows = described(&store, &volumes)?;
    let listing = Listing {
        format: &args.format,
        own: "{{.Driver}}\t{{.Name}}",
        noheading: args.noheading || rows.is_empty(),
        headings: &[("Name", "VOLUME NAME")],
    };
    print::write(listing.text(&rows, || rows.clone().into())?.as_bytes())?;
    Ok(0)
}

/// Prints the details of volumes.
///
/// # Errors
/// There is no such volume; those found are printed.
pub(super) fn inspect(context: &Context, names: &[String], all: bool, format: &Format) -> Result<u8> {
    let store = context.store()?;
    if all {
        print::documents(format, &described(&store, &store.volumes()?)?)?;
        return Ok(0);
    }
    let found: Vec<Result<VolumeRecord>> = names.iter().map(|name| store.find_volume(name)).collect();
    let records: Vec<VolumeRecord> = found.iter().flatten().cloned().collect();
    print::documents(format, &described(&store, &records)?)?;
    found.into_iter().try_for_each(|found| found.map(drop))?;
    Ok(0)
}

/// Writes the content of a volume as a tar, to a file or to standard output.
///
/// # Errors
/// There is no such volume; the file cannot be written.
pub(super) fn export(context: &Context, name: &str, output: Option<&Path>) -> Result<u8> {
    let store = context.store()?;
    let volume = store.find_volume(name)?;
    let root = mount_util::open_dir(&store.volume_data(&volume.name))?;
    let pack = |out: &mut dyn Write| pack::files(root.as_fd(), c".", b"", &|owner| owner, out);
    match output {
        Some(path) => write_atomically(&store, path, pack)?,
        None => {
            let out = std::io::stdout();
            ensure!(!out.is_terminal(), "a tar is not for a terminal: give -o FILE");
            let mut out = BufWriter::with_capacity(256 << 10, out.lock());
            pack(&mut out)?;
            out.flush().context("standard output")?;
        }
    }
    Ok(0)
}

/// Extracts a tar, compressed or not, into a volume, beside what it has.
///
/// # Errors
/// There is no such volume; the bytes are no tar.
pub(super) fn import(context: &Context, name: &str, file: &str) -> Result<u8> {
    let store = context.store()?;
    let volume = store.find_volume(name)?;
    let _lock = store.lock_volume(&volume.name)?;
    let path = store.volume_data(&volume.name);
    let given = Given { text: name, path: &path, container: None };
    let rules = Rules { overwrite: true, ..Rules::default() };
    let warn = |text: &str| context.report(LogLevel::Warning, format_args!("corm: warning: {text}"));
    let input: Box<dyn Read + Send> = match file {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(File::open(path).with_context(|| format!("{path:?}"))?),
    };
    cp::from_tar(input, (&View::host()?, given), &rules, store.limits(), &warn)?;
    Ok(0)
}

/// Returns what `inspect` prints of volumes, with Podman's keys.
fn described(store: &Store, volumes: &[VolumeRecord]) -> Result<Vec<Value>> {
    let describe = |volume: &VolumeRecord| {
        let users = store.users_of_volume(&volume.name)?.len();
        Ok(json!({
            "Name": volume.name, "Driver": "local", "Mountpoint": store.volume_data(&volume.name),
            "CreatedAt": volume.created, "Labels": volume.labels, "Scope": "local", "Options": {}, "MountCount": users,
        }))
    };
    volumes.iter().map(describe).collect()
}

/// Removes volumes and prints their names; with `force` their containers too, and a missing one is no error.
///
/// # Errors
/// As [`for_each`]: there is no such volume, or a container uses it.
pub(super) fn remove(context: &Context, names: &[String], all: bool, force: bool) -> Result<u8> {
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let every: Vec<String> = store.volumes()?.into_iter().filter(|_| all).map(|volume| volume.name).collect();
    for_each(context, if all { &every } else { names }, |name| {
        if force && store.find_volume(name).is_err_and(|err| err.to_string().starts_with("no ")) {
            return Ok(());
        }
        for record in store.users_of_volume(name)?.into_iter().filter(|_| force) {
            cleanup::remove_running(&store, &run, &record)?;
        }
        store.remove_volume(name)?;
        print::line(name)
    })
}
