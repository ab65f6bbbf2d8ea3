//! `RUN`, `COPY`, `ADD` and `WORKDIR` of a stage: their keys for the cache, and what makes their layers.

use base::coded;
use base::error::{Code, Coding as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::chmod::{self, Chmod};
use super::context::Context;
use super::copy::{Content, Extra, Job};
use super::mounts::{self, Mounts, Shared};
use super::options::{HOST_NETWORK, INSECURE};
use super::source::{Found, Tree};
use super::stage::{Named, StageRun, is_root};
use super::{command, fetch};
use crate::config::network::Mode;
use crate::containerfile::ignore::Ignore;
use crate::containerfile::mount::{MountType, RunMount};
use crate::containerfile::{Command, CopyArgs, Run};
use crate::driver::View;
use crate::model::digest::Digest;

/// Version of the keys: a change of what an instruction does makes another one.
const KEYS: u32 = 1;

/// Directory of the script of a here-document.
const SCRIPTS: &str = "/dev/pipes";

/// An open tree of files, and what keeps it open.
struct Opened<'a> {
    named: Named<'a>,
    _view: Option<Box<dyn View>>,
    root: Option<OwnedFd>,
    name: String,
}

impl Opened<'_> {
    /// Returns the tree.
    fn tree(&self) -> Result<Tree<'_>> {
        Ok(match &self.named {
            Named::Context(context) => Tree { root: context.root(), ignore: Some(&context.ignore), name: &self.name },
            Named::Made(..) => {
                let root = self.root.as_ref().code(Code::FdInvalid, "the tree is not open")?;
                Tree { root: root.as_fd(), ignore: None, name: &self.name }
            }
        })
    }
}

