//! Errors of usage, and the texts that croci prints.

use super::super::syntax::{GLOBAL, VERBS};
use super::*;
use base::cli_parser::FlagKind;

#[test]
fn op_1_a_verb_without_its_operands() {
    for (line, want) in [
        ("create", "\"croci create\" requires exactly 1 argument (ID), got 0"),
        ("create a b", "\"croci create\" requires exactly 1 argument (ID), got 2"),
        ("run", "\"croci run\" requires exactly 1 argument (ID), got 0"),
        ("start", "\"croci start\" requires at least 1 argument (ID...), got 0"),
        ("state", "\"croci state\" requires exactly 1 argument (ID), got 0"),
        ("state a b", "\"croci state\" requires exactly 1 argument (ID), got 2"),
        ("kill", "\"croci kill\" requires at least 1 argument (ID [SIGNAL]), got 0"),
        ("kill --all", "\"croci kill\" requires at least 1 argument (ID [SIGNAL]), got 0"),
        ("kill a 9 b", "\"croci kill\" requires at most 2 arguments (ID [SIGNAL]), got 3"),
        ("delete --force", "\"croci delete\" requires at least 1 argument (ID...), got 0"),
        ("exec -t", "\"croci exec\" requires at least 1 argument (ID COMMAND [ARG...] | --process FILE ID), got 0"),
        ("ps", "\"croci ps\" requires at least 1 argument (ID [PS OPTIONS]), got 0"),
        ("pause", "\"croci pause\" requires exactly 1 argument (ID), got 0"),
        ("resume", "\"croci resume\" requires exactly 1 argument (ID), got 0"),
        ("update --memory 1g", "\"croci update\" requires exactly 1 argument (ID), got 0"),
        ("events", "\"croci events\" requires exactly 1 argument (ID), got 0"),
        ("list x", "\"croci list\" requires exactly 0 arguments, got 1"),
        ("spec x", "\"croci spec\" requires exactly 0 arguments, got 1"),
        ("features x", "\"croci features\" requires exactly 0 arguments, got 1"),
        ("exec c1", "exec: a COMMAND, or --process FILE, must be given"),
        ("exec --process /f c1 ls", "exec: a COMMAND and --process FILE exclude each other"),
    ] {
        let (message, usage) = refused(line);
        assert_eq!(message, want, "{line}");
        let verb = line.split(' ').next().unwrap();
        assert!(usage.starts_with(&format!("Usage: croci {verb} ")), "{line}: {usage}");
    }
}

#[test]
fn unknown_flags_and_verbs() {
    for (line, message, usage) in [
        ("frobnicate c1", "unknown verb \"frobnicate\"", "Usage: croci [FLAGS] VERB"),
        ("help frobnicate", "unknown verb \"frobnicate\": No help topic for 'frobnicate'", "Usage: croci [FLAGS] VERB"),
        ("frobnicate -h", "unknown verb \"frobnicate\": No help topic for 'frobnicate'", "Usage: croci [FLAGS] VERB"),
        ("--frob create c1", "unknown flag \"--frob\"", "Usage: croci [FLAGS] VERB"),
        ("-frob create c1", "unknown flag \"-f\"", "Usage: croci [FLAGS] VERB"),
        ("create --frob c1", "create: unknown flag \"--frob\"", "Usage: croci create [FLAGS] ID"),
        ("create --frob=1 c1", "create: unknown flag \"--frob\"", "Usage: croci create [FLAGS] ID"),
        (
            "create --root /r c1",
            "create: unknown flag \"--root\" (a flag of croci itself: give it before the verb)",
            "Usage: croci create [FLAGS] ID",
        ),
        ("craete c1", "unknown verb \"craete\" (did you mean \"create\"?)", "Usage: croci [FLAGS] VERB"),
        ("--rot /r list", "unknown flag \"--rot\" (did you mean \"--root\"?)", "Usage: croci [FLAGS] VERB"),
        (
            "create --bundl /r c1",
            "create: unknown flag \"--bundl\" (did you mean \"--bundle\"?)",
            "Usage: croci create [FLAGS] ID",
        ),
        ("kill c1 -9", "kill: unknown flag \"-9\"", "Usage: croci kill [FLAGS] ID [SIGNAL]"),
        ("start --attach c1", "start: unknown flag \"--attach\"", "Usage: croci start [FLAGS] ID..."),
        ("exec -x c1 ls", "exec: unknown flag \"-x\"", "Usage: croci exec [FLAGS] ID COMMAND [ARG...]"),
        ("features --json", "features: unknown flag \"--json\"", "Usage: croci features [FLAGS]"),
    ] {
        let (got, text) = refused(line);
        assert_eq!(got, message, "{line}");
        assert!(text.starts_with(usage), "{line}: {text}");
    }
}

