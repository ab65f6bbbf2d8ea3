//! The process of a container: arguments, environment, working directory, stop signal.
//!
//! Pure: from the image's configuration and the caller's flags to checked values.

use base::coded;
use base::error::{Code, Coding as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use oci_spec::image::Config;

use super::options::RunOptions;
use base::signal;

/// Default PATH, when neither image nor caller sets one.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variable by which systemd and others see that they are in a container.
const CONTAINER: &str = "container=corm";

/// Variables about proxies, which are also written in capitals.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];

/// Default stop signal.
const STOP_SIGNAL: &str = "SIGTERM";

/// Returns Entrypoint and Cmd; a command of the caller replaces Cmd, as in other tools. An entrypoint of one empty text is
/// none, as in Podman.
///
/// # Errors
/// No program to run, a NUL in an argument.
pub(super) fn args(image: &Config, options: &RunOptions) -> Result<Vec<String>> {
    let own = image.entrypoint().as_deref().filter(|words| *words != [""]).unwrap_or_default();
    let entrypoint = options.entrypoint.as_deref().unwrap_or(own);
    let cmd = match options.command.as_slice() {
        // the image's arguments are for its own entrypoint
        [] if options.entrypoint.is_none() => image.cmd().as_deref().unwrap_or_default(),
        command => command,
    };
    let mut args: Vec<String> = entrypoint.iter().chain(cmd).cloned().collect();
    if args.is_empty() {
        args.clone_from(&options.fallback);
    }
    match args.first() {
        None => bail!(coded!(UsageArguments, "the image names no program (no Entrypoint, no Cmd): give a command")),
        Some(program) => ensure!(!program.is_empty(), coded!(UsageValue, "the name of the program is empty")),
    }
    ensure!(
        !args.iter().any(|arg| arg.contains('\0')),
        coded!(UsageValue, "an argument of the program has a NUL in it")
    );
    Ok(args)
}

/// Returns the default variables, with `--env-host` those of corm, then the image's, then the caller's; the last value of
/// a name counts, at the position of the first. A variable of the image without a value is left out: an image must not
/// read corm's environment.
///
/// # Errors
/// A variable of the image has no name, or a NUL.
pub(super) fn env(image: &Config, options: &RunOptions, hostname: &str) -> Result<Vec<String>> {
    let mut env: Vec<String> = vec![PATH.to_owned()];
    if options.tty {
        env.push("TERM=xterm".to_owned());
    }
    env.extend([CONTAINER.to_owned(), format!("HOSTNAME={hostname}")]);
    let settings = &options.settings;
    if settings.env_host {
        let of_host =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        of_host.for_each(|(name, value)| set(&mut env, &format!("{name}={value}")));
    }
    if settings.proxies {
        PROXIES.iter().flat_map(|name| [(*name).to_owned(), name.to_ascii_uppercase()]).for_each(|name| {
            if let Ok(value) = std::env::var(&name) {
                set(&mut env, &format!("{name}={value}"));
            }
        });
    }
    let image = image.env().as_deref().unwrap_or_default();
    for variable in image {
        let named = !variable.is_empty() && !variable.starts_with('=');
        ensure!(
            named && !variable.contains('\0'),
            coded!(ImageInvalid, "config.Env of the image: {variable:?} is not of the form NAME=VALUE")
        );
    }
    image.iter().filter(|variable| variable.contains('=')).for_each(|variable| set(&mut env, variable));
    let is_unset = |variable: &String| {
        let name = variable.split_once('=').map_or(variable.as_str(), |(name, _)| name);
        settings.unset_all_env || settings.unset_env.iter().any(|unset| unset == name)
    };
    env.retain(|variable| !is_unset(variable));
    options.env.iter().for_each(|variable| set(&mut env, variable));
    Ok(env)
}

/// Sets a variable `K=V`, in place of an earlier value.
pub fn set(env: &mut Vec<String>, variable: &str) {
    let name = variable.split_once('=').map_or(variable, |(name, _)| name);
    let same = |other: &&mut String| other.split_once('=').is_some_and(|(other, _)| other == name);
    match env.iter_mut().find(same) {
        Some(place) => variable.clone_into(place),
        None => env.push(variable.to_owned()),
    }
}

/// Returns the working directory; `/` by default.
///
/// # Errors
/// The path is relative, or has `..`.
pub(super) fn cwd(image: &Config, options: &RunOptions) -> Result<PathBuf> {
    let (text, whose) = match (&options.workdir, image.working_dir()) {
        (Some(text), _) => (text.as_str(), "--workdir"),
        (None, Some(text)) if !text.is_empty() => (text.as_str(), "config.WorkingDir of the image"),
        _ => return Ok(PathBuf::from("/")),
    };
    working_dir(text).context(whose)
}

/// Checks a working directory and resolves `.` and `..` in it by the text, as Docker and Podman do; `..` of the root is
/// the root.
///
/// # Errors
/// The path is relative or has a NUL.
pub fn working_dir(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    ensure!(path.is_absolute(), coded!(UsageValue, "{text:?}: not an absolute path"));
    ensure!(!text.contains('\0'), coded!(UsageValue, "{text:?}: has a NUL"));
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            part => clean.push(part),
        }
    }
    Ok(clean)
}

