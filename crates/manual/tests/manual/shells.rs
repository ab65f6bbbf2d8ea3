//! Completion in real shells: interactive bash and zsh on a terminal, and fish's own answer.

use std::path::{Path, PathBuf};

use crate::current::top;
use crate::scene::Scene;
use test_support::pty::{Terminal, on_terminal};
use test_support::report_skip;

/// Lines, and what has to be offered or completed: verbs, words of groups, flags, values, IDs, image names, codes.
const CASES: &[(&str, &str)] = &[
    ("croci chec", "checkpoint"),
    ("croci help feat", "features"),
    ("croci exec shown-", "shown-here"),
    ("croci kill shown-here WIN", "WINCH"),
    ("croci exec --console-so", "--console-socket"),
    ("croci list --format js", "json"),
    ("croci --log-format js", "json"),
    ("croci explain exec.interp", "exec.interpreter"),
    ("croci run --bundle ./bun", "./bundle"),
    ("croci mounts rem", "remove"),
    ("corm system pru", "prune"),
    ("corm container ls --no-tr", "--no-trunc"),
    ("corm run busy", "busybox:latest"),
    ("corm image rm busy", "busybox:latest"),
    ("corm run --pull nev", "never"),
];

fn scene() -> Scene {
    let scene = Scene::new().image().bundle("exec sleep 1000");
    scene.shell("croci run --detach --bundle bundle shown-here >/dev/null 2>&1").ok();
    scene
}

fn packaging() -> PathBuf {
    top().join("packaging")
}

/// Types each line and a tab into an interactive shell, and waits until it has the whole word.
fn on_a_terminal(shell: &str, args: &[&str], begin: &str) {
    if !Path::new("/usr/bin").join(shell).exists() {
        return report_skip(&format!("{shell} is not installed"));
    }
    let scene = scene();
    for (line, want) in CASES {
        let mut terminal = Terminal::open(40, 120);
        let cmd = scene.program(shell).args(args).env("TERM", "dumb").env("PS1", "ready> ");
        let _shell = on_terminal(cmd, &terminal).spawn();
        terminal.expect("ready> ");
        terminal.write(&format!("{begin}; echo loa''ded\r"));
        terminal.expect("loaded");
        // the completed line becomes the argument of echo
        terminal.write(&format!("{line}\t\u{1}echo \r"));
        let typed = line.rsplit(' ').next().unwrap();
        let seen = terminal.expect(&format!("\n{}{want}", line.strip_suffix(typed).unwrap()));
        assert!(!seen.contains("error"), "{line}: {seen}");
    }
    println!("{} lines completed by {shell}", CASES.len());
}

#[test]
fn bash_completes() {
    let packaging = packaging();
    let begin = format!("source {0}/bash/croci; source {0}/bash/corm", packaging.display());
    on_a_terminal("bash", &["--norc", "--noprofile", "-i"], &begin);
}

#[test]
fn zsh_completes() {
    let begin = format!("fpath=({}/zsh $fpath); autoload -U compinit; compinit -u -D", packaging().display());
    on_a_terminal("zsh", &["-f", "-i"], &begin);
}

#[test]
fn fish_completes() {
    if !Path::new("/usr/bin/fish").exists() {
        return report_skip("fish is not installed");
    }
    let (scene, packaging) = (scene(), packaging());
    for (line, want) in CASES {
        let script =
            format!("source {0}/fish/croci.fish; source {0}/fish/corm.fish; complete -C '{line}'", packaging.display());
        let out = scene.program("fish").args(["--no-config", "-c", &script]).out().ok();
        let found =
            out.stdout.lines().any(|word| word.split('\t').next().unwrap().trim_end_matches('/').ends_with(want));
        assert!(found, "{line}: {out:?}");
    }
}
