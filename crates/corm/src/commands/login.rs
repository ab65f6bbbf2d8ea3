//! `corm login`, `corm logout`: credentials in the files that Podman, Docker and others read.

use anyhow::{Context as _, Result, bail};
use base::coded;
use base::error::{Code, Coding as _, describe};

use super::{Context, print, prompt, remote};
use crate::cli::args;
use crate::cli::args::LogLevel;
use crate::model::reference::login_key;
use crate::registry;
use crate::registry::{AuthFile, AuthSource, Credentials, Options};

/// Tests the credentials at the registry, and stores them.
///
/// # Errors
/// The registry refuses them, or they cannot be stored.
pub(super) fn run(context: &Context, args: &args::Login) -> Result<u8> {
    let options = remote::options_of_login(&args.remote)?;
    let key = key(args.registry.as_deref(), &options)?;
    let (registry, path) = key.split_once('/').unwrap_or((&key, ""));
    if args.get_login {
        let found =
            options.auth.find(registry, path)?.with_code(Code::RegistryAuth, || format!("not logged into {key}"))?;
        print::line(found.user())?;
        return Ok(0);
    }
    let existing = match args.user {
        // a helper that fails is no reason not to replace its credentials
        Some(_) => None,
        None => options.auth.find(registry, path).unwrap_or_default(),
    };
    if let Some(existing) = existing.as_ref().filter(|_| args.password.is_none()) {
        context.report(LogLevel::Info, format_args!("Authenticating with existing credentials for {key}"));
        match registry::login(registry, existing, &options) {
            Ok(()) => {
                print::line(format_args!("Existing credentials are valid. Already logged in to {key}"))?;
                return Ok(0);
            }
            Err(err) => context.report(LogLevel::Warning, format_args!("corm: warning: {}", describe(&err))),
        }
    }
    let credentials = ask(args, existing.as_ref())?;
    registry::login(registry, &credentials, &options)?;
    let file = file(&options.auth)?;
    AuthFile::open(&file)?.store(&key, &credentials)?;
    if args.verbose {
        print::line(format_args!("Used:  {}", file.display()))?;
    }
    print::line("Login Succeeded!")?;
    Ok(0)
}

/// Returns the credentials of the flags, and asks for what is missing.
fn ask(args: &args::Login, existing: Option<&Credentials>) -> Result<Credentials> {
    let user = match (&args.user, existing) {
        (Some(user), _) => user.clone(),
        (None, None) => prompt::line("Username: ", "--username")?,
        (None, Some(before)) => {
            let answer = prompt::line(&format!("Username ({}): ", before.user()), "--username")?;
            if answer.is_empty() { before.user().to_owned() } else { answer }
        }
    };
    let password = match &args.password {
        Some(password) => password.clone(),
        None if args.password_stdin => prompt::password_from_stdin()?,
        None => prompt::password("Password: ", "--password-stdin")?,
    };
    if user.contains(':') {
        bail!(coded!(UsageValue, "--username: has a colon, which ends the name in every request"));
    }
    Credentials::new(&user, password.expose().to_owned())
        .code(Code::UsageValue, "the user name or the password is empty (--username, --password-stdin)")
}

/// Removes the credentials of a registry, or of all.
///
/// # Errors
/// There are none, or the file cannot be written.
pub(super) fn logout(args: &args::Logout) -> Result<u8> {
    let options =
        remote::options_of_login(&args::Remote { authfile: args.authfile.clone(), ..args::Remote::default() })?;
    let mut file = AuthFile::open(&file(&options.auth)?)?;
    if args.all {
        file.remove_all()?;
        print::line("Removed login credentials for all registries")?;
        return Ok(0);
    }
    let key = key(args.registry.as_deref(), &options)?;
    if !file.remove(&key)? {
        let (registry, path) = key.split_once('/').unwrap_or((&key, ""));
        match options.auth.find(registry, path)? {
            Some(_) => bail!(coded!(
                RegistryAuth,
                "not logged into {key} by this file; another one has credentials of it (--authfile)"
            )),
            None => bail!(coded!(RegistryAuth, "not logged into {key}")),
        }
    }
    print::line(format_args!("Removed login credentials for {key}"))?;
    Ok(0)
}

/// Returns the key of the credentials, by default that of the first registry for short names.
fn key(registry: Option<&str>, options: &Options) -> Result<String> {
    login_key(registry.unwrap_or(options.registries.default_registry()))
}

/// Returns the file that is written.
fn file(auth: &AuthSource) -> Result<std::path::PathBuf> {
    auth.files().into_iter().next().context("no file for credentials: use --authfile")
}
