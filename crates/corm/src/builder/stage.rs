//! A stage: its instructions in order, each on what those before it have made.

use base::coded;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::Build;
use super::made::Made;
use super::plan::{Base, Stage};
use super::report::Tag;
use super::scope::{Scope, of_env};
use crate::build;
use crate::config::edit::{History, ports};
use crate::config::process;
use crate::containerfile::words::Lexer;
use crate::containerfile::{Command, Healthcheck, Instruction, Step, parse_trigger};
use crate::driver::View;
use crate::model::digest::Digest;
use crate::model::layer::Layer;
use crate::store::CacheEntry;

/// The shell without `SHELL`.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A stage that is being built.
pub struct StageRun<'a> {
    /// The build.
    pub build: &'a Build<'a>,
    /// Number of the stage.
    pub index: usize,
    /// The stage.
    pub stage: &'a Stage,
    /// What was made so far.
    pub made: Made,
    /// Arguments in scope.
    pub scope: Scope,
    /// Tag of the current step.
    pub tag: Tag,
}

impl<'a> StageRun<'a> {
    /// Builds a stage.
    ///
    /// # Errors
    /// Names the instruction that failed.
    pub fn run(build: &'a Build<'a>, index: usize) -> Result<Made> {
        let stage = build.plan.stages.get(index).context("no such stage")?;
        let total = stage.steps.len() + 1;
        let many = build.plan.needed.len() > 1;
        let number = index.to_string();
        let name = many.then(|| stage.name.as_deref().unwrap_or(&number));
        let tag = |at: usize| Tag::new(name, at, total);
        build.report.begin(&tag(1), &stage.from.statement.text);
        let place = || stage.from.place(&build.plan.file);
        let made = build.base(stage).with_context(place)?;
        let mut run = Self { build, index, stage, made, scope: Scope::default(), tag: tag(1) };
        run.triggers().with_context(place)?;
        for (at, step) in stage.steps.iter().enumerate() {
            build.cancel.check()?;
            run.tag = tag(at + 2);
            build.report.begin(&run.tag, &step.statement.text);
            run.step(step).with_context(|| step.place(&build.plan.file)).inspect_err(|_| run.keep_failed())?;
        }
        build.use_args(&run.scope.used);
        Ok(run.made)
    }

    /// Runs the triggers of the base image, which its own image has no more.
    fn triggers(&mut self) -> Result<()> {
        if matches!(self.stage.base, Base::Scratch) {
            return Ok(());
        }
        let triggers = self.made.config.strings("OnBuild");
        self.made.config.remove("OnBuild");
        for text in triggers {
            let step = parse_trigger("ONBUILD", &text)?;
            self.build.report.begin(&self.tag, &format!("ONBUILD {}", step.statement.text));
            self.step(&step).with_context(|| format!("ONBUILD {:?}", step.statement.text))?;
        }
        Ok(())
    }

    /// Keeps the state before a failed command as an image without a name, to look into it.
    fn keep_failed(&self) {
        if self.build.cancel.check().is_err() || self.made.layers.is_empty() {
            return;
        }
        let Ok(image) = super::image::put(self.build, &self.made, &[]) else { return };
        let id = image.id.hex().get(..12).unwrap_or_default();
        self.build.report.note(&format!("the state before it is image {id}: corm run --rm -it {id} sh"));
    }

    /// Does one instruction.
    fn step(&mut self, step: &Step) -> Result<()> {
        let text = &step.statement.text;
        match &step.instruction {
            Instruction::From { .. } => bail!(coded!(BuildInvalid, "FROM: begins a stage")),
            Instruction::Arg(pairs) => {
                for (name, default) in pairs {
                    let (name, default) =
                        (self.word(name)?, default.as_deref().map(|text| self.word(text)).transpose()?);
                    self.scope.declare(self.build.given, Some(&self.build.plan.globals), &name, default);
                }
                self.history(text.clone(), false)
            }
            Instruction::Run(run) => self.run_command(run),
            Instruction::Copy(args) => self.copy(args, "COPY", text),
            Instruction::Add(args) => self.copy(args, "ADD", text),
            Instruction::Workdir(dir) => self.workdir(dir),
            other => {
                let shown = self.configure(other, text)?;
                self.history(format!("/bin/sh -c #(nop) {shown}"), false)
            }
        }
    }