#[test]
fn cl_4_a_flag_without_its_value() {
    for syntax in VERBS {
        for flag in syntax.flags.iter().copied().flatten().filter(|flag| flag.kind.takes_value()) {
            let line = format!("{} --{}", syntax.name, flag.name);
            assert_eq!(refused(&line).0, format!("{}: --{} requires an argument", syntax.name, flag.name));
            let line = format!("{} c1 -{}", syntax.name, flag.name);
            if !syntax.has_trailing_args {
                assert_eq!(refused(&line).0, format!("{}: --{} requires an argument", syntax.name, flag.name));
            }
        }
    }
    for flag in GLOBAL.iter().copied().flatten().filter(|flag| flag.kind.takes_value()) {
        assert_eq!(refused(&format!("--{}", flag.name)).0, format!("--{} requires an argument", flag.name));
    }
    assert_eq!(refused("create c1 -b").0, "create: --bundle requires an argument");
}

#[test]
fn values_out_of_place() {
    for (line, want) in [
        ("--log-format xml state c1", "--log-format \"xml\": must be one of text, json"),
        ("--log-level loud state c1", "--log-level \"loud\": must be one of error, warning, info, debug"),
        ("--rootless maybe state c1", "--rootless \"maybe\": must be auto, true or false"),
        ("--cgroup-manager x state c1", "--cgroup-manager \"x\": must be one of cgroupfs, systemd, disabled"),
        ("--root= state c1", "--root: is empty"),
        ("--debug=x state c1", "--debug \"x\": must be true or false"),
        ("create --preserve-fds x c1", "create: --preserve-fds \"x\": must be a number from 0 to 2147483644"),
        ("create --preserve-fds -1 c1", "create: --preserve-fds \"-1\": must be a number from 0 to 2147483644"),
        ("create --no-pivot=x c1", "create: --no-pivot \"x\": must be true or false"),
        ("exec --tty=maybe c1 ls", "exec: --tty \"maybe\": must be true or false"),
        ("exec -g x c1 ls", "exec: --additional-gids \"x\": must be a number from 0 to 4294967294"),
        ("exec -g 1,4294967295 c1 ls", "exec: --additional-gids \"4294967295\": must be a number from 0 to 4294967294"),
        ("ps -f xml c1", "ps: --format \"xml\": must be one of table, json"),
        ("list --format=", "list: --format \"\": must be one of table, json"),
        ("update --memory x c1", "update: --memory \"x\": must be a size like 512, 64k, 10m or 1g, or -1 for no limit"),
        (
            "update --memory -2 c1",
            "update: --memory \"-2\": must be a size like 512, 64k, 10m or 1g, or -1 for no limit",
        ),
        (
            "update --memory-swap 9e9g c1",
            "update: --memory-swap \"9e9g\": must be a size like 512, 64k, 10m or 1g, or -1 for no limit",
        ),
        ("update --pids-limit 1k c1", "update: --pids-limit \"1k\": must be a number, or -1 for no limit"),
        ("update --cpu-idle 2 c1", "update: --cpu-idle \"2\": must be a number from 0 to 1"),
        ("update --blkio-weight 65536 c1", "update: --blkio-weight \"65536\": must be a number from 0 to 65535"),
        ("events --interval 0s c1", "events: --interval \"0s\": must be above 0"),
        ("events --interval -5s c1", "events: --interval \"-5s\": must be above 0"),
        ("events --interval 5 c1", "events: --interval \"5\": must be a duration like 5s, 500ms or 1m30s"),
    ] {
        assert_eq!(refused(line).0, want, "{line}");
    }
}

