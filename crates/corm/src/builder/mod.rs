//! `corm build`: an image from a Containerfile, without a daemon.
//!
//! ```text
//! containerfile ─▶ plan (stages, needs) ─▶ stage, one thread each ─▶ image
//!                                           configuration: scope, stage
//!                                           COPY ADD WORKDIR: source, copy: a layer is packed from files
//!                                           RUN: mounts, command: a container, whose changes are a layer
//! ```
//! Each instruction with files has a key of all that it depends on; the store's cache has the layers by it.

pub mod cancel;
pub mod chmod;
pub mod command;
pub mod context;
pub mod copy;
pub mod expose;
pub mod fetch;
pub mod files;
pub mod image;
pub mod jobs;
pub mod made;
pub mod mounts;
pub mod options;
pub mod plan;
pub mod report;
pub mod scope;
pub mod source;
pub mod stage;
pub mod transfer;

use base::coded;
use base::error::{Code, Coding as _};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::cli::args;
use crate::commit::now;
use crate::container::run_dir::RunDir;
use crate::container::{runtime, sweep};
use crate::driver::View;
use crate::layer::epoch;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::model::platform::Platform;
use crate::store::{ImageRecord, Store, chain_ids};
use cancel::Cancel;
use context::Context;
use jobs::Jobs;
use made::Made;
use mounts::Shared;
use options::Options;
use plan::{Base, Plan, Stage};
use report::Report;
use scope::Given;
use stage::{Named, StageRun};

/// Returns the image of a name for a platform, pulled where that is asked for or needed.
pub type Pull<'a> = &'a (dyn Fn(&str, Option<&str>) -> Result<ImageRecord> + Sync);

/// What the name of an image of a layout begins with, in `--build-context`.
pub const LAYOUT: &str = "oci-layout://";

/// What a caller gives to a build besides its flags.
pub struct Caller<'a> {
    /// The store.
    pub store: &'a Store,
    /// Finds base images.
    pub pull: Pull<'a>,
    /// The OCI runtime; absent: the default one.
    pub runtime: Option<&'a Path>,
}

/// A build.
pub struct Build<'a> {
    store: &'a Store,
    run: RunDir,
    pull: Pull<'a>,
    runtime: Option<&'a Path>,
    plan: &'a Plan,
    given: &'a Given,
    options: &'a Options,
    context: &'a Context,
    contexts: &'a BTreeMap<String, Context>,
    report: &'a Report,
    cancel: &'a Cancel,
    /// Places for commands.
    jobs: Jobs,
    /// Directory in memory for secrets.
    private: PathBuf,
    /// Time of the image, RFC 3339.
    created: String,
    /// The same in seconds since 1970.
    now: i64,
    shared: Mutex<State>,
    changed: Condvar,
}

/// What the stages share.
#[derive(Default)]
struct State {
    /// The stages that are done; `None` for one that failed.
    made: BTreeMap<usize, Option<Arc<Made>>>,
    /// Images that were found, by name and platform.
    images: BTreeMap<(String, Option<String>), Arc<Made>>,
    /// Names of `--build-arg` that were used.
    used: BTreeSet<String>,
    /// Keys of the cache that steps have.
    keys: Vec<Digest>,
    /// Stages that only a trigger names, and that have begun.
    late: BTreeSet<usize>,
}

/// What a build has made.
#[derive(Debug)]
pub struct Built {
    /// The image.
    pub image: ImageRecord,
    /// Keys of the cache that its steps have, for `--cache-to`.
    pub keys: Vec<Digest>,
}

/// Builds the image.
///
/// # Errors
/// Names the file, the line and the instruction that failed.
pub fn build(caller: &Caller<'_>, args: &args::Build) -> Result<Built> {
    let options = Options::new(args)?;
    give_epoch(args)?;
    let store = caller.store;
    let cancel = Cancel::new()?;
    let report = Report::new(args.quiet, args.log_file.as_deref())?;
    let run = RunDir::of(store.root())?;
    // not while another build runs, whose step has no supervisor while its layer is packed
    if let Some(exclusive) = store.try_exclusive()? {
        sweep::sweep_builds(store, &run, &exclusive)?;
    }
    let _adding = store.shared()?;
    let mut context = open_context(store, &args.context, &args.files)?;
    let mut file = context.containerfile(&args.files, args.ignore_file.as_deref())?;
    if let Some(image) = &args.from {
        plan::replace_base(&mut file, image);
    }
    let (contexts, images) = named_contexts(store, &options)?;
    let target = args.target.as_deref();
    let given = Given::new(&args.build_args, &options.platform, target.unwrap_or_default())?;
    let names: Vec<String> = options.contexts.iter().map(|(name, _)| name.clone()).collect();
    let mut plan = Plan::new(file, &given, target, &names)?;
    if args.all_stages {
        plan.need_all();
    }
    let id = store.new_id()?;
    // held to the end: the secrets in its directory are removed by the next removal after a kill
    let held = run.lock_supervisor(&id)?;
    let private = run.container_dir(&id);
    let pull =
        |name: &str, platform: Option<&str>| (caller.pull)(images.get(name).map_or(name, String::as_str), platform);
    let created = now()?;
    let build = Build {
        store,
        run,
        pull: &pull,
        runtime: caller.runtime,
        plan: &plan,
        given: &given,
        options: &options,
        context: &context,
        contexts: &contexts,
        report: &report,
        cancel: &cancel,
        jobs: Jobs::new(args.jobs),
        private,
        now: created.parse::<jiff::Timestamp>().context("time")?.as_second(),
        created,
        shared: Mutex::default(),
        changed: Condvar::new(),
    };
    let image = build.whole();
    let removed = build.run.remove_files(&id);
    drop(held);
    let image = image?;
    removed?;
    build.warn_of_unused();
    let keys = std::mem::take(&mut build.state().keys);
    Ok(Built { image, keys })
}

