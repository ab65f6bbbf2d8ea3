//! Every verb and flag, in every form of a flag.

use std::collections::BTreeSet;

use super::super::args::{
    CgroupManager, Delete, Events, Format, Kill, List, LogLevel, Ps, Run, SpecArgs, State, Update,
};
use super::super::syntax::{GLOBAL, VERBS};
use super::*;
use base::cli_parser::Flag;
use base::cli_parser::FlagKind;

/// Flags that are accepted and ignored.
const EMPTY: &[(&str, &str)] = &[("create", "detach"), ("list", "all")];

/// Returns a valid value of `flag` that is not its default.
fn sample(flag: &Flag) -> &'static str {
    match flag.value {
        "N" | "US" | "SIZE" | "GID" => "7",
        "0|1" => "1",
        "FORMAT" => "json",
        "LEVEL" => "info",
        "NAME" => "disabled",
        "WHEN" => "true",
        "TIME" => "7s",
        "MODE" => "full",
        "METHOD" => "skip",
        "NS" => "network",
        "FD" => "7",
        "ADDR:PORT" => "h:7",
        "TYPE:NAME" => "selinux:x",
        _ => "x",
    }
}

/// Returns the forms of a flag with its value.
fn ways(flag: &Flag) -> Vec<String> {
    let Flag { name, short, kind, .. } = flag;
    let value = sample(flag);
    let mut ways = match kind {
        FlagKind::Switch => {
            vec![format!("--{name}"), format!("-{name}"), format!("--{name}=true"), format!("-{name}=1")]
        }
        FlagKind::One | FlagKind::Many => vec![
            format!("--{name}={value}"),
            format!("--{name} {value}"),
            format!("-{name}={value}"),
            format!("-{name} {value}"),
        ],
        FlagKind::Help | FlagKind::Version => vec![format!("--{name}"), format!("-{name}")],
    };
    match (short, kind.takes_value()) {
        (Some(short), true) => {
            ways.extend([format!("-{short} {value}"), format!("-{short}{value}"), format!("-{short}={value}")]);
        }
        (Some(short), false) => ways.push(format!("-{short}")),
        (None, _) => {}
    }
    ways
}

fn base(verb: &str) -> &'static str {
    match verb {
        "exec" => "c1 ls",
        "list" | "spec" | "features" | "validate" | "gc" => "",
        "mounts" => "add c1 f",
        _ => "c1",
    }
}

#[test]
fn every_flag_of_every_verb_is_understood_in_every_form() {
    for syntax in VERBS {
        let (name, mut operands) = (syntax.name, base(syntax.name));
        for flag in syntax.flags.iter().copied().flatten() {
            if flag.name == "process" {
                operands = "c1";
            }
            let plain = outcome(&format!("{name} {operands}"));
            let forms = ways(flag).into_iter().map(|way| (outcome(&format!("{name} {way} {operands}")), way));
            let forms: Vec<_> = forms.collect();
            for (got, way) in &forms {
                assert_eq!(got, &forms[0].0, "{name} {way}");
                let understood = match flag.kind {
                    FlagKind::Help => matches!(got, Outcome::Print(text) if text.contains("\nFlags:\n")),
                    FlagKind::Version => matches!(got, Outcome::Print(_)),
                    _ => matches!(got, Outcome::Run(_)),
                };
                assert!(understood, "{name} {way}: {got:?}");
                assert_eq!(*got == plain, EMPTY.contains(&(name, flag.name)), "{name} {way} makes a difference");
            }
            operands = base(name);
        }
    }
}

