//! Sources of `ADD` and contexts from elsewhere: files by HTTP, repositories by the program `git`.

use std::io::{Seek as _, SeekFrom};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::Build;
use super::context::Context;
use super::copy::{Content, Extra};
use crate::containerfile::CopyArgs;
use crate::model::digest::Digest;
use crate::registry;
use crate::store::Store;
use base::fs::staging::StagedEntry;

/// Permissions of a download.
const MODE: u32 = 0o600;

/// A source from elsewhere.
pub enum Fetched {
    /// A file.
    File(Extra),
    /// A repository.
    Tree(Context),
}

/// Returns whether a text is an address and no path.
pub fn is_address(text: &str) -> bool {
    is_http(text) || is_git(text)
}

/// Returns whether a text is an address of HTTP.
pub fn is_http(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
}

/// Returns whether a text is the address of a repository.
pub fn is_git(text: &str) -> bool {
    let path = text.split('#').next().unwrap_or_default();
    ["git://", "git@", "ssh://"].iter().any(|scheme| text.starts_with(scheme))
        || is_http(text) && path.ends_with(".git")
}

/// Fetches a source of `ADD`.
///
/// # Errors
/// It cannot be fetched, or has another digest than `--checksum`.
pub fn fetch(build: &Build<'_>, address: &str, args: &CopyArgs) -> Result<Fetched> {
    if is_git(address) {
        ensure!(args.checksum.is_none(), "--checksum: is for files by HTTP");
        return git(build.store, address, args.keep_git_dir).map(Fetched::Tree);
    }
    let name = file_name(address).context("the address has no name of a file")?;
    let staged = StagedEntry::file(&build.store.tmp())?;
    let mut file = staged.file_ref().try_clone().context("a temporary file")?;
    let found = registry::download(address, build.store.limits().tar, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    if let Some(wanted) = &args.checksum {
        let wanted = Digest::parse(wanted).with_context(|| format!("--checksum={wanted:?}"))?;
        let (digest, _) = crate::store::hash_file(&file)?;
        ensure!(digest == wanted, "--checksum: the download has the digest {digest}");
    }
    let mtime = found.modified.as_deref().and_then(http_time);
    Ok(Fetched::File(Extra { name: name.to_owned(), content: Content::File(file), mode: MODE, mtime }))
}

/// Returns the last part of an address.
fn file_name(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let (_, path) = rest.split(['?', '#']).next()?.split_once('/')?;
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

/// Parses a time of HTTP.
fn http_time(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(jiff::Timestamp::as_second)
}

/// Opens the context of an address: a repository, or a tar by HTTP.
///
/// # Errors
/// It cannot be fetched.
pub fn context(store: &Store, address: &str) -> Result<Context> {
    if is_git(address) {
        return git(store, address, false);
    }
    let staged = StagedEntry::file(&store.tmp())?;
    let mut file = staged.file_ref().try_clone().context("a temporary file")?;
    registry::download(address, store.limits().tar, &mut file).with_context(|| format!("context {address:?}"))?;
    file.seek(SeekFrom::Start(0))?;
    Context::tar(store, file, address)
}

/// Fetches one commit of a repository: `ADDRESS[#REF[:DIRECTORY]]`.
fn git(store: &Store, address: &str, keep: bool) -> Result<Context> {
    let (repository, rest) = address.split_once('#').unwrap_or((address, ""));
    let (reference, below) = rest.split_once(':').unwrap_or((rest, ""));
    let reference = if reference.is_empty() { "HEAD" } else { reference };
    ensure!(!repository.starts_with('-') && !reference.starts_with('-'), "{address:?}: is no repository");
    Context::filled(store, |dir| {
        run(dir, &["init", "--quiet", "."])?;
        run(dir, &["fetch", "--quiet", "--depth", "1", "--", repository, reference])
            .with_context(|| format!("repository {repository:?}"))?;
        run(dir, &["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
        if !keep {
            base::fs::remove::remove_tree(&dir.join(".git"))?;
        }
        if below.is_empty() { Ok(()) } else { only(dir, below) }
    })
}

/// Keeps a directory of the repository alone.
fn only(dir: &Path, below: &str) -> Result<()> {
    let clean = super::source::clean(below);
    let root = crate::driver::mount_util::open_dir(dir)?;
    let found = crate::container::within::resolve(std::os::fd::AsFd::as_fd(&root), &Path::new("/").join(clean))?;
    let from = dir.join(found.strip_prefix("/").unwrap_or(&found));
    let kept = dir.with_file_name("kept");
    std::fs::rename(&from, &kept).with_context(|| format!("directory {below:?} of the repository"))?;
    base::fs::remove::remove_tree(dir)?;
    std::fs::rename(&kept, dir).with_context(|| format!("directory {below:?} of the repository"))
}

/// Runs git without the configuration of the machine's hooks and without questions.
fn run(dir: &Path, args: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never"]).args(args);
    command.env("GIT_TERMINAL_PROMPT", "0");
    let output = match base::child::output(&mut command) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => bail!("git is not installed (package git)"),
        other => other.context("git")?,
    };
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "git: {}", text.lines().last().unwrap_or("failed"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_no_paths() {
        for (text, address, repository) in [
            ("http://h/x.tar", true, false),
            ("https://h/x.git", true, true),
            ("https://h/x.git#main:dir", true, true),
            ("git@h:x", true, true),
            ("x.git", false, false),
            ("/http://x", false, false),
        ] {
            assert_eq!((is_address(text), is_git(text)), (address, repository), "{text}");
        }
        assert_eq!(http_time("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    }
}
