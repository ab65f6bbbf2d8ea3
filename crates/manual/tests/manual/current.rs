//! The files in `packaging/` are those of the tables, man renders them, and they are installed and removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use test_support::{Sandbox, report_skip};

/// The repository.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The names of all files below a directory.
fn below(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let more = if path.is_dir() { below(&path) } else { BTreeSet::from([path]) };
        found.extend(more);
    }
    found
}

#[test]
fn the_files_are_those_of_the_tables() {
    let place = top().join("packaging");
    let mut there: BTreeSet<PathBuf> = manual::DIRECTORIES.iter().flat_map(|kind| below(&place.join(kind))).collect();
    for (name, text) in manual::files() {
        let file = place.join(&name);
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), text, "{name}: run `make manual`");
        there.remove(&file);
    }
    assert!(there.is_empty(), "of verbs that are gone, run `make manual`: {there:?}");
}

#[test]
fn every_verb_has_an_example_and_exit_statuses() {
    for program in [croci::cli::manual(), corm::cli::manual()] {
        for verb in &program.verbs {
            let name = format!("{} {}", program.name, verb.name);
            assert!(!verb.example.is_empty() && !verb.status.is_empty(), "{name}");
            assert!(verb.example.contains(&name), "{name}: {}", verb.example);
        }
    }
}

#[test]
fn man_renders_every_page_without_a_warning() {
    let sandbox = Sandbox::new();
    if !Path::new("/usr/bin/man").exists() {
        return report_skip("man is not installed");
    }
    let mut pages = 0;
    for page in below(&top().join("packaging/man")) {
        let man =
            sandbox.program("man").args(["--warnings", "-l"]).arg(&page).env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
        let out = man.out().ok();
        assert_eq!(out.stderr, "", "{}", page.display());
        for part in ["NAME", "SYNOPSIS", "SEE ALSO"] {
            assert!(out.stdout.contains(part), "{}: {}", page.display(), out.stdout);
        }
        pages += 1;
    }
    assert!(pages > 100, "{pages} pages");
}

#[test]
fn all_is_installed_and_removed_again() {
    let sandbox = Sandbox::new();
    let (dir, script) = (sandbox.mkdir("usr"), top().join("scripts/install.sh"));
    let programs = [test_support::runtime(), test_support::corm()].map(|from| {
        let to = sandbox.mkdir("built").join(if from == test_support::corm() { "corm" } else { "croci" });
        std::os::unix::fs::symlink(from, &to).unwrap();
        to
    });
    sandbox.program(&script).arg(&dir).args(&programs).out().ok();
    for file in [
        "bin/croci",
        "bin/corm",
        "share/man/man1/croci-run.1",
        "share/man/man1/corm-system-df.1",
        "share/bash-completion/completions/croci",
        "share/zsh/site-functions/_corm",
        "share/fish/vendor_completions.d/corm.fish",
    ] {
        assert!(dir.join(file).is_file(), "{file}");
    }
    sandbox.program(dir.join("bin/croci")).arg("--version").out().ok();
    sandbox.program(&script).arg("--remove").arg(&dir).args(["croci", "corm"]).out().ok();
    assert_eq!(below(&dir), BTreeSet::new());
}