#[test]
fn every_global_flag_is_understood_in_every_form() {
    let plain = outcome("state c1");
    for flag in GLOBAL.iter().copied().flatten() {
        let forms: Vec<_> = ways(flag).into_iter().map(|way| (outcome(&format!("{way} state c1")), way)).collect();
        for (got, way) in &forms {
            assert_eq!(got, &forms[0].0, "{way}");
            let shows = matches!(flag.kind, FlagKind::Help | FlagKind::Version);
            assert_eq!(matches!(got, Outcome::Print(_)), shows, "{way}: {got:?}");
            assert!(matches!(got, Outcome::Run(_) | Outcome::Print(_)), "{way}: {got:?}");
            assert_ne!(*got, plain, "{way} makes a difference");
        }
    }
}

#[test]
fn names_are_unambiguous() {
    for flags in VERBS.iter().map(|verb| verb.flags).chain([GLOBAL]) {
        let all: Vec<_> = flags.iter().copied().flatten().collect();
        let longs: BTreeSet<_> = all.iter().map(|flag| flag.name).collect();
        let shorts: Vec<_> = all.iter().filter_map(|flag| flag.short).collect();
        assert_eq!(longs.len(), all.len());
        assert_eq!(shorts.iter().collect::<BTreeSet<_>>().len(), shorts.len(), "{shorts:?}");
    }
}

#[test]
fn verbs_without_flags() {
    assert_eq!(verb("start a b c"), Verb::Start(words("a b c")));
    assert_eq!(verb("state c1"), Verb::State(State { id: "c1".to_owned(), verify: false }));
    assert_eq!(verb("pause c1"), Verb::Pause("c1".to_owned()));
    assert_eq!(verb("resume -- -c1"), Verb::Resume("-c1".to_owned()));
    assert_eq!(verb("features"), Verb::Features);
    // an empty ID is an error of the verb, not of the parser
    assert_eq!(verb("state ''"), Verb::State(State::default()));
}

#[test]
fn create_and_run() {
    assert_eq!(verb("create c1"), Verb::Create(create()));
    let want = Create {
        bundle: "/b".into(),
        config: Some("/c.json".into()),
        pid_file: Some("/p".into()),
        pidfd_socket: Some("/s".into()),
        ..create()
    };
    assert_eq!(verb("create -b /b -f /c.json --pid-file=/p --pidfd-socket=/s c1"), Verb::Create(want.clone()));
    assert_eq!(verb("create c1 -b/b -f=/c.json --pid-file /p --pidfd-socket /s"), Verb::Create(want.clone()));
    let run = Run { create: want, detach: true, keep: true };
    assert_eq!(verb("run -d --keep -b /b -f /c.json --pid-file /p --pidfd-socket /s c1"), Verb::Run(run));
    // Go programs pass an empty value for an unset one
    assert_eq!(verb("create --bundle= --config= --console-socket= --pid-file '' c1"), Verb::Create(create()));
    let most = Create { preserve_fds: 2_147_483_644, ..create() };
    assert_eq!(verb("create --preserve-fds 2147483644 c1"), Verb::Create(most));
}

#[test]
fn flags_given_twice() {
    assert_eq!(verb("create -b /a -b /b --no-pivot --no-pivot c1"), {
        Verb::Create(Create { bundle: "/b".into(), no_pivot: true, ..create() })
    });
    assert_eq!(verb("create --no-pivot --no-pivot=false c1"), Verb::Create(create()));
    assert_eq!(verb("exec -e A=1 --env B=2 -e A=3 -u 1 -u 2 -g 1 -g 2,3 -c cap_kill -c ALL c1 ls"), {
        let lists =
            Exec { env: words("A=1 B=2 A=3"), additional_gids: vec![1, 2, 3], caps: words("cap_kill ALL"), ..exec() };
        Verb::Exec(Box::new(Exec { user: Some("2".to_owned()), command: words("ls"), ..lists }))
    });
    assert_eq!(verb("exec --cgroup a --cgroup cpu,cpuacct:/b c1 ls"), {
        Verb::Exec(Box::new(Exec { cgroup: words("a cpu,cpuacct:/b"), command: words("ls"), ..exec() }))
    });
    let logs = command("--log /a --log /b --log-format json --log-format text state c1").global;
    assert_eq!(logs, Global { log: Some("/b".to_owned()), ..Global::default() });
}

