//! Sources of `ADD` and contexts from elsewhere: files by HTTP, repositories by the program `git`.

use base::coded;
use base::error::{Code, Coding as _};
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
    let path = text.split(['#', '?']).next().unwrap_or_default();
    ["git://", "git@", "ssh://"].iter().any(|scheme| text.starts_with(scheme))
        || is_http(text) && path.ends_with(".git")
}

/// Checks that `--checksum` is of the one source from elsewhere that it can be compared with.
///
/// # Errors
/// It is of several sources, of a file of the context, or for a file from elsewhere no digest.
pub fn check_checksum(args: &CopyArgs, sources: &[String]) -> Result<()> {
    let Some(wanted) = &args.checksum else { return Ok(()) };
    let source = match sources {
        [source] if args.heredocs.is_empty() => source,
        _ => bail!(coded!(BuildInvalid, "--checksum: must have one source, an address")),
    };
    ensure!(
        is_address(source),
        coded!(BuildInvalid, "--checksum: {source:?} is no address of HTTP or of a repository")
    );
    if !is_git(source) {
        digest_of(wanted)?;
    }
    Ok(())
}

fn digest_of(checksum: &str) -> Result<Digest> {
    Digest::parse(checksum).with_code(Code::UsageValue, || format!("--checksum={checksum:?}"))
}

