//! What the verbs that use registries share: options of the client, and pulls of names that may be short.

use anyhow::{Context as _, Error, Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _, describe};

use super::{Context, prompt};
use crate::cli::args;
use crate::cli::args::{LogLevel, PullPolicy};
use crate::model::manifest::parse_config;
use crate::model::platform::Platform;
use crate::model::reference::Reference;
use crate::progress::Progress;
use crate::registries::Registries;
use crate::registry;
use crate::registry::{AuthSource, Credentials, Options};
use crate::store::ImageRecord;
use crate::store::Store;

/// Transport of an image in a registry, as Podman and skopeo write it.
pub(super) const DOCKER: &str = "docker://";

/// Returns the options of the client; asks for a password that `--creds` lacks.
///
/// # Errors
/// registries.conf cannot be read, or nothing answers.
pub(super) fn options(remote: &args::Remote) -> Result<Options> {
    if let Some(file) = remote.authfile.as_ref().filter(|file| !file.exists()) {
        bail!(coded!(FileMissing, "--authfile {file:?}: no such file (`corm login --authfile` creates it)"));
    }
    options_of_login(remote)
}

/// As [`options`], also where the file of credentials is still to be made.
///
/// # Errors
/// As [`options`].
pub(super) fn options_of_login(remote: &args::Remote) -> Result<Options> {
    let given = remote.creds.as_ref().map(|text| -> Result<Credentials> {
        let (user, password) = match text.expose().split_once(':') {
            Some((user, password)) => (user, password.to_owned()),
            None => (text.expose(), prompt::password("Password: ", "--creds USER:PASSWORD")?.expose().to_owned()),
        };
        Credentials::new(user, password).code(Code::UsageValue, "--creds: the user name or the password is empty")
    });
    Ok(Options {
        tls_verify: remote.tls_verify,
        auth: AuthSource { file: remote.authfile.clone(), given: given.transpose()? },
        registries: Registries::load()?,
        ..Options::default()
    })
}

/// Returns the output of progress, of warnings only for a quiet verb.
pub(super) fn progress(context: &Context, quiet: bool) -> Progress {
    Progress::new(if quiet { context.global.log_level.min(LogLevel::Warning) } else { context.global.log_level })
}

/// Pulls an image by a name that may be short: the first of its meanings that there is.
///
/// # Errors
/// That of the last meaning; those of the others are warnings.
pub(super) fn pull(context: &Context, store: &Store, name: &str, args: &args::Pull) -> Result<ImageRecord> {
    let options = options(&args.remote)?;
    let platform = args.platform.as_deref().map(Platform::parse).transpose()?;
    let progress = progress(context, args.quiet);
    let names = options.registries.references(name.strip_prefix(DOCKER).unwrap_or(name))?;
    // a password is for one registry
    ensure!(
        names.len() < 2 || args.remote.creds.is_none(),
        coded!(UsageValue, "--creds: {name:?} may be of several registries: give the full name")
    );
    let mut names = names.into_iter().peekable();
    while let Some(name) = names.next() {
        match registry::pull(store, &name, platform.as_ref(), &options, &progress) {
            Err(error) if names.peek().is_some() => progress.warn(&format!("{name}: {}", describe(&error))),
            done => return done,
        }
    }
    bail!(coded!(UsageValue, "{name}: no registry to look in"))
}

/// Parses the reference of an image in a registry, with `docker://` or without.
///
/// # Errors
/// As [`Reference::parse`].
pub(super) fn reference(text: &str) -> Result<Reference> {
    Reference::parse(text.strip_prefix(DOCKER).unwrap_or(text))
}

/// Writes a digest to the file of `--digestfile`.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_digest(file: Option<&std::path::Path>, digest: &crate::model::digest::Digest) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let context = || format!("--digestfile {file:?}");
    // a symlink that another user may have planted is not followed
    let place = linux::place::Place::resolve(file).with_context(context)?;
    place.replace(digest.to_string().as_bytes(), 0o666).with_context(context)
}

/// Returns the image of the store, of the `wanted` platform. The inner error is why it has to be pulled; none where the
/// caller wants that in any case.
///
/// # Errors
/// It may not be pulled; an ambiguous ID or a damaged record, which are no reason to.
pub(super) fn in_store(
    store: &Store,
    name: &str,
    policy: PullPolicy,
    wanted: Option<&Platform>,
) -> Result<Result<ImageRecord, Option<Error>>> {
    let fits = |image: &ImageRecord, wanted: &Platform| {
        Ok::<_, Error>(wanted.runs(&parse_config(&store.read_blob(&image.id)?)?))
    };
    let missing = match (store.find_image(name), wanted) {
        (Ok(_), _) if policy == PullPolicy::Always => return Ok(Err(None)),
        (Ok(image), Some(wanted)) if !fits(&image, wanted)? => {
            Error::from(coded!(ImagePlatform, "the image {name:?} here is of another platform than {wanted}"))
        }
        (Ok(image), _) => return Ok(Ok(image)),
        (Err(err), _) if !err.to_string().starts_with("No image named") => return Err(err),
        (Err(err), _) => err,
    };
    if policy == PullPolicy::Never { Err(missing) } else { Ok(Err(Some(missing))) }
}