#[test]
fn kill_and_delete_take_flags_anywhere() {
    let kill = |signal: Option<&str>, all, regex| {
        Verb::Kill(Kill { id: "c1".to_owned(), signal: signal.map(str::to_owned), all, regex })
    };
    for (line, want) in [
        ("kill c1", kill(None, false, false)),
        ("kill c1 9", kill(Some("9"), false, false)),
        ("kill c1 SIGTERM", kill(Some("SIGTERM"), false, false)),
        ("kill c1 RTMIN+3", kill(Some("RTMIN+3"), false, false)),
        ("kill -a c1 9", kill(Some("9"), true, false)),
        ("kill c1 --all", kill(None, true, false)),
        ("kill c1 -a KILL", kill(Some("KILL"), true, false)),
        ("kill c1 KILL --all", kill(Some("KILL"), true, false)),
        ("kill -ar c1 KILL", kill(Some("KILL"), true, true)),
    ] {
        assert_eq!(verb(line), want, "{line}");
    }
    for (line, ids, force, regex) in [
        ("delete a", "a", false, false),
        ("delete a b --force", "a b", true, false),
        ("delete a -f b", "a b", true, false),
        ("delete -fr ^a", "^a", true, true),
        ("delete --force=false a", "a", false, false),
    ] {
        assert_eq!(verb(line), Verb::Delete(Delete { ids: words(ids), force, regex }), "{line}");
    }
}

#[test]
fn exec_hands_on_everything_after_the_id() {
    let command = |line: &str| Exec { command: words(line), ..exec() };
    for (line, want) in [
        ("exec c1 ls", command("ls")),
        ("exec c1 sh -c --tty -e A=1 --help -- x", command("sh -c --tty -e A=1 --help -- x")),
        ("exec c1 -t sh", command("-t sh")),
        ("exec c1 -- ls -- -l", command("ls -- -l")),
        ("exec -- c1 ls -l", command("ls -l")),
        ("exec --env -x c1 ls", Exec { env: words("-x"), ..command("ls") }),
        ("exec -td c1 ls", Exec { tty: true, detach: true, ..command("ls") }),
        ("exec -dte A=1 c1 ls -t", Exec { tty: true, detach: true, env: words("A=1"), ..command("ls -t") }),
        ("exec --tty=true c1 ls", Exec { tty: true, ..command("ls") }),
        ("exec --tty=false c1 ls", command("ls")),
        ("exec -t=false c1 ls", command("ls")),
        ("exec -t c1 true", Exec { tty: true, ..command("true") }),
        ("exec -u www:1000 c1 id", Exec { user: Some("www:1000".to_owned()), ..command("id") }),
        ("exec -p /f c1", Exec { process: Some("/f".into()), ..exec() }),
    ] {
        assert_eq!(verb(line), Verb::Exec(Box::new(want)), "{line}");
    }
}

#[test]
fn ps_and_list() {
    let ps = |format, options: &str| Verb::Ps(Ps { id: "c1".to_owned(), format, options: words(options) });
    assert_eq!(verb("ps c1"), ps(Format::Table, ""));
    assert_eq!(verb("ps c1 -ef"), ps(Format::Table, "-ef"));
    assert_eq!(verb("ps --format table c1 -o pid,args --format x"), ps(Format::Table, "-o pid,args --format x"));
    assert_eq!(verb("ps -f json c1"), ps(Format::Json, ""));
    assert_eq!(verb("ps c1 -- aux"), ps(Format::Table, "aux"));
    for (line, format, quiet) in [
        ("list", Format::Table, false),
        ("list -a", Format::Table, false),
        ("list -qa --format=json", Format::Json, true),
        ("list -f table --quiet", Format::Table, true),
    ] {
        assert_eq!(verb(line), Verb::List(List { format, quiet }), "{line}");
    }
}

