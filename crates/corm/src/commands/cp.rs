//! `corm cp`: copies files between containers and the host, or a tar from or to the standard streams.

use base::coded;
use base::fs::atomic_file;
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::Context;
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::container::cp;
use crate::container::cp::{Given, Rules, View};
use crate::container::run_dir::RunDir;
use crate::store::{ContainerRecord, Store};

/// One of the two ends of a copy.
enum End<'a> {
    /// A path in a container.
    Container(&'a str, &'a str),
    /// A path of the host.
    Host(&'a str),
    /// A tar: standard input or standard output.
    Stream,
}

impl<'a> End<'a> {
    /// Parses `CONTAINER:PATH`, `PATH` or `-`. A path with a colon begins with `/` or `.`.
    fn parse(text: &'a str) -> Result<Self> {
        ensure!(!text.is_empty(), coded!(UsageValue, "a path is empty"));
        if text == "-" {
            return Ok(End::Stream);
        }
        match text.split_once(':') {
            Some((name, path)) if !text.starts_with(['/', '.']) && !name.contains('/') => {
                ensure!(
                    !name.is_empty() && !path.is_empty(),
                    coded!(UsageValue, "{text:?}: not of the form CONTAINER:PATH")
                );
                Ok(End::Container(name, path))
            }
            _ => Ok(End::Host(text)),
        }
    }
}

impl End<'_> {
    /// Returns the ID of its container, if it is in one.
    fn id(&self, store: &Store) -> Result<Option<String>> {
        match self {
            End::Container(name, _) => Ok(Some(store.find_container(name)?.id)),
            _ => Ok(None),
        }
    }

    /// Returns the path as it was given.
    fn text(&self) -> &str {
        match self {
            End::Container(_, text) | End::Host(text) => text,
            End::Stream => "-",
        }
    }

    /// Returns the path in its container; a relative one begins at the root, as in Docker.
    fn path(&self) -> PathBuf {
        PathBuf::from("/").join(self.text())
    }
}

/// Returns the name of the container, for the namespaces of an unprivileged user; of two the destination's.
pub(super) fn container(args: &args::CopyFiles) -> Option<&str> {
    [&args.to, &args.from].into_iter().find_map(|text| match End::parse(text) {
        Ok(End::Container(name, _)) => Some(name),
        _ => None,
    })
}

/// Copies.
///
/// # Errors
/// As [`cp::copy`]; neither end is a container.
pub(super) fn run(context: &Context, args: &args::CopyFiles) -> Result<u8> {
    let (from, to) = (End::parse(&args.from)?, End::parse(&args.to)?);
    let of_container = matches!(from, End::Container(..)) || matches!(to, End::Container(..));
    ensure!(of_container, coded!(UsageValue, "one of the two paths must be of a container: CONTAINER:PATH"));
    let store = context.store()?;
    let run = RunDir::of(store.root())?;
    let warn = |text: &str| context.report(LogLevel::Warning, format_args!("corm: warning: {text}"));
    let copy = |(source, from): Part<'_>, (view, to): Part<'_>| {
        let owner = match (to.container, args.archive) {
            (Some(name), true) => Some(owner(&store, &store.find_container(name)?)?),
            _ => None,
        };
        let rules = Rules { owner, to_host: to.container.is_none(), overwrite: args.overwrite, ..Rules::default() };
        match (source, view) {
            (Some(source), Some(view)) => cp::copy((source, from), (view, to), rules, &warn),
            (None, Some(view)) => cp::from_tar(std::io::stdin(), (view, to), &rules, store.limits(), &warn),
            (Some(source), None) => to_stdout(source, from),
            (None, None) => bail!(coded!(UsageValue, "one of the two paths must be of a container")),
        }
    };
    match (from.id(&store)?, to.id(&store)?) {
        // opened once, because whoever opens it again waits for the first
        (Some(one), Some(other)) if one == other => in_view(&store, &run, &from, &|view, given| {
            let path = to.path();
            copy((view, given), (view, Given { path: &path, text: to.text(), ..given }))
        }),
        // in the order of the IDs, so that no other `cp` waits for this one while this one waits for it
        (Some(one), Some(other)) if one > other => in_view(&store, &run, &to, &|view, to| {
            in_view(&store, &run, &from, &|source, from| copy((source, from), (view, to)))
        }),
        _ => in_view(&store, &run, &from, &|source, from| {
            in_view(&store, &run, &to, &|view, to| copy((source, from), (view, to)))
        }),
    }?;
    sync(&store, &to)?;
    Ok(0)
}

/// Writes the file system of the destination to its device, so that a power cut does not take what was copied.
fn sync(store: &Store, to: &End<'_>) -> Result<()> {
    match to {
        End::Stream => Ok(()),
        // trees and volumes are there
        End::Container(..) => atomic_file::sync_file_system(store.root()),
        End::Host(text) => {
            let path = Path::new(text);
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            atomic_file::sync_file_system(if path.is_dir() { path } else { parent })
        }
    }
}

fn to_stdout(source: &View<'_>, from: Given<'_>) -> Result<()> {
    let out = std::io::stdout();
    ensure!(!out.is_terminal(), coded!(UsageValue, "a tar is not for a terminal"));
    let mut out = BufWriter::with_capacity(256 << 10, out.lock());
    cp::to_tar(source, from, &mut out)?;
    out.flush().context("standard output")
}

/// An end of a copy: its file system, and the path in it.
type Part<'a> = (Option<&'a View<'a>>, Given<'a>);

/// What is done with an end; without a view for a stream.
type Act<'a> = &'a dyn Fn(Option<&View<'_>>, Given<'_>) -> Result<()>;

/// Calls `act` with the file system of an end and the path in it.
fn in_view(store: &Store, run: &RunDir, end: &End<'_>, act: Act<'_>) -> Result<()> {
    match *end {
        End::Stream => act(None, Given { text: "-", path: Path::new("/"), container: None }),
        End::Host(text) => {
            let path = std::env::current_dir().context("working directory")?.join(text);
            act(Some(&View::host()?), Given { text, path: &path, container: None })
        }
        End::Container(name, text) => {
            let record = store.find_container(name)?;
            let path = end.path();
            let given = Given { text, path: &path, container: Some(name) };
            cp::with_container(store, run, &record, |view| act(Some(view), given))
        }
    }
}

/// Returns user and group of a container's program, to which copied files belong.
fn owner(store: &Store, record: &ContainerRecord) -> Result<(u32, u32)> {
    let file = store.container_dir(&record.id).join("config.json");
    let bytes = std::fs::read(&file).with_context(|| format!("read {file:?}"))?;
    let config: serde_json::Value = serde_json::from_slice(&bytes).with_context(|| format!("{file:?} is damaged"))?;
    let id = |name: &str| {
        let number =
            config.pointer("/process/user").and_then(|user| user.get(name)).and_then(serde_json::Value::as_u64);
        u32::try_from(number.unwrap_or_default()).with_context(|| format!("{file:?}: process.user.{name}"))
    };
    Ok((id("uid")?, id("gid")?))
}