impl<'a> StageRun<'a> {
    /// Opens what a name means; without one, the context of the build.
    fn open(&self, from: Option<&str>) -> Result<Opened<'a>> {
        let named = match from {
            Some(name) => self.named(name).with_code(Code::UsageValue, || format!("--from={name:?}"))?,
            None => Named::Context(self.build.context()),
        };
        let (view, name) = match &named {
            Named::Context(_) => {
                (None, from.map_or_else(|| "the context".to_owned(), |name| format!("context {name}")))
            }
            Named::Made(made, name) => (Some(self.build.view(&made.layers)?), name.clone()),
        };
        let root = view.as_ref().map(|view| view.root()).transpose()?;
        Ok(Opened { named, _view: view, root, name })
    }

    /// Does `COPY` or `ADD`.
    ///
    /// # Errors
    /// A source is missing or cannot be read, the destination does not fit.
    pub(super) fn copy(&mut self, args: &CopyArgs, name: &str, text: &str) -> Result<()> {
        let is_add = name == "ADD";
        let from = args.from.as_deref().map(|from| self.word(from)).transpose()?;
        let opened = self.open(from.as_deref())?;
        let tree = opened.tree()?;
        let view = self.view()?;
        let lower = view.root()?;
        let sources = args.sources.iter().map(|source| self.word(source)).collect::<Result<Vec<_>>>()?;
        let destination = self.absolute(&self.word(&args.destination)?)?;
        let of_context = matches!(opened.named, Named::Context(_));
        let mut job = Job {
            lower: Some(lower.as_fd()).filter(|_| !args.link),
            destination,
            tree: Some(tree),
            found: Vec::new(),
            extras: self.documents(args)?,
            owner: self.owner(args, lower.as_fd(), of_context)?,
            chmod: args
                .chmod
                .as_deref()
                .map(|mode| self.word(mode).and_then(|mode| Chmod::parse(&mode)))
                .transpose()
                .code(Code::UsageValue, "--chmod")?,
            parents: args.parents,
            exclude: self.excludes(args)?,
            unpack: is_add && args.unpack != Some(false),
            unpack_extras: args.unpack == Some(true),
            now: self.build.now,
            limits: self.build.store.limits(),
        };
        let _held = self.gather(&mut job, &tree, &sources, Some(args).filter(|_| is_add))?;
        let many = job.found.len() + job.extras.len() > 1 && sources.len() + args.heredocs.len() > 1;
        ensure!(
            !many || job.destination.ends_with(['/', '.']),
            coded!(BuildInvalid, "{name}: several sources need a destination that is a directory and ends with /")
        );
        let content = job.content()?;
        let below = if args.link { None } else { self.made.chain() };
        // with --link the layer is the same on any other
        let key = json!({"v": KEYS, "copy": content, "on": below, "to": job.destination, "link": args.link});
        let created_by = format!("/bin/sh -c #(nop) {text}");
        self.cached(&key, created_by, |stage| stage.store_layer(&job).map(Some))
    }

    /// Finds the sources, and for `ADD` fetches those from elsewhere; returns what keeps repositories open.
    fn gather(
        &self,
        job: &mut Job<'_>,
        tree: &Tree<'_>,
        sources: &[String],
        add: Option<&CopyArgs>,
    ) -> Result<Vec<Context>> {
        let add = add.map(|args| -> Result<CopyArgs> {
            let checksum = args.checksum.as_deref().map(|checksum| self.word(checksum)).transpose()?;
            let args = CopyArgs { checksum, ..args.clone() };
            fetch::check_checksum(&args, sources)?;
            Ok(args)
        });
        let add = add.transpose()?;
        let mut held = Vec::new();
        for source in sources {
            let Some(args) = add.as_ref().filter(|_| fetch::is_address(source)) else {
                job.found.extend(tree.find(source, job.parents)?);
                continue;
            };
            match fetch::fetch(self.build, source, args).with_context(|| format!("{source:?}"))? {
                fetch::Fetched::File(extra) => job.extras.push(extra),
                fetch::Fetched::Tree(context) => held.push(context),
            }
        }
        for context in &held {
            let all = Tree { root: context.root(), ignore: None, name: "the repository" };
            job.found.extend(all.find("/", false)?);
        }
        // patterns with --parents may match nothing, as with BuildKit
        if let Some(first) = sources.first().filter(|_| job.found.is_empty() && job.extras.is_empty() && !job.parents) {
            bail!(coded!(FileMissing, "{}", tree.missing(first)));
        }
        Ok(held)
    }

    /// Returns the here-documents as files.
    fn documents(&self, args: &CopyArgs) -> Result<Vec<Extra>> {
        let document = |doc: &crate::containerfile::Heredoc| -> Result<Extra> {
            let text = doc.text();
            let text = if doc.expand { self.expand_document(&text)? } else { text };
            Ok(Extra { name: doc.name.clone(), content: Content::Bytes(text.into_bytes()), mode: 0o644, mtime: None })
        };
        args.heredocs.iter().map(document).collect()
    }

    /// Expands the variables of a here-document, in which quotes are characters.
    fn expand_document(&self, text: &str) -> Result<String> {
        let escape = self.build.plan.escape;
        let mut quoted = String::with_capacity(text.len());
        for letter in text.chars() {
            if letter == '"' || letter == '\'' {
                quoted.push(escape);
            }
            quoted.push(letter);
        }
        self.word(&quoted)
    }

    /// Returns the owner of what is copied: the context's files belong to root.
    fn owner(&self, args: &CopyArgs, lower: BorrowedFd<'_>, of_context: bool) -> Result<Option<(u32, u32)>> {
        let Some(text) = &args.chown else { return Ok(Some((0, 0)).filter(|_| of_context)) };
        chmod::owner(&self.word(text)?, lower).map(Some)
    }

    fn excludes(&self, args: &CopyArgs) -> Result<Ignore> {
        let mut ignore = Ignore::default();
        for text in &args.exclude {
            let rule = self.word(text)?;
            ignore.add(&rule).with_code(Code::UsageValue, || format!("--exclude={text:?}"))?;
        }
        Ok(ignore)
    }

    /// Creates a directory that is missing.
    ///
    /// # Errors
    /// A file is in its place.
    pub(super) fn make_directory(&mut self, dir: &str, created_by: String) -> Result<()> {
        let view = self.view()?;
        let lower = view.root()?;
        let there = is_root(dir)
            || crate::container::files::open_in(lower.as_fd(), std::path::Path::new(dir.trim_start_matches('/')))
                .is_ok();
        let job = Job {
            lower: Some(lower.as_fd()),
            destination: format!("{dir}/"),
            tree: None,
            found: Vec::new(),
            extras: Vec::new(),
            owner: Some((0, 0)),
            chmod: None,
            parents: false,
            exclude: Ignore::default(),
            unpack: false,
            unpack_extras: false,
            now: self.build.now,
            limits: self.build.store.limits(),
        };
        let key = json!({"v": KEYS, "workdir": dir, "on": self.made.chain()});
        self.cached(&key, created_by, |stage| if there { Ok(None) } else { stage.store_layer(&job).map(Some) })
    }

    /// Does `RUN`.
    ///
    /// # Errors
    /// The command cannot be started or fails.
    pub(super) fn run_command(&mut self, run: &Run) -> Result<()> {
        let (words, script) = self.command_line(run)?;
        let network = self.network(run)?;
        let insecure = self.is_insecure(run)?;
        let env = self.environment();
        let mut keys = Vec::new();
        let all = run.mounts.iter().map(|mount| {
            let expanded = mount.expanded(&|text| self.word(text));
            expanded.with_code(Code::UsageValue, || format!("--mount={:?}", mount.text))
        });
        let all = all.collect::<Result<Vec<RunMount>>>()?;
        for mount in &all {
            let (target, files) = (self.target(mount)?, self.mounted(mount)?);
            let content = files.as_ref().map(|files| files.content(self)).transpose()?;
            keys.push(mounts::key(mount, target.as_deref(), content.as_ref()));
        }
        let user = self.made.config.text("User").to_owned();
        let workdir = self.directory()?;
        let mut key = json!({"v": KEYS, "run": words, "on": self.made.chain(), "env": env, "user": user, "dir": workdir,
            "mounts": keys, "network": network.to_string(), "script": script, "host": self.build.options.of_commands()});
        if insecure {
            key["insecure"] = json!(true);
        }
        let created_by = self.created_by(&words);
        self.cached(&key, created_by, |stage| {
            let mut mounts = Mounts::default();
            mounts.volumes.extend(stage.build.options.volumes.iter().cloned());
            let shared = stage.build.shared();
            if let Some(script) = &script {
                mounts.script(shared, script.as_bytes(), &words.first().cloned().unwrap_or_default())?;
            }
            for mount in &all {
                stage
                    .mount(&mut mounts, shared, mount)
                    .with_code(Code::UsageValue, || format!("--mount={}", mount.text))?;
            }
            let proxies = stage.build.given.proxies().map(|(name, value)| format!("{name}={value}"));
            let job = command::Job {
                store: stage.build.store,
                run: &stage.build.run,
                runtime: stage.build.runtime()?,
                image: stage.made.base.as_ref().map_or_else(|| Digest::of(b""), |(id, _)| id.clone()),
                layers: &stage.made.layers.clone(),
                command: words.clone(),
                env: [proxies.collect(), env.clone(), std::mem::take(&mut mounts.env)].concat(),
                user: user.clone(),
                workdir: workdir.clone(),
                network: network.clone(),
                settings: stage.build.options.settings_of(insecure),
                mounts: &mut mounts,
                report: stage.build.report,
                tag: &stage.tag.clone(),
                cancel: stage.build.cancel,
            };
            let _place = stage.build.jobs.take();
            stage.build.cancel.check()?;
            job.run()
        })
    }

    /// Returns whether a command asks for all privileges.
    ///
    /// # Errors
    /// The caller does not allow them.
    fn is_insecure(&self, run: &Run) -> Result<bool> {
        match run.security.as_deref() {
            None | Some("sandbox") => Ok(false),
            Some("insecure") if self.build.options.allows(INSECURE) => Ok(true),
            Some("insecure") => bail!(coded!(
                BuildInvalid,
                "--security=insecure: needs --allow {INSECURE} of the build, because privileges are the caller's to give"
            )),
            Some(other) => bail!(coded!(BuildInvalid, "--security={other:?}: is neither sandbox nor insecure")),
        }
    }

    /// Returns the words of a command, and the script of a here-document that has its own interpreter.
    fn command_line(&self, run: &Run) -> Result<(Vec<String>, Option<String>)> {
        let text = match &run.command {
            Command::Exec(words) => return Ok((words.clone(), None)),
            Command::Shell(text) => text,
        };
        let shell = self.shell();
        ensure!(!shell.is_empty(), command::nothing());
        let of_shell = |text: String| [shell.clone(), vec![text]].concat();
        let (Some(doc), 1) = (run.heredocs.first(), run.heredocs.len()) else {
            let mut whole = text.clone();
            for doc in &run.heredocs {
                whole.push_str(&format!("\n{}{}", doc.content, doc.name));
            }
            return Ok((of_shell(whole), None));
        };
        let alone = text.trim_start().starts_with("<<") && !text.trim().contains(char::is_whitespace);
        match (alone, doc.text()) {
            (true, script) if script.starts_with("#!") => Ok((vec![format!("{SCRIPTS}/{}", doc.name)], Some(script))),
            (true, script) => Ok((of_shell(script), None)),
            (false, _) => Ok((of_shell(format!("{text}\n{}{}", doc.content, doc.name)), None)),
        }
    }

    /// Returns the network of a command: a stage may give up one and not take the host's.
    fn network(&self, run: &Run) -> Result<Mode> {
        let of_build = &self.build.options.network;
        Ok(match run.network.as_deref() {
            None | Some("default") => of_build.clone(),
            Some("none") => Mode::None,
            Some("host") if *of_build == Mode::Host || self.build.options.allows(HOST_NETWORK) => Mode::Host,
            Some("host") => bail!(coded!(
                BuildInvalid,
                "--network=host: needs --network=host of the build, or --allow {HOST_NETWORK}, because the host's network is the caller's to give"
            )),
            Some(other) => bail!(coded!(BuildInvalid, "--network={other:?}: is not default, none or host")),
        })
    }

    /// Returns the variables of a command: the image's, and arguments that it has not.
    fn environment(&self) -> Vec<String> {
        let mut env = self.made.config.strings("Env");
        for (name, value) in self.scope.values() {
            if super::scope::of_env(&env, name).is_none() {
                env.push(format!("{name}={value}"));
            }
        }
        env
    }

    /// Returns the entry of the history for a command, with the arguments that it depends on, as Docker writes it.
    fn created_by(&self, words: &[String]) -> String {
        let env = self.made.config.strings("Env");
        let args: Vec<String> = self
            .scope
            .values()
            .filter(|(name, _)| super::scope::of_env(&env, name).is_none())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let words = words.join(" ");
        if args.is_empty() { words } else { format!("|{} {} {words}", args.len(), args.join(" ")) }
    }

    /// Returns where a mount is in the container.
    fn target(&self, mount: &RunMount) -> Result<Option<String>> {
        mount.target.as_deref().map(|target| self.absolute(target)).transpose()
    }

    /// Finds the files of a mount; `None` for a kind without files.
    fn mounted(&self, mount: &RunMount) -> Result<Option<Files<'a>>> {
        if !mounts::has_files(mount) {
            return Ok(None);
        }
        let opened = self.open(mount.from.as_deref())?;
        let source = mount.source.as_deref().unwrap_or("/");
        let mut tree = opened.tree()?;
        // a mount shows the directory as it is
        tree.ignore = None;
        let found = tree.find(source, false)?.pop().context("no source")?;
        Ok(Some(Files { opened, found }))
    }

    /// Adds a mount for a command.
    fn mount(&self, mounts: &mut Mounts, shared: Shared<'_>, mount: &RunMount) -> Result<()> {
        let target = self.target(mount)?;
        let must = || target.as_deref().context("needs target=PATH");
        match mount.kind {
            MountType::Bind => {
                let files = self.mounted(mount)?.context("no source")?;
                mounts.bind(self.build.store, &files.found, must()?, mount.writable == Some(true))
            }
            MountType::Cache => mounts.cache(self.build.store, mount, must()?, &|| {
                let Some(files) = self.mounted(mount)? else { return Ok(None) };
                let from = linux::path::openat(
                    files.found.dir.as_fd(),
                    &files.found.name,
                    libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW,
                    0,
                );
                Ok(Some(from.context("source")?))
            }),
            MountType::Tmpfs => mounts.tmpfs(mount, must()?),
            MountType::Secret => mounts.secret(shared, mount, target.as_deref()),
            MountType::Ssh => mounts.agent(shared, mount, target.as_deref()),
        }
    }
}

/// The files of a mount.
struct Files<'a> {
    opened: Opened<'a>,
    found: Found,
}

impl Files<'_> {
    /// Returns what the cache depends on: the layers of a stage or an image, or the content of the context's files.
    fn content(&self, stage: &StageRun<'_>) -> Result<Digest> {
        if let Named::Made(made, _) = &self.opened.named {
            let key: Value = json!([made.chain(), self.found.path]);
            return Ok(Digest::of(key.to_string().as_bytes()));
        }
        let tree = self.opened.tree()?;
        let text = self.found.path.to_str().context("the path of a mount is not UTF-8")?;
        let job = Job {
            lower: None,
            destination: "/".to_owned(),
            tree: Some(Tree { ignore: None, ..tree }),
            found: Tree { ignore: None, ..tree }.find(if text.is_empty() { "/" } else { text }, false)?,
            extras: Vec::new(),
            owner: None,
            chmod: None,
            parents: false,
            exclude: Ignore::default(),
            unpack: false,
            unpack_extras: false,
            now: 0,
            limits: stage.build.store.limits(),
        };
        job.content()
    }
}