#[test]
fn update_settings_are_numbers_in_the_order_given() {
    let settings = |line: &str| match verb(line) {
        Verb::Update(update) => update.settings,
        other => panic!("{line}: {other:?}"),
    };
    let pairs =
        |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(
        settings("update --memory-swap -1 --memory 64m --cpu-quota -1 --pids-limit=-1 c1 --cpuset-cpus 0-2,5"),
        pairs(&[
            ("memory-swap", "-1"),
            ("memory", "67108864"),
            ("cpu-quota", "-1"),
            ("pids-limit", "-1"),
            ("cpuset-cpus", "0-2,5"),
        ])
    );
    assert_eq!(settings("update --memory 1g --memory 2K c1"), pairs(&[("memory", "2048")]), "the last one wins");
    assert_eq!(settings("update --memory= --cpuset-mems= c1"), [], "an empty value is none");
    assert_eq!(settings("update --l3-cache-schema L3:0=f;1=f c1"), pairs(&[("l3-cache-schema", "L3:0=f;1=f")]));
    let both = Update { id: "c1".to_owned(), resources: Some("/r".into()), settings: pairs(&[("pids-limit", "5")]) };
    assert_eq!(verb("update -r /r --pids-limit 005 c1"), Verb::Update(Box::new(both)));
}

#[test]
fn events_and_spec() {
    let events = |interval_ms, stats| Verb::Events(Events { id: "c1".to_owned(), interval_ms, stats });
    assert_eq!(verb("events c1"), events(5_000, false));
    assert_eq!(verb("events --stats c1"), events(5_000, true));
    assert_eq!(verb("events c1 --interval 1m30s"), events(90_000, false));
    assert_eq!(verb("events --interval=100ms c1"), events(100, false));
    let want = SpecArgs { bundle: "/b".into(), file: Some("x.json".into()), rootless: true };
    assert_eq!(verb("spec -b /b -f x.json --rootless"), Verb::Spec(want));
    assert_eq!(verb("spec"), Verb::Spec(SpecArgs { bundle: ".".into(), ..SpecArgs::default() }));
}

#[test]
fn global_flags() {
    let global = |line: &str| command(&format!("{line} state c1")).global;
    assert_eq!(global(""), Global::default());
    assert_eq!(global("--debug").log_level, LogLevel::Debug);
    assert_eq!(global("--debug=false --log-level warning").log_level, LogLevel::Warning);
    for (word, want) in [("auto", None), ("true", Some(true)), ("false", Some(false))] {
        assert_eq!(global(&format!("--rootless {word}")).rootless, want, "{word}");
    }
    for (word, want) in [
        ("error", LogLevel::Error),
        ("warning", LogLevel::Warning),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ] {
        assert_eq!(global(&format!("--log-level={word}")).log_level, want, "{word}");
    }
    assert_eq!(global("--cgroup-manager cgroupfs").cgroup_manager, CgroupManager::Cgroupfs);
    assert_eq!(global("--systemd-cgroup=false"), Global::default());
    assert_eq!(global("--systemd-cgroup").cgroup_manager, CgroupManager::Systemd);
    assert_eq!(global("--cgroup-manager systemd"), global("--systemd-cgroup"));
    assert_eq!(global("--systemd-cgroup --cgroup-manager disabled").cgroup_manager, CgroupManager::Disabled);
    assert_eq!(global("--log journald:x").log.as_deref(), Some("journald:x"));
    assert_eq!(global("--log="), Global::default());
}

#[test]
fn paths_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStringExt as _;
    let odd = OsString::from_vec(b"/b\xff".to_vec());
    let line = [OsString::from("croci"), "create".into(), "--bundle".into(), odd.clone(), "c1".into()];
    match parse(line) {
        Outcome::Run(command) => {
            assert_eq!(command.verb, Verb::Create(Create { bundle: odd.into(), ..create() }));
        }
        other => panic!("{other:?}"),
    }
}