/// Sets the time that nothing in the image is later than: of `--timestamp`, or of a build argument as BuildKit takes it.
fn give_epoch(args: &args::Build) -> Result<()> {
    let prefix = format!("{}=", epoch::VARIABLE);
    let of_argument = args.build_args.iter().rev().find_map(|text| text.strip_prefix(&prefix));
    let of_argument = of_argument.map(epoch::parse).transpose().code(Code::UsageValue, "--build-arg")?;
    args.timestamp.or(of_argument).into_iter().for_each(epoch::give);
    Ok(())
}

/// Opens the context: a directory, a tar on standard input, a repository or a tar elsewhere.
fn open_context(store: &Store, text: &str, files: &[PathBuf]) -> Result<Context> {
    if text == "-" {
        if files.contains(&PathBuf::from("-")) {
            bail!(coded!(BuildInvalid, "-f - and the context - both are standard input"));
        }
        return Context::standard_input(store);
    }
    if fetch::is_address(text) { fetch::context(store, text) } else { Context::dir(Path::new(text)) }
}

/// Opens the named contexts: directories, and names of images.
fn named_contexts(store: &Store, options: &Options) -> Result<(BTreeMap<String, Context>, BTreeMap<String, String>)> {
    let (mut contexts, mut images) = (BTreeMap::new(), BTreeMap::new());
    for (name, place) in &options.contexts {
        let of_layout = Some(place.as_str()).filter(|place| place.starts_with(LAYOUT));
        let image = place.strip_prefix("docker-image://").or_else(|| place.strip_prefix("container-image://"));
        match image.or(of_layout) {
            Some(image) => drop(images.insert(name.clone(), image.to_owned())),
            None => {
                let opened = open_context(store, place, &[]);
                contexts
                    .insert(name.clone(), opened.with_code(Code::UsageValue, || format!("--build-context {name}"))?);
            }
        }
    }
    Ok((contexts, images))
}

impl<'a> Build<'a> {
    /// Builds all needed stages side by side, then the image.
    fn whole(&'a self) -> Result<ImageRecord> {
        self.warn_of_names();
        let (done, end) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe")?;
        let made = std::thread::scope(|scope| {
            let watch = base::thread::start(scope, "signals", || self.cancel.watch(done.as_fd()))?;
            let (mut threads, mut failed) = (Vec::new(), None);
            for &stage in &self.plan.needed {
                match base::thread::start(scope, "stage", move || self.stage(stage)) {
                    Ok(thread) => threads.push(thread),
                    Err(err) => {
                        self.end_stage(stage, None);
                        failed = Some(err);
                    }
                }
            }
            for thread in threads {
                let done =
                    thread.join().unwrap_or_else(|_| Err(anyhow!(coded!(BuildInvalid, "a stage failed unexpectedly"))));
                // the first failure is the cause of the others
                if let Err(err) = done
                    && failed.as_ref().is_none_or(|before: &anyhow::Error| before.is::<Ended>())
                {
                    failed = Some(err);
                }
            }
            drop(end);
            let watched =
                watch.join().unwrap_or_else(|_| Err(anyhow!(coded!(BuildInvalid, "the watch of signals failed"))));
            failed.map_or(watched, Err)
        });
        if let Some(signal) = self.cancel.signal() {
            bail!(coded!(RunSignal, "interrupted by signal {signal}"));
        }
        made?;
        let made = self.wait_for(self.plan.target)?;
        let image = image::finish(self, &made, &self.options.names)?;
        if let Some(output) = &self.options.output {
            image::output(self, &made, &image, output)?;
        }
        Ok(image)
    }

    /// Builds a stage, and tells those that wait for it.
    fn stage(&'a self, stage: usize) -> Result<()> {
        let made = StageRun::run(self, stage);
        let (made, result) = match made {
            Ok(made) => (Some(Arc::new(made)), Ok(())),
            Err(err) => (None, Err(err)),
        };
        self.end_stage(stage, made);
        result
    }