    /// Changes the configuration; returns the text for the history.
    fn configure(&mut self, instruction: &Instruction, text: &str) -> Result<String> {
        let named = |name: &str, value: &str| format!(" {name} {value}");
        Ok(match instruction {
            Instruction::Env(pairs) => {
                let pairs = self.pairs(pairs)?;
                for (name, value) in &pairs {
                    ensure!(!name.is_empty(), coded!(BuildInvalid, "ENV: a name is empty"));
                    self.made.config.env(&format!("{name}={value}"))?;
                }
                named("ENV", &shown(&pairs))
            }
            Instruction::Label(pairs) => {
                let pairs = self.pairs(pairs)?;
                pairs.iter().try_for_each(|(name, value)| self.made.config.label(name, value))?;
                named("LABEL", &shown(&pairs))
            }
            Instruction::Cmd(command) => {
                let words = self.command(command)?;
                self.made.config.set("Cmd", json!(words))?;
                named("CMD", &json!(words).to_string())
            }
            Instruction::Entrypoint(command) => {
                let words = self.command(command)?;
                self.made.config.set("Entrypoint", json!(words))?;
                // a command of the base is for its own entrypoint
                self.made.config.remove("Cmd");
                named("ENTRYPOINT", &json!(words).to_string())
            }
            Instruction::Shell(words) => {
                self.made.config.set("Shell", json!(words))?;
                named("SHELL", &json!(words).to_string())
            }
            Instruction::User(user) => self.instruction("USER", user)?,
            Instruction::StopSignal(signal) => self.instruction("STOPSIGNAL", signal)?,
            other => self.configure_more(other, text)?,
        })
    }

    /// Changes the rest of the configuration, as [`StageRun::configure`] does.
    fn configure_more(&mut self, instruction: &Instruction, text: &str) -> Result<String> {
        let named = |name: &str, value: &str| format!(" {name} {value}");
        Ok(match instruction {
            Instruction::Volume(list) => {
                let list = self.words(list)?;
                for path in &list {
                    crate::config::volume::of_image(path)?;
                }
                self.made.config.add_keys("Volumes", &list)?;
                named("VOLUME", &format!("[{}]", list.join(" ")))
            }
            Instruction::Expose(list) => {
                let list = super::expose::ranges(&self.words(list)?)?;
                self.made.config.add_keys("ExposedPorts", &ports(&list.join(" "))?)?;
                named("EXPOSE", &list.join(" "))
            }
            Instruction::Healthcheck(check) => {
                let value = self.healthcheck(check)?;
                self.made.config.set("Healthcheck", value)?;
                format!(" {text}")
            }
            Instruction::OnBuild(trigger) => {
                let mut list = self.made.config.strings("OnBuild");
                list.push(trigger.clone());
                self.made.config.set("OnBuild", json!(list))?;
                named("ONBUILD", trigger)
            }
            Instruction::Maintainer(name) => {
                let name = self.word(name)?;
                self.made.config.set_top("author", json!(name));
                named("MAINTAINER", &name)
            }
            _ => bail!(coded!(BuildInvalid, "{text:?}: is no instruction of a configuration")),
        })
    }

    /// Applies an instruction whose value is one text.
    fn instruction(&mut self, name: &str, value: &str) -> Result<String> {
        let value = self.word(value)?;
        self.made.config.apply_instruction(name, &value).with_context(|| name.to_owned())?;
        Ok(format!(" {name} {value}"))
    }

    /// Returns `Healthcheck` of the configuration.
    fn healthcheck(&self, check: &Healthcheck) -> Result<Value> {
        let test = match &check.command {
            None => vec!["NONE".to_owned()],
            Some(Command::Shell(text)) => vec!["CMD-SHELL".to_owned(), text.clone()],
            Some(Command::Exec(words)) => [&["CMD".to_owned()], words.as_slice()].concat(),
        };
        let mut value = json!({ "Test": test });
        for (time, key) in check.times.iter().zip(["Interval", "Timeout", "StartPeriod", "StartInterval"]) {
            if let Some(time) = time {
                value[key] = json!(u64::try_from(time.as_nanos())?);
            }
        }
        if let Some(retries) = check.retries {
            value["Retries"] = json!(retries);
        }
        Ok(value)
    }

