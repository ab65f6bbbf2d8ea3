//! Tables of statements, instructions, words and mounts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::mount::{MountType, RunMount, Sharing};
use super::words::Lexer;
use super::*;

/// Parses one instruction.
fn one(text: &str) -> Instruction {
    let mut file = parse("f", text.as_bytes()).unwrap_or_else(|err| panic!("{text:?}: {err:#}"));
    assert_eq!(file.steps.len(), 1, "{text:?}");
    file.steps.remove(0).instruction
}

fn error(text: &str) -> String {
    match parse("Containerfile", text.as_bytes()) {
        Ok(file) => panic!("{text:?} is accepted: {file:?}"),
        Err(err) => format!("{err:#}"),
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn lines_are_joined_and_comments_left_out() {
    let text = "\u{feff}# syntax=docker/dockerfile:1\n# escape=`\n# a comment\n\nfrom a `\n# in between\n\n  as b  \r\nRUN x ``\nCMD y\n";
    let file = parse("f", text.as_bytes()).unwrap();
    assert_eq!(file.escape, '`');
    let lines: Vec<(usize, &str)> =
        file.steps.iter().map(|step| (step.statement.line, step.statement.text.as_str())).collect();
    assert_eq!(lines, [(5, "from a   as b"), (9, "RUN x ``"), (10, "CMD y")]);
    let late = parse("f", b"\n# escape=`\nRUN a \\\nb").unwrap();
    assert_eq!((late.escape, late.steps.len()), ('\\', 1));
}

#[test]
fn heredocs_are_read_to_their_end() {
    let text = "RUN <<-A cat <<'B'\n\tone $x\n\tA\ntwo\nB\nCOPY <<\"f.txt\" /d/\nBODY\nf.txt\nRUN [\"<<A\"]\n";
    let file = parse("f", text.as_bytes()).unwrap();
    let docs = &file.steps[0].statement.heredocs;
    assert_eq!(docs.len(), 2);
    assert_eq!((docs[0].name.as_str(), docs[0].expand, docs[0].chomp), ("A", true, true));
    assert_eq!((docs[0].content.as_str(), docs[0].text().as_str()), ("\tone $x\n", "one $x\n"));
    assert_eq!((docs[1].expand, docs[1].content.as_str()), (false, "two\n"));
    let Instruction::Copy(copy) = &file.steps[1].instruction else { panic!("no COPY") };
    assert_eq!((copy.sources.len(), copy.heredocs[0].name.as_str(), copy.heredocs[0].expand), (0, "f.txt", false));
    assert_eq!(file.steps.len(), 3);
    assert!(error("RUN <<E\nx\n").contains("Containerfile:1: \"RUN <<E\": the here-document \"E\" has no end"));
    let Instruction::OnBuild(text) = one("ONBUILD RUN <<E\nx\nE\n") else { panic!("no ONBUILD") };
    assert_eq!(text, "RUN <<E\nx\nE");
    assert_eq!(parse_trigger("t", &text).unwrap().statement.heredocs[0].content, "x\n");
}

#[test]
fn instructions_are_parsed() {
    let from =
        Instruction::From { image: "a:1".into(), name: Some("b-2".into()), platform: Some("linux/arm64".into()) };
    assert_eq!(one("FROM --platform=linux/arm64 a:1 As B-2"), from);
    assert_eq!(one("CMD echo  hi"), Instruction::Cmd(Command::Shell("echo  hi".into())));
    assert_eq!(one("CMD [ \"a\", \"b c\" ]"), Instruction::Cmd(Command::Exec(strings(&["a", "b c"]))));
    assert_eq!(one("CMD [a]"), Instruction::Cmd(Command::Shell("[a]".into())));
    assert_eq!(one("ENTRYPOINT []"), Instruction::Entrypoint(Command::Exec(vec![])));
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect::<Vec<_>>();
    assert_eq!(
        one("ENV a=1 b=\"x y\" c=x\\ y"),
        Instruction::Env(pairs(&[("a", "1"), ("b", "\"x y\""), ("c", "x\\ y")]))
    );
    assert_eq!(one("ENV a  b=c d"), Instruction::Env(pairs(&[("a", "b=c d")])));
    assert_eq!(one("LABEL \"a b\"=c"), Instruction::Label(pairs(&[("\"a b\"", "c")])));
    assert_eq!(one("ARG a b=c"), Instruction::Arg(vec![("a".into(), None), ("b".into(), Some("c".into()))]));
    assert_eq!(one("VOLUME [\"/a b\"]"), Instruction::Volume(strings(&["/a b"])));
    assert_eq!(one("EXPOSE 80 $P/udp"), Instruction::Expose(strings(&["80", "$P/udp"])));
    let Instruction::Copy(copy) = one("COPY --from=x --chown=a:b --link --exclude=*.o --exclude=c --parents a b /d/")
    else {
        panic!("no COPY")
    };
    assert_eq!((copy.from.as_deref(), copy.chown.as_deref(), copy.link), (Some("x"), Some("a:b"), true));
    assert_eq!((copy.exclude, copy.parents, copy.sources), (strings(&["*.o", "c"]), true, strings(&["a", "b"])));
    let Instruction::Healthcheck(check) = one("HEALTHCHECK --interval=1m30s --retries=3 CMD [\"a\"]") else { panic!() };
    assert_eq!((check.times[0], check.retries), (Some(std::time::Duration::from_secs(90)), Some(3)));
    let Instruction::Run(run) = one("RUN --mount=type=cache,target=/c,sharing=locked --network=none make") else {
        panic!()
    };
    assert_eq!((run.mounts[0].kind, run.mounts[0].sharing), (MountType::Cache, Sharing::Locked));
    assert_eq!((run.network.as_deref(), run.command), (Some("none"), Command::Shell("make".into())));
}

#[test]
fn errors_name_file_line_and_instruction_and_show_the_line() {
    for (text, wanted) in [
        ("FROM a\n\nNOPE x", "Containerfile:3: \"NOPE x\": NOPE: is no instruction"),
        ("FROM a b", "Containerfile:1: \"FROM a b\": FROM: not of the form"),
        ("FROM a AS 1", "is no name of a stage"),
        ("FROM a AS scratch", "reserved"),
        ("COPY a", "COPY: needs a source and a destination"),
        ("COPY --nope a b", "--nope: is no flag of COPY"),
        ("COPY --from a b", "--from: needs a value"),
        ("COPY --from=a --from=b c d", "--from: is given twice"),
        ("RUN --mount=type=x,target=/a y", "--mount=\"type=x,target=/a\": type=\"x\""),
        ("RUN --mount=type=cache y", "needs target"),
        ("RUN", "RUN: needs an operand"),
        ("RUN []", "is empty"),
        ("RUN [1]", "strings only"),
        ("SHELL sh", "needs a JSON list"),
        ("ENV a", "not of the form NAME=VALUE"),
        ("ENV a=b c", "not of the form NAME=VALUE"),
        ("ENV =b", "the name is empty"),
        ("HEALTHCHECK FOO", "neither CMD nor NONE"),
        ("HEALTHCHECK --interval=x CMD a", "--interval=\"x\""),
        ("ONBUILD FROM a", "may not be an ONBUILD trigger"),
        ("# escape=x\nFROM a", "Containerfile:1: escape="),
        ("# escape=`\n# escape=`\nFROM a", "is given twice"),
        ("", "has no instruction"),
        ("RUN a\0b", "has a NUL"),
    ] {
        let err = error(text);
        assert!(err.starts_with("Containerfile:") && err.contains(wanted), "{text:?}: {err}");
    }
    assert!(format!("{:#}", parse("C", b"FROM a\nRUN \xff").unwrap_err()).starts_with("C:2:"));
}

#[test]
fn variables_are_expanded_with_their_modifiers() {
    let lookup = |name: &str| match name {
        "a" => Some("one".to_owned()),
        "empty" => Some(String::new()),
        "path" => Some("/x/foo.tar.gz".to_owned()),
        "two" => Some("p q".to_owned()),
        "ba" => Some("bar-baz-bar".to_owned()),
        _ => None,
    };
    let lexer = Lexer::new('\\', &lookup);
    for (text, wanted) in [
        ("$a", "one"),
        ("${a}x", "onex"),
        ("$ab", ""),
        ("\\$a", "$a"),
        ("'$a'", "$a"),
        ("\"$a b\"", "one b"),
        ("\"\\$a\\x\\\"\"", "$a\\x\""),
        ("a\\ b", "a b"),
        ("${none:-d}", "d"),
        ("${empty:-d}", "d"),
        ("${empty-d}", ""),
        ("${none-d}", "d"),
        ("${a:+y}", "y"),
        ("${empty:+y}", ""),
        ("${empty+y}", "y"),
        ("${none:+y}", ""),
        ("${none:-${a:+$two}}", "p q"),
        ("${a:?bad}", "one"),
        ("${path#*/}", "x/foo.tar.gz"),
        ("${path##*/}", "foo.tar.gz"),
        ("${path%.*}", "/x/foo.tar"),
        ("${path%%.*}", "/x/foo"),
        ("${path%nope}", "/x/foo.tar.gz"),
        ("${ba/bar/x}", "x-baz-bar"),
        ("${ba//bar/x}", "x-baz-x"),
        ("${ba//ba?/$a}", "one-one-one"),
        ("${ba/b*/x}", "x"),
        ("$", "$"),
        ("5$", "5$"),
        ("$$x", "x"),
        ("日本$a", "日本one"),
    ] {
        assert_eq!(lexer.word(text).unwrap(), wanted, "{text}");
    }
    for bad in ["${", "${a", "${a:", "${a:x}", "${a!x}", "'", "\"", "${none:?}", "${none?gone}", "${}", "${a:-x"] {
        let err = format!("{:#}", lexer.word(bad).unwrap_err());
        assert!(!err.is_empty() && !err.contains('\n'), "{bad}: {err}");
    }
    assert_eq!(format!("{:#}", lexer.word("${none:?gone}").unwrap_err()), "none: gone");
    assert_eq!(lexer.words("a $two \"$two\" '' x\\ y").unwrap(), ["a", "p", "q", "p q", "", "x y"]);
    assert_eq!(Lexer::new('`', &lookup).word("`$a C:\\x").unwrap(), "$a C:\\x");
    let growing = |_: &str| Some("x".repeat(1 << 19));
    assert!(Lexer::new('\\', &growing).word("$a$a$a").is_err());
}

#[test]
fn mounts_are_parsed() {
    let mount = RunMount::parse("type=bind,from=x,source=/s,dst=/d,rw").unwrap();
    assert_eq!((mount.from.as_deref(), mount.source.as_deref()), (Some("x"), Some("/s")));
    assert_eq!((mount.target.as_deref(), mount.writable), (Some("/d"), Some(true)));
    let secret = RunMount::parse("type=secret,id=a,required,mode=0440,uid=1,env=A").unwrap();
    assert!(secret.required && secret.env.as_deref() == Some("A"));
    assert_eq!(RunMount::parse("type=tmpfs,\"target=/a,b\",size=1m").unwrap().target.as_deref(), Some("/a,b"));
    for bad in [
        "",
        "target",
        "type=tmpfs,target=/a,from=x",
        "type=bind,target=/a,size=1",
        "type=cache,target=/a,x=1",
        "type=secret,id=a,required=maybe",
        "type=bind,target=/a,sharing=locked",
        "type=cache,target=/a,sharing=x",
        "type=bind,from=$x,target=/a",
    ] {
        assert!(RunMount::parse(bad).is_err(), "{bad}");
    }
    let later = RunMount::parse("type=$t,from=x,target=/a,id=$t").unwrap();
    assert_eq!((later.from.as_deref(), later.target.as_deref()), (Some("x"), None));
    let expanded = later.expanded(&|text| Ok(text.replace("$t", "cache"))).unwrap();
    assert_eq!(
        (expanded.kind, expanded.id.as_deref(), expanded.target.as_deref()),
        (MountType::Cache, Some("cache"), Some("/a"))
    );
    assert!(later.expanded(&|text| Ok(text.replace("$t", "x"))).is_err());
}