    /// Tells those that wait for a stage of its end; without a result the whole build ends.
    fn end_stage(&self, stage: usize, made: Option<Arc<Made>>) {
        if made.is_none() {
            self.cancel.end(-1);
        }
        self.state().made.insert(stage, made);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a stage. One that is in no plan, because only the trigger of a base names it, is built here.
    ///
    /// # Errors
    /// It failed.
    fn wait_for(&'a self, stage: usize) -> Result<Arc<Made>> {
        let is_late = !self.plan.needed.contains(&stage) && self.state().late.insert(stage);
        if is_late {
            self.stage(stage)?;
        }
        let mut state = self.state();
        loop {
            match state.made.get(&stage) {
                Some(Some(made)) => return Ok(made.clone()),
                Some(None) => return Err(Ended.into()),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Returns what a stage begins with.
    fn base(&'a self, stage: &Stage) -> Result<Made> {
        match &stage.base {
            Base::Scratch => {
                let platform = stage.platform.as_deref().map(Platform::parse).transpose()?;
                Made::scratch(platform.as_ref().unwrap_or(&self.options.platform))
            }
            Base::Stage(stage) => Ok((*self.wait_for(*stage)?).clone()),
            Base::Image(name) => {
                if self.contexts.contains_key(&name.to_ascii_lowercase()) {
                    bail!(coded!(BuildInvalid, "FROM {name:?}: this context is a directory and no image"));
                }
                Ok((*self.image(name, stage.platform.as_deref())?).clone())
            }
        }
    }

    /// Returns an image, pulled once, whose layers are unpacked.
    fn image(&self, name: &str, platform: Option<&str>) -> Result<Arc<Made>> {
        let key = (name.to_owned(), platform.map(str::to_owned));
        // under the lock, because two stages with the same base would pull it twice
        let mut state = self.state();
        if let Some(made) = state.images.get(&key) {
            return Ok(made.clone());
        }
        let image = (self.pull)(name, platform)?;
        self.store.unpack(&image.layers, &|_, _| {})?;
        let mut config = crate::config::edit::Edit::new(&self.store.read_blob(&image.id)?)?;
        if config.strings("Env").is_empty() {
            config.set("Env", serde_json::json!([made::PATH]))?;
        }
        let of_base = image.layers.len();
        let made = Arc::new(Made { layers: image.layers, config, of_base, base: Some((image.id, name.to_owned())) });
        state.images.insert(key, made.clone());
        Ok(made)
    }

    /// Returns the source of files that a name of no stage means.
    fn named(&'a self, name: &str) -> Result<Named<'a>> {
        if let Some(context) = self.contexts.get(&name.to_ascii_lowercase()) {
            return Ok(Named::Context(context));
        }
        Ok(Named::Made(self.image(name, None)?, format!("image {name}")))
    }

    /// Returns the main context.
    fn context(&self) -> &'a Context {
        self.context
    }

    /// Opens the tree of these layers.
    fn view(&self, layers: &[Layer]) -> Result<Box<dyn View>> {
        // those of a cache from elsewhere are blobs so far
        self.store.unpack(layers, &|_, _| {})?;
        self.store.driver().view(&chain_ids(layers.iter().map(|layer| &layer.diff_id)))
    }

    /// Returns what mounts need of the build.
    fn shared(&self) -> Shared<'_> {
        Shared { private: &self.private, secrets: &self.options.secrets, agents: &self.options.agents }
    }

    /// Returns the path of the runtime.
    fn runtime(&self) -> Result<PathBuf> {
        runtime::find(self.runtime)
    }

    /// Notes the key of a step.
    fn use_key(&self, key: &Digest) {
        self.state().keys.push(key.clone());
    }

    /// Notes arguments that a stage has used.
    fn use_args(&self, used: &BTreeSet<String>) {
        self.state().used.extend(used.iter().cloned());
    }

    /// Warns of names that several stages have, as BuildKit does; Podman takes them, too.
    fn warn_of_names(&self) {
        for (name, place) in self.plan.repeated_names() {
            let text = "a stage before has this name, too: the last one before a use is meant";
            self.report.warn(&format!("{place}: {name:?}: {text}"));
        }
    }

    /// Warns of arguments that no stage has declared.
    fn warn_of_unused(&self) {
        let state = self.state();
        let known: Vec<&str> = self.given.proxies().map(|(name, _)| name).chain([epoch::VARIABLE]).collect();
        let is_used =
            |name: &str| state.used.contains(name) || self.plan.globals.used.contains(name) || known.contains(&name);
        let unused: Vec<&str> = self.given.args.keys().map(String::as_str).filter(|name| !is_used(name)).collect();
        if !unused.is_empty() {
            self.report.warn(&format!("--build-arg: no ARG declares {}", unused.join(", ")));
        }
    }
}

/// The error of a stage that needs one that failed.
#[derive(Debug)]
struct Ended;

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a stage that it needs failed")
    }
}

impl std::error::Error for Ended {}