/// Returns the signal that asks the program to stop.
///
/// # Errors
/// The image names an unknown signal.
pub fn stop_signal(image: &Config, given: Option<&str>) -> Result<String> {
    if let Some(given) = given {
        // checked with the flags
        return Ok(given.to_owned());
    }
    match image.stop_signal().as_deref().filter(|text| !text.is_empty()) {
        None => Ok(STOP_SIGNAL.to_owned()),
        Some(text) => {
            signal::parse(text).code(Code::ImageInvalid, "config.StopSignal of the image")?;
            Ok(text.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config::settings::Settings;
    use serde_json::{Value, json};

    fn image(config: Value) -> Config {
        serde_json::from_value(config).unwrap()
    }

    fn command(words: &[&str]) -> RunOptions {
        RunOptions { command: words.iter().map(|&word| word.to_owned()).collect(), ..RunOptions::default() }
    }

    #[test]
    fn a_command_stands_in_for_cmd_and_not_for_the_entrypoint() {
        let both = image(json!({"Entrypoint": ["/bin/e", "-x"], "Cmd": ["c d", "e"]}));
        let cmd = image(json!({"Cmd": ["sh"]}));
        for (image, given, want) in [
            (&both, &[][..], &["/bin/e", "-x", "c d", "e"][..]),
            (&both, &["one", "t w o"], &["/bin/e", "-x", "one", "t w o"]),
            (&cmd, &[], &["sh"]),
            (&cmd, &["ls", "-l"], &["ls", "-l"]),
        ] {
            assert_eq!(args(image, &command(given)).unwrap(), want);
        }
        let other = |given: &[&str]| RunOptions { entrypoint: Some(vec!["/o".into()]), ..command(given) };
        assert_eq!(args(&both, &other(&[])).unwrap(), ["/o"]);
        assert_eq!(args(&both, &other(&["x"])).unwrap(), ["/o", "x"]);
        assert!(args(&image(json!({})), &command(&[])).is_err());
        assert!(args(&image(json!({"Cmd": []})), &command(&[])).is_err());
        assert!(args(&image(json!({"Cmd": [""]})), &command(&[])).is_err());
        assert_eq!(args(&image(json!({"Entrypoint": [""], "Cmd": ["sh"]})), &command(&[])).unwrap(), ["sh"]);
        assert!(args(&image(json!({"Entrypoint": ["", "x"]})), &command(&[])).is_err());
        assert!(args(&cmd, &command(&["a\0b"])).is_err());
    }

    #[test]
    fn the_last_of_two_variables_counts() {
        let given = image(json!({"Env": ["A=1", "PATH=/x", "A=2=3", "E=", "L=a\nb"]}));
        let options = RunOptions { env: vec!["E=5".into(), "N=9".into()], tty: true, ..RunOptions::default() };
        let own = ["container=corm", "HOSTNAME=h"];
        let of = |image: &Config, options: &RunOptions| env(image, options, "h");
        assert_eq!(
            of(&given, &options).unwrap(),
            ["PATH=/x", "TERM=xterm", own[0], own[1], "A=2=3", "E=5", "L=a\nb", "N=9"]
        );
        assert_eq!(of(&image(json!({})), &RunOptions::default()).unwrap(), [PATH, own[0], own[1]]);
        assert_eq!(of(&image(json!({"Env": ["PATH"]})), &RunOptions::default()).unwrap(), [PATH, own[0], own[1]]);
        for bad in ["=1", "", "A\0=1", "="] {
            assert!(of(&image(json!({"Env": [bad]})), &RunOptions::default()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables_are_unset_unless_the_caller_sets_them() {
        let given = image(json!({"Env": ["A=1", "B=2"]}));
        let unset = |names: &[&str], all: bool| {
            let unset_env = names.iter().map(|&name| name.to_owned()).collect();
            let settings = Settings { unset_env, unset_all_env: all, ..Settings::default() };
            env(&given, &RunOptions { env: vec!["B=3".into()], settings, ..RunOptions::default() }, "h").unwrap()
        };
        assert_eq!(unset(&["A", "B", "PATH"], false), ["container=corm", "HOSTNAME=h", "B=3"]);
        assert_eq!(unset(&[], true), ["B=3"]);
    }

    #[test]
    fn a_working_directory_is_absolute_and_stays_below_the_root() {
        let wanted = |dir: &str| cwd(&image(json!({"WorkingDir": dir})), &RunOptions::default());
        assert_eq!(wanted("").unwrap(), Path::new("/"));
        assert_eq!(wanted("/a/./b//c/").unwrap(), Path::new("/a/b/c"));
        assert_eq!(wanted("/a/../tmp").unwrap(), Path::new("/tmp"));
        assert_eq!(wanted("/../x/..").unwrap(), Path::new("/"));
        for bad in ["a", "../x", "./a", "/a\0"] {
            assert!(wanted(bad).is_err(), "{bad:?}");
        }
        let options = RunOptions { workdir: Some("/w".into()), ..RunOptions::default() };
        assert_eq!(cwd(&image(json!({"WorkingDir": "/a"})), &options).unwrap(), Path::new("/w"));
    }

    #[test]
    fn the_stop_signal_is_one() {
        assert_eq!(stop_signal(&image(json!({})), None).unwrap(), "SIGTERM");
        assert_eq!(stop_signal(&image(json!({"StopSignal": "SIGRTMIN+3"})), None).unwrap(), "SIGRTMIN+3");
        assert_eq!(stop_signal(&image(json!({"StopSignal": "9"})), Some("USR1")).unwrap(), "USR1");
        for bad in ["SIGNOPE", "0", "65", "-1", "TERM\n"] {
            assert!(stop_signal(&image(json!({"StopSignal": bad})), None).is_err(), "{bad:?}");
        }
    }
}
