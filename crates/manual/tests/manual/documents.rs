//! Every command of the README and the guides, run as the page says: the information string of a block is `sh` with `root`,
//! `user` or both, with `fails` where the last command has to fail, or `sh skip: REASON`. Blocks of a page share a directory.

use std::path::{Path, PathBuf};

use crate::current::top;
use crate::scene::Scene;
use test_support::{need_root, skip};

/// A block of shell in a page.
struct Block {
    page: String,
    line: usize,
    /// The words after `sh`.
    how: String,
    text: String,
}

/// Returns the blocks of a page in their order.
///
/// # Panics
/// Commands that are in no fenced block, or in one without a mark.
fn blocks(page: &Path) -> Vec<Block> {
    let name = page.strip_prefix(top()).unwrap().display().to_string();
    let (mut found, mut fence): (Vec<Block>, Option<bool>) = (Vec::new(), None);
    for (number, line) in std::fs::read_to_string(page).unwrap().lines().enumerate() {
        let at = format!("{name}:{}", number + 1);
        match (line.strip_prefix("```"), fence) {
            (Some(info), None) => {
                let (language, how) = info.split_once(' ').unwrap_or((info, ""));
                fence = Some(language == "sh");
                if language == "sh" {
                    let how = how.to_owned();
                    assert!(!how.is_empty(), "{at}: who runs it? `sh root`, `sh user`, `sh skip: REASON`");
                    found.push(Block { page: name.clone(), line: number + 1, how, text: String::new() });
                }
            }
            (Some(_), Some(_)) => fence = None,
            (None, Some(true)) => found.last_mut().unwrap().text += &format!("{line}\n"),
            (None, Some(false)) => {}
            (None, None) => {
                let command = ["croci ", "corm ", "make", "podman ", "sudo "].iter();
                let bare =
                    line.strip_prefix("    ").is_some_and(|code| command.clone().any(|word| code.starts_with(word)));
                assert!(!bare, "{at}: a command that no test runs: {line}");
            }
        }
    }
    found
}

/// Runs the blocks of a page that are for `who`; returns their number and what failed.
fn run(scene: &Scene, blocks: &[Block], who: &str) -> (usize, Vec<String>) {
    let (mut ran, mut failed) = (0, Vec::new());
    for block in blocks.iter().filter(|block| block.how.split(' ').any(|word| word == who)) {
        let out = scene.shell(&block.text);
        let must_fail = block.how.split(' ').any(|word| word == "fails");
        if (out.code == Some(0)) == must_fail {
            failed.push(format!("{}:{} as {who}: {out:?}", block.page, block.line));
        }
        ran += 1;
    }
    (ran, failed)
}

/// The pages.
fn pages() -> Vec<PathBuf> {
    let guides = std::fs::read_dir(top().join("docs/user")).unwrap().flatten().map(|entry| entry.path());
    let mut pages: Vec<_> = guides.filter(|path| path.extension().is_some_and(|ext| ext == "md")).collect();
    pages.push(top().join("README.md"));
    pages.sort();
    pages
}

#[test]
fn the_commands_of_the_pages() {
    need_root!();
    if !["/usr/bin/docker-registry", "/usr/sbin/docker-registry"].iter().any(|path| Path::new(path).exists()) {
        skip!("no docker-registry");
    }
    let (mut ran, mut failed) = (0, Vec::new());
    for page in pages() {
        let blocks = blocks(&page);
        for block in &blocks {
            if let Some(reason) = block.how.strip_prefix("skip: ") {
                println!("not run: {}:{}: {reason}", block.page, block.line);
            }
        }
        if blocks.iter().all(|block| block.how.starts_with("skip: ")) {
            continue;
        }
        let root = Scene::new().image().with_registry();
        root.shell("corm rmi busybox; rm -r rootfs").ok();
        let mut add = |(more, wrong): (usize, Vec<String>)| {
            ran += more;
            failed.extend(wrong);
        };
        add(run(&root, &blocks, "root"));
        match Scene::of_user(&root) {
            Some(user) => add(run(&user, &blocks, "user")),
            None => println!("not run as a user: {}: none has subordinate ids", page.display()),
        }
    }
    println!("{ran} blocks of the pages ran");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(ran > 20, "{ran} blocks");
}
