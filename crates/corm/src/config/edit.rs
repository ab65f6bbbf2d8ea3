//! Edits of an image configuration as a JSON document, so that unknown keys are kept.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use serde_json::{Map, Value, json};

use super::overrides::Overrides;
use super::process;
use super::words::words;
use crate::cli::args;
use crate::model::digest::Digest;
use base::users;

/// An entry of an image's history.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Time of creation, RFC 3339.
    pub created: String,
    /// Command that created the layer.
    pub created_by: String,
    /// Author of the change.
    pub author: Option<String>,
    /// Comment.
    pub comment: Option<String>,
    /// Whether the step changed the configuration only.
    pub empty_layer: bool,
}

/// A configuration that is being edited.
#[derive(Debug, Clone)]
pub struct Edit(Map<String, Value>);

impl Edit {
    /// Parses a stored configuration.
    ///
    /// # Errors
    /// The bytes are no JSON object.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        match serde_json::from_slice(bytes).context("image configuration")? {
            Value::Object(map) => Ok(Self(map)),
            _ => bail!(coded!(UsageValue, "image configuration: is no object")),
        }
    }

    /// Returns the bytes to store: with sorted keys, so that equal configurations have equal digests.
    ///
    /// # Errors
    /// None in practice.
    pub fn finish(self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Value::Object(self.0))?)
    }

    fn child<'a>(map: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Map<String, Value>> {
        let place = map.entry(name).or_insert(Value::Null);
        if place.is_null() {
            *place = json!({});
        }
        place.as_object_mut().with_context(|| format!("image configuration: {name} is no object"))
    }

    fn list<'a>(map: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Vec<Value>> {
        let place = map.entry(name).or_insert(Value::Null);
        if place.is_null() {
            *place = json!([]);
        }
        place.as_array_mut().with_context(|| format!("image configuration: {name} is no list"))
    }

    fn config(&mut self) -> Result<&mut Map<String, Value>> {
        Self::child(&mut self.0, "config")
    }

    /// Returns a value of the `config` object.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get("config")?.get(name).filter(|value| !value.is_null())
    }

    /// Returns a list of strings of the `config` object; an absent one is empty.
    pub fn strings(&self, name: &str) -> Vec<String> {
        let list = self.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    }

    /// Returns a text of the `config` object; an absent one is empty.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Removes a value of the `config` object.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.get_mut("config")?.as_object_mut()?.remove(name)
    }

    /// Sets a value beside the `config` object.
    pub fn set_top(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Returns a value beside the `config` object.
    pub fn top(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Sets a value of the `config` object.
    ///
    /// # Errors
    /// `config` is no object.
    pub fn set(&mut self, name: &str, value: Value) -> Result<()> {
        self.config()?.insert(name.to_owned(), value);
        Ok(())
    }

    /// Sets a label.
    ///
    /// # Errors
    /// As [`Edit::set`].
    pub fn label(&mut self, key: &str, value: &str) -> Result<()> {
        Self::child(self.config()?, "Labels")?.insert(key.to_owned(), json!(value));
        Ok(())
    }

    /// Sets an environment variable `K=V`.
    ///
    /// # Errors
    /// As [`Edit::set`].
    pub fn env(&mut self, variable: &str) -> Result<()> {
        let list = Self::list(self.config()?, "Env")?;
        let mut env: Vec<String> = list.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect();
        process::set(&mut env, variable);
        *list = env.into_iter().map(Value::from).collect();
        Ok(())
    }

    /// Appends a layer's DiffID to `rootfs`.
    ///
    /// # Errors
    /// `rootfs` has the wrong form.
    pub fn push_layer(&mut self, diff_id: &Digest) -> Result<()> {
        let rootfs = Self::child(&mut self.0, "rootfs")?;
        rootfs.entry("type").or_insert(json!("layers"));
        Self::list(rootfs, "diff_ids")?.push(json!(diff_id));
        Ok(())
    }

    /// Appends a history entry, and sets the image's `created` and `author` from it.
    ///
    /// # Errors
    /// `history` is no list.
    pub fn push_history(&mut self, line: &History) -> Result<()> {
        let mut entry = json!({"created": line.created, "created_by": line.created_by});
        for (key, value) in [("author", &line.author), ("comment", &line.comment)] {
            if let Some(value) = value {
                entry[key] = json!(value);
            }
        }
        if line.empty_layer {
            entry["empty_layer"] = json!(true);
        }
        Self::list(&mut self.0, "history")?.push(entry);
        self.0.insert("created".into(), json!(line.created));
        if let Some(author) = &line.author {
            self.0.insert("author".into(), json!(author));
        }
        Ok(())
    }

    /// Applies what the caller of a container set, as a commit of Docker and Podman keeps it.
    ///
    /// # Errors
    /// As [`Edit::set`].
    pub fn apply_overrides(&mut self, given: &Overrides) -> Result<()> {
        if let Some(entrypoint) = &given.entrypoint {
            self.set("Entrypoint", json!(entrypoint))?;
            self.config()?.remove("Cmd");
        }
        if !given.command.is_empty() {
            self.set("Cmd", json!(given.command))?;
        }
        given.env.iter().try_for_each(|variable| self.env(variable))?;
        if let Some(user) = &given.user {
            self.set("User", json!(user))?;
        }
        if let Some(dir) = &given.workdir {
            self.set("WorkingDir", json!(process::working_dir(dir)?))?;
        }
        given.labels.iter().try_for_each(|(key, value)| self.label(key, value))
    }

    /// Applies an instruction whose value is expanded, as [`Edit::change`] does.
    ///
    /// # Errors
    /// As [`Edit::change`].
    pub fn apply_instruction(&mut self, name: &str, value: &str) -> Result<()> {
        self.instruction(name, value)
    }

    /// Applies an instruction of a Dockerfile, as `commit --change` of Docker and Podman takes it.
    ///
    /// # Errors
    /// An unknown instruction, or a value that is invalid for it.
    pub fn change(&mut self, text: &str) -> Result<()> {
        let context = || format!("--change {text:?}");
        let (name, value) = text
            .trim()
            .split_once(char::is_whitespace)
            .with_context(|| format!("{}: not of the form INSTRUCTION VALUE", context()))?;
        self.instruction(&name.to_ascii_uppercase(), value.trim()).with_context(context)
    }

    fn instruction(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "CMD" => self.set("Cmd", json!(command_line(value)?)),
            "ENTRYPOINT" => self.set("Entrypoint", json!(command_line(value)?)),
            "ENV" => pairs(value)?.iter().try_for_each(|(key, value)| self.env(&format!("{key}={value}"))),
            "LABEL" => pairs(value)?.iter().try_for_each(|(key, value)| self.label(key, value)),
            "USER" => {
                users::parse_user(value)?;
                self.set("User", json!(value))
            }
            "WORKDIR" => {
                let before = self.config()?.get("WorkingDir").and_then(Value::as_str).unwrap_or_default().to_owned();
                let dir = std::path::Path::new("/").join(before).join(value);
                let dir = dir.to_str().context("not UTF-8")?;
                self.set("WorkingDir", json!(process::working_dir(dir)?))
            }
            "STOPSIGNAL" => {
                base::signal::parse(value)?;
                self.set("StopSignal", json!(value))
            }
            "EXPOSE" => self.add_keys("ExposedPorts", &ports(value)?),
            "VOLUME" => {
                let volumes = words(value)?;
                volumes.iter().try_for_each(|volume| super::volume::of_image(volume).map(drop))?;
                self.add_keys("Volumes", &volumes)
            }
            "ONBUILD" => {
                Self::list(self.config()?, "OnBuild")?.push(json!(value));
                Ok(())
            }
            _ => bail!(coded!(
                UsageValue,
                "{name:?}: not one of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR"
            )),
        }
    }

    /// Adds keys to an object whose values are empty objects.
    ///
    /// # Errors
    /// The value of this name is no object.
    pub fn add_keys(&mut self, name: &str, keys: &[String]) -> Result<()> {
        let set = Self::child(self.config()?, name)?;
        set.extend(keys.iter().map(|key| (key.clone(), json!({}))));
        Ok(())
    }

    /// Applies the flags of `corm config`.
    ///
    /// # Errors
    /// A value that is invalid for a container.
    pub fn apply(&mut self, wanted: &args::Config) -> Result<()> {
        if let Some(text) = &wanted.entrypoint {
            self.set("Entrypoint", json!(words(text).code(Code::UsageValue, "--entrypoint")?))?;
            // a new entrypoint with the old arguments is seldom intended; other tools drop them too
            if wanted.cmd.is_none() {
                self.config()?.remove("Cmd");
            }
        }
        if let Some(text) = &wanted.cmd {
            self.set("Cmd", json!(words(text).code(Code::UsageValue, "--cmd")?))?;
        }
        for variable in &wanted.env {
            let named = variable.split_once('=').is_some_and(|(name, _)| !name.is_empty());
            ensure!(
                named && !variable.contains('\0'),
                coded!(UsageValue, "--env {variable:?}: not of the form NAME=VALUE")
            );
            self.env(variable)?;
        }
        if let Some(user) = &wanted.user {
            if !user.is_empty() {
                users::parse_user(user).code(Code::ProcessUser, "--user")?;
            }
            self.set("User", json!(user))?;
        }
        if let Some(dir) = &wanted.workdir {
            self.set("WorkingDir", json!(process::working_dir(dir).code(Code::UsageValue, "--workdir")?))?;
        }
        for label in &wanted.labels {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            ensure!(!key.is_empty(), coded!(UsageValue, "--label {label:?}: not of the form NAME=VALUE"));
            self.label(key, value)?;
        }
        Ok(())
    }
}

