//! Flags of the verb, contexts, outputs, interruption, and builds without root.

use crate::fixture::{over_all, over_one};
use crate::user::User;
use crate::{build, built, context, prints};
use test_support::{bundle, need_root, wait_for};

#[test]
fn the_file_and_the_context_come_from_where_the_caller_says() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        context(
            fixture,
            &[("Dockerfile", "FROM base\nCOPY a /a\n"), ("a", "A\n"), ("sub/File", "FROM base\nCOPY a /b\n")],
        );
        let dir = fixture.sandbox.path("context");
        build(fixture, &["-t", "x"]).out().ok();
        assert_eq!(prints(fixture, "cat /a"), "A");
        build(fixture, &["-t", "x", "-f", "sub/File"]).out().ok();
        assert_eq!(prints(fixture, "cat /b"), "A");
        build(fixture, &["-t", "x", "-f", "-"]).stdin("FROM base\nCOPY a /c\n").out().ok();
        assert_eq!(prints(fixture, "cat /c"), "A");
        fixture.corm(["build", "-t", "x", "-"]).stdin("FROM base\nRUN echo D > /d\n").out().ok();
        assert_eq!(prints(fixture, "cat /d"), "D");
        let tar = fixture.sandbox.path("context.tar");
        fixture.sandbox.program("tar").arg("-C").arg(&dir).arg("-czf").arg(&tar).arg(".").out().ok();
        fixture.corm(["build", "-t", "x", "-"]).stdin(std::fs::read(&tar).unwrap()).out().ok();
        assert_eq!(prints(fixture, "cat /a"), "A");
        fixture.corm(["build", "-t", "x"]).cwd(&dir).out().ok();
        let other = fixture.sandbox.mkdir("other");
        std::fs::write(other.join("o"), "O\n").unwrap();
        let named = format!("more={}", other.display());
        let text = "FROM img\nCOPY --from=more o /o\nRUN --mount=from=more,target=/m cat /m/o > /p\n";
        built(fixture, text, &[], &["--build-context", &named, "--build-context", "img=docker-image://base"]).ok();
        assert_eq!(prints(fixture, "cat /o /p"), "O\nO");
        for bad in [
            &["-f", "none"][..],
            &["--build-context", "x"],
            &["--secret", "x"],
            &["--output", "type=x,dest=y"],
            &["--platform", "x"],
        ] {
            build(fixture, bad).out().fails();
        }
        fixture.no_container_left();
    });
}