/// Fetches a source of `ADD`.
///
/// # Errors
/// It cannot be fetched, or has another digest than `--checksum`.
pub fn fetch(build: &Build<'_>, address: &str, args: &CopyArgs) -> Result<Fetched> {
    if is_git(address) {
        return git(build.store, address, args.keep_git_dir, args.checksum.as_deref()).map(Fetched::Tree);
    }
    let name = file_name(address).context("the address has no name of a file")?;
    let staged = StagedEntry::file(&build.store.tmp())?;
    let mut file = staged.file_ref().try_clone().context("a temporary file")?;
    let found = registry::download(address, build.store.limits().tar, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    if let Some(wanted) = &args.checksum {
        let wanted = digest_of(wanted)?;
        let (digest, _) = crate::store::hash_file(&file)?;
        ensure!(digest == wanted, coded!(ImageDigest, "--checksum: the download has the digest {digest}"));
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

/// Opens the context of an address: a repository, or by HTTP a tar or a Containerfile alone.
///
/// # Errors
/// It cannot be fetched.
pub fn context(store: &Store, address: &str) -> Result<Context> {
    if is_git(address) {
        return git(store, address, false, None);
    }
    let staged = StagedEntry::file(&store.tmp())?;
    let mut file = staged.file_ref().try_clone().context("a temporary file")?;
    registry::download(address, store.limits().tar, &mut file).with_context(|| format!("context {address:?}"))?;
    Context::file(store, &file, address)
}

/// An address of a repository, and what of it is wanted.
#[derive(Debug, PartialEq, Eq)]
struct Repository<'a> {
    url: &'a str,
    /// Branch, tag or commit.
    reference: &'a str,
    /// Directory in it; empty for all.
    below: &'a str,
    /// The commit that it has to be.
    commit: Option<&'a str>,
    keep_git_dir: bool,
    submodules: bool,
}

impl<'a> Repository<'a> {
    /// Parses `ADDRESS[#REF[:DIRECTORY]]` and `ADDRESS?ref=REF&subdir=DIRECTORY`, also with `branch`, `tag`, `commit`,
    /// `keep-git-dir` and `submodules`.
    fn parse(address: &'a str) -> Result<Self> {
        let (rest, fragment) = address.split_once('#').unwrap_or((address, ""));
        let (url, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (reference, below) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut found = Self { url, reference, below, commit: None, keep_git_dir: false, submodules: true };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let switch = || matches!(value, "true" | "1" | "");
            match name {
                "ref" | "branch" | "tag" if found.reference.is_empty() => found.reference = value,
                "subdir" if found.below.is_empty() => found.below = value,
                "commit" | "checksum" => found.commit = Some(value),
                "keep-git-dir" => found.keep_git_dir = switch(),
                "submodules" => found.submodules = switch(),
                _ => bail!(coded!(BuildInvalid, "{address:?}: {name:?} is unknown there, or given twice")),
            }
        }
        if found.reference.is_empty() {
            found.reference = found.commit.unwrap_or("HEAD");
        }
        ensure!(
            !url.starts_with('-') && !found.reference.starts_with('-'),
            coded!(BuildInvalid, "{address:?}: is no repository")
        );
        Ok(found)
    }
}

/// Fetches one commit of a repository with its submodules. `commit` is the one that it has to be.
fn git(store: &Store, address: &str, keep: bool, commit: Option<&str>) -> Result<Context> {
    let wanted = Repository::parse(address)?;
    let url = wanted.url;
    Context::filled(store, |dir| {
        run(dir, &["init", "--quiet", "."])?;
        let name = fetch_commit(dir, url, wanted.reference).with_context(|| format!("repository {url:?}"))?;
        run(dir, &["checkout", "--quiet", "--detach", &name])?;
        for commit in commit.into_iter().chain(wanted.commit) {
            let found = run(dir, &["rev-parse", "HEAD"])?;
            ensure!(found.trim() == commit, coded!(UsageValue, "--checksum: the commit is {}", found.trim()));
        }
        if wanted.submodules && dir.join(".gitmodules").symlink_metadata().is_ok() {
            run(dir, &["submodule", "--quiet", "update", "--init", "--recursive", "--depth", "1"])
                .with_context(|| format!("submodules of {url:?}"))?;
        }
        if !keep && !wanted.keep_git_dir {
            remove_git_dirs(dir)?;
        }
        if wanted.below.is_empty() { Ok(()) } else { only(dir, wanted.below) }
    })
}

/// Fetches what `reference` names, and returns a name for it: alone, or else with its history, because a plain file server
/// has no shallow copies, or else with everything, for a commit that no branch or tag names.
fn fetch_commit(dir: &Path, repository: &str, reference: &str) -> Result<String> {
    let head = || "FETCH_HEAD".to_owned();
    let Err(first) = run(dir, &["fetch", "--quiet", "--depth", "1", "--", repository, reference]) else {
        return Ok(head());
    };
    if run(dir, &["fetch", "--quiet", "--", repository, reference]).is_ok() {
        return Ok(head());
    }
    let is_commit = reference.len() >= 4 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_commit && run(dir, &["fetch", "--quiet", "--", repository, "+refs/*:refs/fetched/*"]).is_ok() {
        return Ok(format!("{reference}^{{commit}}"));
    }
    Err(first)
}

/// Removes what git keeps of the repository and its submodules.
fn remove_git_dirs(dir: &Path) -> Result<()> {
    base::fs::remove::remove_tree(&dir.join(".git"))?;
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| format!("read {dir:?}"))? {
            let entry = entry.with_context(|| format!("read {dir:?}"))?;
            if entry.file_name() == ".git" {
                std::fs::remove_file(entry.path()).with_context(|| format!("remove {:?}", entry.path()))?;
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(entry.path());
            }
        }
    }
    Ok(())
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

/// Runs git without the configuration of the machine's hooks and without questions; returns what it prints.
fn run(dir: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(["-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never"]).args(args);
    command.env("GIT_TERMINAL_PROMPT", "0");
    let output = match base::child::output(&mut command) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {
            bail!(coded!(HostUnsupported, "git is not installed (package git)"))
        }
        other => other.context("git")?,
    };
    let text = String::from_utf8_lossy(&output.stderr);
    // what follows the first is of what did not happen then
    let cause = text.lines().find(|line| line.starts_with("fatal: ")).or(text.lines().last());
    ensure!(output.status.success(), coded!(BuildInvalid, "git: {}", cause.unwrap_or("failed")));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_no_paths() {
        for (text, address, repository) in [
            ("http://h/x.tar", true, false),
            ("https://h/x.git", true, true),
            ("https://h/x.git#main:dir", true, true),
            ("https://h/x.git?ref=main", true, true),
            ("git@h:x", true, true),
            ("x.git", false, false),
            ("/http://x", false, false),
        ] {
            assert_eq!((is_address(text), is_git(text)), (address, repository), "{text}");
        }
        assert_eq!(http_time("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    }

    #[test]
    fn a_repository_has_parts_and_parameters() {
        let plain = Repository {
            url: "u.git",
            reference: "r",
            below: "d",
            commit: None,
            keep_git_dir: false,
            submodules: true,
        };
        for address in ["u.git#r:d", "u.git?ref=r&subdir=d", "u.git?branch=r#:d", "u.git?tag=r&subdir=d&submodules=1"] {
            assert_eq!(Repository::parse(address).unwrap(), plain, "{address}");
        }
        let other = Repository::parse("u.git?commit=abc&keep-git-dir&submodules=false").unwrap();
        assert_eq!((other.reference, other.commit, other.below), ("abc", Some("abc"), ""));
        assert!(other.keep_git_dir && !other.submodules);
        assert_eq!(Repository::parse("u.git").unwrap().reference, "HEAD");
        for bad in ["-u.git", "u.git#--upload-pack=x", "u.git?x=1", "u.git?ref=a&tag=b", "u.git?ref=a#b"] {
            assert!(Repository::parse(bad).is_err(), "{bad}");
        }
    }
}
