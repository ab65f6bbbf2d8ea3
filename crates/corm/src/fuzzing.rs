//! The functions that fuzz targets call (`fuzz/`), and the replay of their corpus as a test. Only with the feature
//! `fuzzing`, or in tests: no normal build has this module.
//!
//! A function takes the bytes of one input and panics where a promise of the code does not hold. An error for an input is no
//! finding, unless its text is empty or longer than a line.

#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "a panic is how a target reports a finding")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::config::edit::Edit;
use crate::layer::{self, Compression, Limits, Target};
use crate::model::digest::Digest;
use crate::model::docker_form::docker_form;
use crate::model::layer::WhiteoutFormat;
use crate::model::manifest::{self, Document};
use crate::model::platform::Platform;
use crate::model::reference::{Reference, candidates, local_name};
use crate::registry::fuzzing as registry_of;

/// Checks an error: it has a text of one line.
fn check_error(err: &anyhow::Error) {
    let text = base::error::describe(err);
    assert!(!text.is_empty() && !text.contains(['\n', '\r', '\x1b']), "{text:?}");
}

/// Parses a command line: the words are separated by NUL.
pub fn command_line(data: &[u8]) {
    use crate::cli::{Outcome, parse};
    let words = std::iter::once(&b"corm"[..]).chain(data.split(|byte| *byte == 0));
    match parse(words.map(|word| OsStr::from_bytes(word).to_owned())) {
        Outcome::Usage { error, .. } => {
            let message = error.message;
            assert!(!message.is_empty() && !message.contains('\n'), "{message:?}");
        }
        Outcome::Print(text) => assert!(!text.is_empty()),
        Outcome::Run(..) => {}
    }
}

/// Parses a document as a manifest, an index, an image configuration, and chooses from what it has.
pub fn manifest(data: &[u8]) {
    match manifest::parse(data, None) {
        Ok(Document::Manifest(manifest)) => {
            assert!(manifest.layers().len() <= manifest::MAX_LAYERS);
            for layer in manifest.layers() {
                assert!(manifest::digest_of(layer).is_ok() && layer.size() <= manifest::MAX_BLOB);
                assert!(manifest::layer_type(layer.media_type()).is_ok());
            }
            assert!(manifest::parse_manifest(data).is_ok() && manifest::parse_index(data).is_err());
        }
        Ok(Document::Index(index)) => {
            let chosen = Platform::host().choose(&index);
            assert!(chosen.is_none_or(|entry| index.manifests().contains(entry)));
        }
        Err(err) => check_error(&err),
    }
    if let Err(err) = docker_form(data) {
        check_error(&err);
    }
    match manifest::parse_config(data) {
        Ok(config) => {
            assert!(manifest::diff_ids(&config).is_ok());
            Platform::host().runs(&config);
            // what a commit writes is read again
            let edited = Edit::new(data).and_then(Edit::finish).expect("an accepted configuration can be changed");
            assert!(manifest::parse_config(&edited).is_ok(), "{}", String::from_utf8_lossy(&edited));
        }
        Err(err) => check_error(&err),
    }
}

/// Parses what a registry answers and what a user names: challenges, locations, errors, tokens, references.
pub fn registry(data: &[u8]) {
    registry_of::answers(data);
    let text = String::from_utf8_lossy(data);
    match Reference::parse(&text) {
        Ok(reference) => {
            let name = reference.name();
            let again = Reference::parse(&name).expect("the full name of a reference is one");
            assert_eq!(again.name(), name);
            assert!(!reference.registry().contains(['/', '@', ' ']) && !reference.path().contains(".."));
        }
        Err(err) => check_error(&err),
    }
    if let Ok(name) = local_name(&text) {
        assert!(!name.is_empty() && !name.contains(char::is_control), "{name:?}");
        assert!(candidates(&name).contains(&name), "{name:?} is not found by itself");
    }
    if let Ok(platform) = Platform::parse(&text) {
        assert!(!format!("{platform:?}").is_empty());
    }
}

/// Limits that keep one input small.
fn limits() -> Limits {
    Limits { tar: 1 << 20, apparent: 1 << 30, min_free: Some(0), entries: 200, depth: 40, ..Limits::default() }
}