    /// Returns the command line of `CMD` or `ENTRYPOINT`.
    fn command(&self, command: &Command) -> Result<Vec<String>> {
        Ok(match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => [self.shell(), vec![text.clone()]].concat(),
        })
    }

    /// Returns the shell with its flags.
    pub fn shell(&self) -> Vec<String> {
        let own = self.made.config.strings("Shell");
        if own.is_empty() { SHELL.map(str::to_owned).to_vec() } else { own }
    }

    /// Expands a text to one word.
    ///
    /// # Errors
    /// As [`Lexer::word`].
    pub fn word(&self, text: &str) -> Result<String> {
        let env = self.made.config.strings("Env");
        let lookup = |name: &str| of_env(&env, name).or_else(|| self.scope.get(name).map(str::to_owned));
        Lexer::new(self.build.plan.escape, &lookup).word(text).with_context(|| format!("{text:?}"))
    }

    /// Expands each text to words; empty ones are left out.
    fn words(&self, list: &[String]) -> Result<Vec<String>> {
        let env = self.made.config.strings("Env");
        let lookup = |name: &str| of_env(&env, name).or_else(|| self.scope.get(name).map(str::to_owned));
        let lexer = Lexer::new(self.build.plan.escape, &lookup);
        let words = list.iter().map(|text| lexer.words(text)).collect::<Result<Vec<_>>>()?;
        Ok(words.concat().into_iter().filter(|word| !word.is_empty()).collect())
    }

    fn pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>> {
        pairs.iter().map(|(name, value)| Ok((self.word(name)?, self.word(value)?))).collect()
    }

    /// Returns an absolute path; a relative one is below the working directory. Its end stays as written.
    ///
    /// # Errors
    /// The working directory of the image is relative.
    pub fn absolute(&self, text: &str) -> Result<String> {
        if text.starts_with('/') {
            return Ok(text.to_owned());
        }
        Ok(format!("{}/{text}", self.directory()?.trim_end_matches('/')))
    }

    /// Returns the working directory.
    ///
    /// # Errors
    /// That of the image is relative.
    pub fn directory(&self) -> Result<String> {
        let dir = match self.made.config.text("WorkingDir") {
            "" => "/",
            dir => dir,
        };
        let dir = process::working_dir(dir).context("config.WorkingDir")?;
        Ok(dir.to_str().context("config.WorkingDir is not UTF-8")?.to_owned())
    }

    /// Sets the working directory, which is created where it is missing.
    fn workdir(&mut self, dir: &str) -> Result<()> {
        let dir = self.absolute(&self.word(dir)?)?;
        let dir = process::working_dir(&dir)?;
        let dir = dir.to_str().context("WORKDIR: is not UTF-8")?;
        self.made.config.set("WorkingDir", json!(dir))?;
        let text = format!("/bin/sh -c #(nop) WORKDIR {dir}");
        self.make_directory(dir, text)
    }

    /// Opens the tree of the layers so far.
    ///
    /// # Errors
    /// It cannot be mounted.
    pub fn view(&self) -> Result<Box<dyn View>> {
        self.build.view(&self.made.layers)
    }

    /// Adds an entry to the history.
    fn history(&mut self, created_by: String, layer: bool) -> Result<()> {
        let line =
            History { created: self.build.created.clone(), created_by, empty_layer: !layer, ..History::default() };
        self.made.config.push_history(&line)
    }

    /// Takes the layer of a key from the cache, or makes it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn cached(
        &mut self,
        key: &Value,
        created_by: String,
        make: impl FnOnce(&mut Self) -> Result<Option<Layer>>,
    ) -> Result<()> {
        let begun = Instant::now();
        let key = Digest::of(key.to_string().as_bytes());
        let store = self.build.store;
        let found = if self.is_without_cache() { None } else { store.cached(&key) };
        let is_cached = found.is_some();
        let layer = match found {
            Some(entry) => entry.layers.last().filter(|_| entry.changed).cloned(),
            None => make(self)?,
        };
        if let Some(layer) = &layer {
            self.made.layers.push(layer.clone());
            self.made.config.push_layer(&layer.diff_id)?;
        }
        if !is_cached {
            // also applies a layer that was packed
            store.unpack(&self.made.layers, &|_, _| {})?;
            let (layers, changed) = (self.made.layers.clone(), layer.is_some());
            store.put_cached(
                &key,
                &CacheEntry { layers, changed, manifest: None, created: self.build.created.clone() },
            )?;
        }
        self.build.use_key(&key);
        self.build.report.end(&self.tag, is_cached, begun.elapsed());
        self.history(created_by, layer.is_some())
    }

    /// Returns whether this stage uses nothing of the cache.
    fn is_without_cache(&self) -> bool {
        let options = &self.build.options;
        let number = self.index.to_string();
        options.no_cache
            || options.no_cache_stages.iter().any(|stage| {
                *stage == number || self.stage.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(stage))
            })
    }

    /// Stores a layer that is composed of files.
    ///
    /// # Errors
    /// As [`super::copy::Job::compose`].
    pub fn store_layer(&self, job: &super::copy::Job<'_>) -> Result<Layer> {
        let (layer, _) = build::write_blob(self.build.store, |out| job.compose(out, false))?;
        Ok(layer)
    }

    /// Returns the source of files that a name means: a stage, a context or an image.
    ///
    /// # Errors
    /// No such image.
    pub fn named(&self, name: &str) -> Result<Named<'a>> {
        if let Some(stage) = self.build.plan.find(name, self.index) {
            return Ok(Named::Made(self.build.wait_for(stage)?, format!("stage {name}")));
        }
        self.build.named(name)
    }
}

/// Where files are copied or mounted from.
pub enum Named<'a> {
    /// A context of the caller.
    Context(&'a super::context::Context),
    /// The layers of a stage or an image.
    Made(Arc<Made>, String),
}

/// Formats pairs for the history.
fn shown(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// Returns whether a path is that of the root.
pub fn is_root(path: &str) -> bool {
    Path::new(path) == Path::new("/")
}