/// Parses the command line of a Dockerfile: a JSON list, or text for a shell.
fn command_line(text: &str) -> Result<Vec<String>> {
    if text.starts_with('[') {
        return words(text);
    }
    Ok(["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

/// Parses ports: `80`, `80/tcp 53/udp`.
///
/// # Errors
/// A word is no port.
pub fn ports(text: &str) -> Result<Vec<String>> {
    let port = |word: &str| -> Result<String> {
        let (number, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let known = ["tcp", "udp", "sctp"].contains(&protocol);
        ensure!(
            known && number.parse::<u16>().is_ok_and(|number| number > 0),
            coded!(UsageValue, "{word:?}: not a port")
        );
        Ok(format!("{number}/{protocol}"))
    };
    text.split_whitespace().map(port).collect()
}

/// Parses `K=V K2="V 2"`, or one pair as `K VALUE`, as Dockerfiles have them.
fn pairs(text: &str) -> Result<Vec<(String, String)>> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quote, mut escaped, mut inside) = (String::new(), None, false, false);
    for letter in text.chars() {
        match letter {
            _ if escaped => {
                word.push(letter);
                escaped = false;
            }
            '\\' if quote != Some('\'') => escaped = true,
            _ if quote == Some(letter) => quote = None,
            '"' | '\'' if quote.is_none() => quote = Some(letter),
            _ if letter.is_whitespace() && quote.is_none() => {
                if inside {
                    words.push(std::mem::take(&mut word));
                }
                inside = false;
                continue;
            }
            _ => word.push(letter),
        }
        inside = true;
    }
    ensure!(quote.is_none() && !escaped, coded!(UsageValue, "a quote or a backslash at the end"));
    if inside {
        words.push(word);
    }
    let named = |(key, value): (&str, &str)| -> Result<(String, String)> {
        ensure!(!key.is_empty() && !value.contains('\0'), coded!(UsageValue, "not of the form NAME=VALUE"));
        Ok((key.to_owned(), value.to_owned()))
    };
    if let Some((key, value)) = text.split_once(char::is_whitespace).filter(|(key, _)| !key.contains('=')) {
        return Ok(vec![named((key, value.trim()))?]);
    }
    words.iter().map(|word| named(word.split_once('=').context("not of the form NAME=VALUE")?)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[allow(clippy::needless_pass_by_value)] // callers write literals
    fn edited(before: Value, change: impl Fn(&mut Edit) -> Result<()>) -> Value {
        let mut edit = Edit::new(before.to_string().as_bytes()).unwrap();
        change(&mut edit).unwrap();
        serde_json::from_slice(&edit.finish().unwrap()).unwrap()
    }

    #[test]
    fn what_is_not_asked_for_stays() {
        let before = json!({"os": "linux", "x": 1, "config": {"Healthcheck": {"Test": ["a"]}, "Cmd": ["old"],
            "Env": ["A=1", "B=2"]}, "rootfs": {"type": "layers", "diff_ids": []}});
        let wanted = args::Config {
            cmd: Some(r#"["a b", "c"]"#.into()),
            env: vec!["A=3".into(), "C=4=5".into()],
            user: Some("web:adm".into()),
            workdir: Some("/w/".into()),
            labels: vec!["k=v=w".into(), "empty".into()],
            ..args::Config::default()
        };
        let after = edited(before, |edit| edit.apply(&wanted));
        assert_eq!(
            after["config"],
            json!({"Healthcheck": {"Test": ["a"]}, "Cmd": ["a b", "c"],
            "Env": ["A=3", "B=2", "C=4=5"], "User": "web:adm", "WorkingDir": "/w", "Labels": {"k": "v=w", "empty": ""}})
        );
        assert_eq!(after["x"], 1);
    }

    #[test]
    fn a_new_entrypoint_drops_the_old_arguments() {
        let before = json!({"config": {"Entrypoint": ["/a"], "Cmd": ["x"]}});
        let wanted = args::Config { entrypoint: Some("/b -v  -w".into()), ..args::Config::default() };
        assert_eq!(edited(before, |edit| edit.apply(&wanted))["config"], json!({"Entrypoint": ["/b", "-v", "-w"]}));
    }

    #[test]
    fn layers_and_history_grow_together() {
        let line = History {
            created: "2020-01-01T00:00:00Z".into(),
            created_by: "sh -c x".into(),
            author: Some("me".into()),
            comment: None,
            empty_layer: false,
        };
        let after = edited(json!({"config": null}), |edit| {
            edit.push_layer(&Digest::of(b"a"))?;
            edit.push_history(&line)
        });
        assert_eq!(after["rootfs"], json!({"type": "layers", "diff_ids": [Digest::of(b"a")]}));
        assert_eq!(after["history"], json!([{"created": line.created, "created_by": "sh -c x", "author": "me"}]));
        assert_eq!((&after["created"], &after["author"]), (&json!(line.created), &json!("me")));
    }

    #[test]
    fn instructions_of_a_dockerfile_change_a_configuration() {
        let changes = [
            "CMD echo hi",
            "entrypoint [\"/e\", \"-x\"]",
            "ENV A=1 B=\"x y\"",
            "ENV C some text",
            "LABEL l=v",
            "EXPOSE 80 53/udp",
            "VOLUME /d",
            "USER web:adm",
            "WORKDIR /a",
            "WORKDIR b/../c",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN x",
        ];
        let after = edited(json!({}), |edit| changes.iter().try_for_each(|change| edit.change(change)));
        assert_eq!(
            after["config"],
            json!({
                "Cmd": ["/bin/sh", "-c", "echo hi"], "Entrypoint": ["/e", "-x"], "Env": ["A=1", "B=x y", "C=some text"],
                "Labels": {"l": "v"}, "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/d": {}},
                "User": "web:adm", "WorkingDir": "/a/c", "StopSignal": "SIGINT", "OnBuild": ["RUN x"],
            })
        );
        for bad in
            ["", "CMD", "RUN x", "ENV =x", "ENV \"A=1", "EXPOSE x", "VOLUME /proc", "STOPSIGNAL NOPE", "USER a b"]
        {
            assert!(Edit::new(b"{}").unwrap().change(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_values_are_told() {
        let bad = |wanted: args::Config| Edit::new(b"{}").unwrap().apply(&wanted).is_err();
        let default = args::Config::default;
        assert!(bad(args::Config { cmd: Some("[1]".into()), ..default() }));
        assert!(bad(args::Config { cmd: Some("[".into()), ..default() }));
        assert!(bad(args::Config { env: vec!["A".into()], ..default() }));
        assert!(bad(args::Config { user: Some("a b".into()), ..default() }));
        assert!(bad(args::Config { workdir: Some("a".into()), ..default() }));
        assert!(bad(args::Config { labels: vec!["=x".into()], ..default() }));
        assert!(Edit::new(b"[]").is_err() && Edit::new(b"{").is_err());
    }
}