#[test]
fn an_error_knows_where_the_log_is() {
    let want = Global { log: Some("/l".to_owned()), log_format: LogFormat::Json, ..Global::default() };
    for line in [
        "--log /l --log-format json create --frob",
        "--log /l --log-format json create",
        "--log /l --log-format json frobnicate",
        "--log /l --log-format json mounts c1",
        "--log /l --log-format json --cgroup-manager x create c1",
        "--log /l --log-format json --frob create c1",
        "--log /l --log-format json --root",
        "--log /l --frob --log-format json create c1",
        "--frob --help --log /l -v --log-format json create c1",
    ] {
        match outcome(line) {
            Outcome::Usage { global, .. } => assert_eq!(*global, want, "{line}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn messages_are_one_line() {
    let words = ["croci", "create", "--a\nb", "c1"];
    let twice = ["croci", "a\nb"];
    for line in [&words[..], &twice[..]] {
        match parse(line.iter().map(OsString::from)) {
            Outcome::Usage { error, .. } => assert!(!error.message.contains('\n'), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    use std::os::unix::ffi::OsStringExt as _;
    let odd = ["croci".into(), "state".into(), OsString::from_vec(b"c\xff".to_vec())];
    match parse(odd) {
        Outcome::Usage { error, .. } => assert_eq!(error.message, "state: \"c\\xFF\" is not UTF-8"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn any_words_in_any_order_get_an_answer() {
    const ODD: &[&str] = &[
        "",
        "-",
        "--",
        "---",
        "-=",
        "--=",
        "-\u{e9}",
        "--\u{e9}=\u{e9}",
        "=",
        "c1",
        "-1",
        "9",
        "-tdx",
        "-b=",
        "true",
        "a\nb",
    ];
    let verbs = VERBS.iter().map(|verb| verb.name);
    let flags = VERBS.iter().map(|verb| verb.flags).chain([GLOBAL]).flat_map(|lists| lists.iter().copied().flatten());
    let dashed = flags.flat_map(|flag| [format!("--{}", flag.name), format!("-{}=x", flag.name)]);
    let words: Vec<String> = verbs.chain(ODD.iter().copied()).map(str::to_owned).chain(dashed).collect();
    let mut seed: u64 = 1; // the same lines each time
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..3_000 {
        // half of the lines have a verb
        let lead = if next(2) == 0 { vec![VERBS[next(VERBS.len())].name.to_owned()] } else { Vec::new() };
        let line: Vec<_> = lead.into_iter().chain((0..next(6)).map(|_| words[next(words.len())].clone())).collect();
        match parse(std::iter::once("croci".to_owned()).chain(line.clone()).map(OsString::from)) {
            Outcome::Usage { error, .. } => {
                let message = error.message;
                assert!(!message.is_empty() && !message.contains('\n'), "{line:?}: {message:?}");
                assert!(!message.contains("error:") && !message.contains("''"), "{line:?}: clap's words: {message:?}");
            }
            Outcome::Print(text) => assert!(text.ends_with('\n'), "{line:?}"),
            Outcome::Run(_) => {}
        }
    }
}

#[test]
fn help_names_every_verb_and_flag() {
    let text = shown("--help");
    for line in ["-h", "-?", "--usage", "-help", "help", "--log /l --help create"] {
        assert_eq!(shown(line), text, "{line}");
    }
    for flag in GLOBAL.iter().copied().flatten() {
        assert!(text.contains(&format!("--{}", flag.name)), "{}", flag.name);
    }
    for syntax in VERBS {
        assert!(text.contains(&format!("\n  {} ", syntax.name)), "{}", syntax.name);
        let help = shown(&format!("{} --help", syntax.name));
        assert!(help.starts_with(&format!("NAME:\n   croci {} - ", syntax.name)), "{help}");
        assert!(help.contains(&format!("Usage: croci {} [FLAGS]", syntax.name)), "{help}");
        for line in ["-h", "-?", "--usage"] {
            assert_eq!(shown(&format!("{} {line}", syntax.name)), help);
        }
        assert_eq!(shown(&format!("help {}", syntax.name)), help);
        for flag in syntax.flags.iter().copied().flatten() {
            let value = if flag.kind == FlagKind::Switch { "" } else { flag.value };
            assert!(help.contains(format!("--{} {value}", flag.name).trim_end()), "{} {}", syntax.name, flag.name);
        }
    }
    assert!(shown("update --help").contains("--resources"), "Podman looks for it");
}

#[test]
fn cl_4_version() {
    for line in ["--version", "-v", "-V", "-version", "version", "--log /l --version", "--log /l version"] {
        let text = shown(line);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], format!("croci version {}", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: ") && lines[1].len() > "commit: ".len(), "{text}");
        assert_eq!(lines[2], "spec: 1.3.0");
        assert!(lines[3].split(' ').all(|word| word.starts_with('+')), "{text}");
        assert_eq!(lines.len(), 4);
    }
}

#[test]
fn without_a_verb_the_help_is_shown_as_by_runc() {
    let help = shown("--help");
    for line in ["", "help", "--log /l", "-h"] {
        assert_eq!(shown(line), help, "{line}");
    }
    for syntax in VERBS {
        let help = shown(&format!("help {}", syntax.name));
        assert_eq!(help, shown(&format!("{} --help", syntax.name)));
        for part in ["\nExample:\n  ", "\nExit status: ", "stand before the verb"] {
            assert!(help.contains(part), "{}: {help}", syntax.name);
        }
    }
}
