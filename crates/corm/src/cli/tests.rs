//! Command lines, as people and scripts write them, against what they must mean.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::args::{ContainerVerb, ImageVerb, Run, StopHow, SystemVerb, Verb};
use super::syntax::CORM;
use super::{Outcome, parse};
use crate::config::settings::Settings;
use crate::config::settings::accounts::Accounts;

fn outcome(line: &str) -> Outcome {
    parse(std::iter::once("corm").chain(line.split_whitespace()).map(Into::into))
}

fn verb(line: &str) -> Verb {
    match outcome(line) {
        Outcome::Run(_, verb) => verb,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    match outcome(line) {
        Outcome::Usage { error, .. } => error.message,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn a_command_keeps_its_own_flags() {
    let want = Run {
        detach: true,
        interactive: true,
        tty: true,
        name: Some("n".to_owned()),
        image: "busybox".to_owned(),
        command: ["ls", "-l", "--rm", "-d"].map(str::to_owned).to_vec(),
        // on unless they are unwanted
        settings: Settings { proxies: true, accounts: Some(Accounts::default()), ..Settings::default() },
        ..Run::default()
    };
    for line in ["run -d -ti --name n busybox ls -l --rm -d", "run -itd --name=n busybox -- ls -l --rm -d"] {
        assert_eq!(verb(line), Verb::from(ContainerVerb::Run(Box::new(want.clone()))), "{line}");
    }
    let Verb::Container(ContainerVerb::Exec(exec)) = verb("exec -it -w /tmp c sh -c x") else { panic!() };
    assert_eq!((exec.container.as_str(), exec.command.len(), exec.tty), ("c", 3, true));
}

#[test]
fn values_have_types() {
    let Verb::Container(ContainerVerb::Run(run)) =
        verb("run -m 64m --cpus 1.5 --pids-limit -1 --network host -v /a:/b:ro x")
    else {
        panic!()
    };
    assert_eq!(
        (
            run.settings.limits.memory,
            run.settings.limits.cpu_quota,
            run.settings.limits.pids_limit,
            run.network.modes.first().map(String::as_str)
        ),
        (Some(64 << 20), Some(150_000), Some(-1), Some("host"))
    );
    let Verb::Image(ImageVerb::Pull(pull)) = verb("pull --tls-verify=false x") else { panic!() };
    assert_eq!(pull.remote.tls_verify, Some(false));
    assert!(matches!(verb("pull x"), Verb::Image(ImageVerb::Pull(pull)) if pull.remote.tls_verify.is_none()));
    assert!(
        matches!(verb("system prune -a"), Verb::System(SystemVerb::SystemPrune(args)) if args.all && !args.volumes)
    );
    assert!(
        matches!(verb("stop -t 3 a b"), Verb::Container(ContainerVerb::Stop { how: StopHow { seconds: Some(3), .. }, which }) if which.names == ["a", "b"])
    );
    assert!(matches!(verb("init /d"), Verb::Image(ImageVerb::Init { name: None, .. })));
}

#[test]
fn verbs_on_several_containers_take_names_or_all() {
    for (line, names, all) in [
        ("pause a b", &["a", "b"][..], false),
        ("rm -fav", &[], true),
        ("start --all", &[], true),
        ("kill a", &["a"], false),
    ] {
        let Verb::Container(verb) = verb(line) else { panic!("{line}") };
        let which = verb.selection().unwrap_or_else(|| panic!("{line}"));
        assert_eq!(
            (&which.names[..], which.all),
            (&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()[..], all)
        );
    }
    let create = verb("create -it --name n base sh -c x");
    let Verb::Container(ContainerVerb::Create(create)) = create else { panic!() };
    assert!(create.interactive && create.tty && create.command == ["sh", "-c", "x"]);
    let Verb::Container(ContainerVerb::Copy(copy)) = verb("cp -a=false c:/x -") else { panic!() };
    assert_eq!((copy.from.as_str(), copy.to.as_str(), copy.archive), ("c:/x", "-", false));
    let Verb::Container(ContainerVerb::Update(update)) = verb("update -m 64m --pids-limit 5 c") else { panic!() };
    assert_eq!(update.limits.len(), 2);
    assert!(
        matches!(verb("start -ai c"), Verb::Container(ContainerVerb::Start(start)) if start.attach && start.interactive)
    );
    assert!(refused("create -d x").starts_with("create: unknown flag"));
}

#[test]
fn what_is_wrong_is_named() {
    for (line, want) in [
        ("", "no verb is given"),
        ("frobnicate", "unknown verb \"frobnicate\""),
        ("run", "\"corm run\" requires at least 1 argument (IMAGE [COMMAND [ARG...]]), got 0"),
        ("--driver zfs images", "--driver \"zfs\": driver \"zfs\": not one of btrfs, overlay, aufs, copy"),
        ("--root= images", "--root: is empty"),
        ("run --memory lots x", "run: --memory \"lots\": must be a size like 512"),
        ("run --cpus 0 x", "run: --cpus \"0\": must be a number, 0.01 or more"),
        ("network melt", "unknown verb \"network melt\""),
        ("save", "\"corm save\" requires at least 1 argument (IMAGE...), got 0"),
        ("system melt", "unknown verb \"system melt\""),
        ("container", "\"corm container\" requires a verb"),
        ("image frobnicate x", "unknown verb \"image frobnicate\""),
        ("rm", "rm: you must provide at least one name or id"),
        ("rm -a x", "rm: --all and containers exclude each other"),
        ("rm -t 1 x", "rm: --force option must be specified"),
        ("start -a x y", "start: you cannot start and attach multiple containers at once"),
        ("rmi -a x", "rmi: when using the --all switch"),
        ("volume rm", "volume rm: choose either one or more volumes or all"),
        ("update --cpus 1 --cpu-quota 5000 x", "update: --cpus and --cpu-quota exclude each other"),
        ("stats -i 0", "stats: --interval: must be above 0"),
        ("images --nope", "images: unknown flag \"--nope\""),
    ] {
        let message = refused(line);
        assert!(message.starts_with(want), "{line}: {message}");
    }
}

#[test]
fn every_verb_and_flag_has_its_help() {
    for syntax in CORM.verbs() {
        let Outcome::Print(text) = outcome(&format!("{} --help", syntax.name)) else { panic!("{}", syntax.name) };
        for flag in syntax.flags.iter().copied().flatten() {
            assert!(text.contains(&format!("--{}", flag.name)), "{}: {text}", syntax.name);
        }
    }
    let Outcome::Print(text) = outcome("help") else { panic!() };
    assert!(CORM.verbs().filter(|verb| !verb.name.contains(' ')).all(|verb| text.contains(verb.about)));
    assert!(matches!(outcome("--version"), Outcome::Print(text) if text.starts_with("corm version ")));
}

#[test]
fn a_group_has_the_verbs_by_its_words() {
    assert_eq!(verb("container ls -aq"), verb("ps -aq"));
    assert_eq!(verb("image rm -f x y"), verb("rmi -f x y"));
    assert_eq!(verb("container run -it x sh -c y"), verb("run -it x sh -c y"));
    for group in CORM.groups {
        let Outcome::Print(text) = outcome(&format!("{} --help", group.name)) else { panic!("{}", group.name) };
        for (word, name) in group.words {
            let Some(syntax) = CORM.verbs().find(|syntax| syntax.name == *name) else { panic!("{word} -> {name}") };
            assert!(text.contains(word) && text.contains(syntax.about), "{word}: {text}");
        }
        assert!(matches!(outcome(&format!("help {}", group.name)), Outcome::Print(same) if same == text));
    }
    let help = |line: &str| matches!(outcome(line), Outcome::Print(text) if text.contains("corm ps - "));
    assert!(help("container ls --help") && help("help container ls"));
}