#[test]
fn the_result_is_named_printed_and_written() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let ids = fixture.sandbox.path("id");
        let text = "FROM base\nRUN echo 1 > /f\nRUN rm /f; echo 2 > /g\nRUN echo 3 > /h\n";
        let out = built(fixture, text, &[], &["-q", "-t", "y:2", "--iidfile", ids.to_str().unwrap()]).ok();
        assert_eq!((out.stderr.as_str(), out.lines().len()), ("", 1));
        assert_eq!(std::fs::read_to_string(&ids).unwrap(), format!("sha256:{}", out.text()));
        assert_eq!(fixture.inspected("y:2")["Id"], out.text());
        let layers = |name: &str| fixture.inspected(name)["RootFS"]["Layers"].as_array().unwrap().len();
        assert_eq!(layers("x"), 4);
        built(fixture, text, &[], &["--squash"]).ok();
        assert_eq!((layers("x"), prints(fixture, "ls /f /g /h 2>/dev/null; true")), (2, "/g\n/h".to_owned()));
        built(fixture, text, &[], &["--squash-all"]).ok();
        assert_eq!((layers("x"), prints(fixture, "ls /f /g /h 2>/dev/null; true")), (1, "/g\n/h".to_owned()));
        let dest = |kind: &str, name: &str| format!("type={kind},dest={}", fixture.sandbox.path(name).display());
        built(fixture, text, &[], &["-o", &dest("local", "local")]).ok();
        assert_eq!(std::fs::read_to_string(fixture.sandbox.path("local/g")).unwrap(), "2\n");
        built(fixture, text, &[], &["-o", &dest("tar", "t.tar")]).ok();
        crate::fixture::untar(&fixture.sandbox.path("t.tar"), &fixture.sandbox.path("untar"));
        assert_eq!(std::fs::read_to_string(fixture.sandbox.path("untar/h")).unwrap(), "3\n");
        built(fixture, text, &[], &["-o", &dest("oci", "o.tar")]).ok();
        fixture.corm(["load"]).arg(fixture.sandbox.path("o.tar")).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn an_interrupted_build_leaves_nothing() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let text =
            "FROM base AS other\nRUN sleep 1001\nFROM base\nRUN echo begun; sleep 1000\nCOPY --from=other /etc /e\n";
        context(fixture, &[("Containerfile", text)]);
        for signal in [libc::SIGINT, libc::SIGTERM] {
            let proc = build(fixture, &["-t", "x"]).spawn();
            wait_for("the command runs", || proc.stderr().contains("| begun"));
            proc.signal(signal);
            let out = proc.wait().fails();
            assert!(out.stderr.contains("interrupted by signal"), "{out:?}");
            fixture.no_container_left();
        }
        // after SIGKILL the next build removes what it left
        let proc = build(fixture, &["-t", "x"]).spawn();
        wait_for("the command runs", || proc.stderr().contains("| begun"));
        proc.signal(libc::SIGKILL);
        drop(proc.wait());
        context(fixture, &[("Containerfile", "FROM base\nRUN true\n")]);
        build(fixture, &["-t", "x"]).out().ok();
        fixture.corm(["system", "prune"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_user_builds_without_root() {
    need_root!();
    let Some(user) = User::new() else { return };
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("busybox"));
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    let dir = user.sandbox.mkdir("context");
    std::fs::write(dir.join("a"), "A\n").unwrap();
    let text = "FROM base AS one\nCOPY --chown=3:4 a /a\nRUN cat /a > /b && id -u > /u && chown 5:6 /b\nRUN --mount=type=cache,target=/c --mount=target=/m cat /m/a > /c/x && cat /c/x > /d\n\
                FROM base\nCOPY --from=one /a /b /u /d /got/\n";
    std::fs::write(dir.join("Containerfile"), text).unwrap();
    user.corm(&["build", "-t", "x", dir.to_str().unwrap()]).out().ok();
    let again = user.corm(&["build", "-t", "x", dir.to_str().unwrap()]).out().ok();
    assert!(again.stderr.contains("] cached") && !again.stderr.contains("] done"), "{again:?}");
    let script = "cd /got; cat a b u d; stat -c %u:%g a b";
    assert_eq!(user.corm(&["run", "--rm", "x", "sh", "-c", script]).out().ok().text(), "A\nA\n0\nA\n3:4\n5:6");
}

#[test]
fn caches_outputs_agents_and_one_layer_are_the_same_without_root() {
    need_root!();
    let Some(user) = User::new() else { return };
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("busybox"));
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    let (dir, out) = (user.sandbox.mkdir("context"), user.sandbox.mkdir("out"));
    std::os::unix::fs::chown(&out, Some(user.id), Some(user.id)).unwrap();
    let agent = out.join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&agent).unwrap();
    std::os::unix::fs::chown(&agent, Some(user.id), Some(user.id)).unwrap();
    let text = "FROM base\nRUN --mount=type=ssh,required test -S \"$SSH_AUTH_SOCK\" && echo 1 > /f && chown 3:4 /f\nRUN echo 2 > /g\n";
    std::fs::write(dir.join("Containerfile"), text).unwrap();
    let at = |name: &str| out.join(name).display().to_string();
    let ssh = format!("default={}", agent.display());
    let build = |flags: &[&str]| user.corm(&["build", "-t", "x", "--ssh", &ssh]).args(flags).arg(&dir).out().ok();
    build(&["--cache-to", &format!("type=local,dest={}", at("cache"))]);
    user.corm(&["rmi", "x"]).out().ok();
    user.corm(&["system", "prune"]).out().ok();
    let again = build(&["--cache-from", &format!("type=local,src={}", at("cache"))]);
    assert!(!again.stderr.contains("] done") && again.stderr.contains("] cached"), "{again:?}");
    for (kind, file) in [("local", "tree"), ("tar", "tree.tar"), ("oci", "oci.tar"), ("docker", "docker.tar")] {
        build(&["-o", &format!("type={kind},dest={}", at(file))]);
        assert!(out.join(file).exists(), "{kind}");
    }
    assert_eq!(std::fs::read_to_string(out.join("tree/g")).unwrap(), "2\n");
    let list =
        user.sandbox.program("tar").arg("-tvf").arg(out.join("tree.tar")).args(["--numeric-owner", "f"]).out().ok();
    assert!(list.text().contains(" 3/4 "), "{list:?}");
    user.corm(&["load", &at("docker.tar")]).out().ok();
    for (flag, layers) in [("--squash", 2), ("--squash-all", 1)] {
        build(&[flag]);
        let all: test_support::Value = user.corm(&["inspect", "x"]).out().ok().json();
        assert_eq!(all[0]["RootFS"]["Layers"].as_array().unwrap().len(), layers, "{flag}");
        let script = "cat /f /g; stat -c %u:%g /f";
        assert_eq!(user.corm(&["run", "--rm", "x", "sh", "-c", script]).out().ok().text(), "1\n2\n3:4", "{flag}");
    }
}
