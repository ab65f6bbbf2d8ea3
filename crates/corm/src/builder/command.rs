//! `RUN`: a container of the runtime on the layers so far, whose changes become a layer.

use base::coded;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use anyhow::{Context as _, Error, Result, bail};
use oci_spec::image::{Arch, ImageConfigurationBuilder, Os, RootFsBuilder};

use super::cancel::Cancel;
use super::mounts::Mounts;
use super::report::{Report, Tag, Tail};
use crate::build;
use crate::config::RunOptions;
use crate::config::network::{Mode, Network};
use crate::config::settings::Settings;
use crate::container::Purpose;
use crate::container::changes;
use crate::container::cleanup;
use crate::container::create::{self, New};
use crate::container::run_dir::RunDir;
use crate::container::session::{self, Streams};
use crate::layer::pack;
use crate::model::digest::{self, Digest};
use crate::model::layer::Layer;
use crate::store::{ContainerRecord, ImageRecord, Store, chain_ids};
use std::os::fd::AsFd as _;

/// Longest line of output that is passed on at once, in bytes.
const MAX_LINE: u64 = 64 << 10;

/// Words in the output of a command that misses the network, in lower case.
const NETWORK_WORDS: [&str; 6] = ["network", "resolv", "connect", "unreachable", "bad address", "name or service"];

/// A command to run.
pub struct Job<'a> {
    /// The store.
    pub store: &'a Store,
    /// Run-time directory of the store.
    pub run: &'a RunDir,
    /// Path of the OCI runtime.
    pub runtime: PathBuf,
    /// ID of the image below, for the record.
    pub image: Digest,
    /// Layers below, lowest first.
    pub layers: &'a [Layer],
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables.
    pub env: Vec<String>,
    /// User, empty for root.
    pub user: String,
    /// Working directory, absolute.
    pub workdir: String,
    /// Network.
    pub network: Mode,
    /// Limits, names of hosts and others.
    pub settings: Settings,
    /// Mounts.
    pub mounts: &'a mut Mounts,
    /// Output.
    pub report: &'a Report,
    /// Tag of the step.
    pub tag: &'a Tag,
    /// End of the build.
    pub cancel: &'a Cancel,
}

/// A container of a step; dropped, everything of it is removed.
struct Step<'a> {
    store: &'a Store,
    run: &'a RunDir,
    record: ContainerRecord,
    /// Whether the program has ended, so that the runtime knows nothing of it.
    ended: bool,
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        // what is left is removed by the next build or prune
        if self.ended {
            let _ = self.store.remove_container(&self.record.id);
            let _ = self.run.remove_files(&self.record.id);
        } else {
            let _ = cleanup::remove(self.store, self.run, &self.record);
        }
    }
}

impl Job<'_> {
    /// Runs the command; returns the layer of its changes, or `None` when it changed no file.
    ///
    /// # Errors
    /// It cannot be started, fails, or is interrupted.
    pub fn run(mut self) -> Result<Option<Layer>> {
        let options = self.options();
        let image = self.image_record();
        let configuration = ImageConfigurationBuilder::default()
            .architecture(Arch::default())
            .os(Os::Linux)
            .rootfs(RootFsBuilder::default().typ("layers").diff_ids(Vec::new()).build()?)
            .build()?;
        let new = New {
            options: &options,
            name: None,
            runtime: std::mem::take(&mut self.runtime),
            purpose: Purpose::Build,
            remove: false,
            interactive: false,
            bundle: None,
            run: Some(self.run),
        };
        let (record, supervisor) = create::create_with(self.store, &image, &configuration, &new, &|_| {})?;
        let mut step = Step { store: self.store, run: self.run, record, ended: false };
        let supervisor = supervisor.context("the container has no supervisor")?;
        let streams = Streams::default();
        let record = step.record.clone();
        let started = session::start(self.store, self.run, &record, supervisor, streams, &|_| {});
        let mut session = started.map_err(|failed| failed.error)?;
        let (reader, to) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
        session.pipe_to(&to, self.cancel.descriptor())?;
        // else the reader waits for this end
        drop(to);
        let (ended, tail) = std::thread::scope(|scope| {
            let lines = base::thread::start(scope, "output", || self.lines(reader))?;
            let ended = session.wait(&|_| {});
            anyhow::Ok((ended, lines.join().unwrap_or_default()))
        })?;
        let ended = ended?;
        step.ended = ended.cleanup.is_ok();
        self.cancel.check()?;
        if ended.status != 0 {
            self.report.tail(self.tag, &tail);
            bail!(coded!(BuildInvalid, "{}", self.failure(ended.status, &tail)));
        }
        ended.cleanup?;
        self.layer(&step)
    }

    /// Returns the words for a command that failed.
    fn failure(&self, status: i32, tail: &Tail) -> String {
        let missed = self.network == Mode::None && tail.mentions(&NETWORK_WORDS);
        let hint = if missed { " (it has no network: see --network)" } else { "" };
        match status {
            128.. => format!("the command was ended by signal {}{hint}", status - 128),
            _ => format!("the command failed with status {status}{hint}"),
        }
    }

    fn options(&mut self) -> RunOptions {
        let mut settings = std::mem::take(&mut self.settings);
        settings.tmpfs.append(&mut self.mounts.tmpfs);
        RunOptions {
            command: std::mem::take(&mut self.command),
            entrypoint: Some(Vec::new()),
            env: std::mem::take(&mut self.env),
            workdir: Some(self.workdir.clone()),
            user: Some(self.user.clone()).filter(|user| !user.is_empty()),
            volumes: std::mem::take(&mut self.mounts.volumes),
            // the same in every build, because a program may write it into a file
            hostname: Some("build".to_owned())
                .filter(|_| self.network != Mode::Host && settings.namespaces.own_hostname()),
            host_network: self.network == Mode::Host,
            network: Network { mode: self.network.clone(), ..Network::default() },
            settings,
            ..RunOptions::default()
        }
    }

    /// Returns the image on which the container is created, which no record names.
    fn image_record(&self) -> ImageRecord {
        ImageRecord {
            id: self.image.clone(),
            manifest: self.image.clone(),
            index: None,
            names: Vec::new(),
            created: String::new(),
            size: 0,
            source: None,
            chain: chain_ids(self.layers.iter().map(|layer| &layer.diff_id)).pop(),
            layers: self.layers.to_vec(),
        }
    }

    /// Prints the lines of the output; returns the last ones.
    fn lines(&self, reader: OwnedFd) -> Tail {
        let (mut reader, mut tail) = (BufReader::new(File::from(reader)), Tail::default());
        let mut line = Vec::new();
        while matches!(reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            self.report.output(self.tag, text);
            tail.push(text);
            line.clear();
        }
        tail
    }

    /// Stores the changes of the container as a layer.
    fn layer(&self, step: &Step<'_>) -> Result<Option<Layer>> {
        let changes = changes::of(self.store, &step.record)?;
        if changes.list.is_empty() {
            return Ok(None);
        }
        let (layer, _) = build::write_blob(self.store, |out| pack::changes(changes.root.as_fd(), &changes.list, out))?;
        // the tree can be the layer's, unless it has mount points that the layer lacks
        if !changes.filtered {
            let below = chain_ids(self.layers.iter().map(|layer| &layer.diff_id)).pop();
            self.store.seal_layer(&step.record.id, &digest::chain(below.as_ref(), &layer.diff_id))?;
        }
        Ok(Some(layer))
    }
}

/// Returns the error for a command that has nothing to run.
pub fn nothing() -> Error {
    Error::msg("RUN: there is no shell: SHELL is empty")
}