/// Applies a layer to a directory in memory, beside which is a file that no layer may change; or reads it as an archive of
/// images. The first byte chooses.
pub fn layer(data: &[u8]) {
    let Some((how, tar)) = data.split_first() else { return };
    if how & 4 != 0 {
        let mut size = 0_u64;
        let read = layer::entries(tar, &limits(), &mut |_, data| {
            let mut bytes = Vec::new();
            data.take(1 << 16).read_to_end(&mut bytes)?;
            size += bytes.len() as u64;
            Ok(())
        });
        return read.err().iter().for_each(check_error);
    }
    let formats =
        [WhiteoutFormat::Delete, WhiteoutFormat::OverlayDevice, WhiteoutFormat::OverlayXattr, WhiteoutFormat::Aufs];
    let whiteouts = formats[usize::from(how & 3)];
    let dir = PathBuf::from(format!("/dev/shm/corm-fuzzing-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    let root = dir.join("root");
    fs::create_dir_all(root.join("d")).unwrap();
    fs::write(root.join("d/below"), "below").unwrap();
    symlink("../outside", root.join("up")).unwrap();
    symlink(dir.join("outside"), root.join("away")).unwrap();
    fs::create_dir(dir.join("outside")).unwrap();
    fs::write(dir.join("outside/secret"), "secret").unwrap();
    fs::write(dir.join("blob"), tar).unwrap();
    let target = Target { root: OwnedFd::from(File::open(&root).unwrap()), whiteouts, unprivileged: false };
    let blob = File::open(dir.join("blob")).unwrap();
    let media_type = Compression::None.media_type();
    let applied = layer::unpack(blob, media_type, &Digest::of(tar), &target, &limits(), &|_| {});
    applied.err().iter().for_each(check_error);
    let names = |dir: &PathBuf| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&dir), ["blob", "outside", "root"], "beside the root");
    assert_eq!(names(&dir.join("outside")), ["secret"], "outside the root");
    assert_eq!(fs::read(dir.join("outside/secret")).unwrap(), b"secret");
    fs::remove_dir_all(&dir).unwrap();
}

/// Parses a Containerfile, expands the words of its instructions, and reads the input as an ignore file.
pub fn containerfile(data: &[u8]) {
    use crate::containerfile::glob::Pattern;
    use crate::containerfile::ignore::Ignore;
    use crate::containerfile::words::Lexer;
    use crate::containerfile::{Instruction, parse, parse_trigger};
    let lookup = |name: &str| (!name.is_empty() && name.len().is_multiple_of(2)).then(|| format!("$a/{name} *"));
    match parse("Containerfile", data) {
        Ok(file) => {
            assert!(!file.steps.is_empty());
            let lexer = Lexer::new(file.escape, &lookup);
            let mut line = 0;
            for step in &file.steps {
                assert!(step.statement.line > line, "lines are in order");
                line = step.statement.line;
                lexer.word(&step.statement.rest).err().iter().for_each(check_error);
                lexer.words(&step.statement.source()).err().iter().for_each(check_error);
                if let Instruction::OnBuild(text) = &step.instruction {
                    parse_trigger("ONBUILD", text).err().iter().for_each(check_error);
                }
            }
        }
        Err(err) => {
            check_error(&err);
            assert!(format!("{err:#}").starts_with("Containerfile"), "{err:#}");
        }
    }
    let text = String::from_utf8_lossy(data);
    match Ignore::parse("ignore", &text) {
        Ok(ignore) => assert!(!ignore.excludes("a/b") || !ignore.is_empty()),
        Err(err) => check_error(&err),
    }
    if let Ok(pattern) = Pattern::path(&text, true) {
        let letters: Vec<char> = text.chars().take(200).collect();
        assert!(pattern.ends(&letters).iter().all(|&end| end <= letters.len()));
    }
}

#[cfg(test)]
mod tests {
    use test_support::corpus::{Target, replay};

    const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");

    #[test]
    fn the_corpus_has_no_finding() {
        let targets: [(&str, Target); 4] = [
            ("command_line", super::command_line),
            ("manifest", super::manifest),
            ("registry", super::registry),
            ("containerfile", super::containerfile),
        ];
        for (name, target) in targets {
            replay(CORPUS, name, target);
        }
        // devices and owners
        if linux::process::euid() == 0 {
            replay(CORPUS, "layer", super::layer);
        }
    }
}
