//! Instructions that change the configuration, stages, arguments and triggers.

use crate::fixture::{over_all, over_one};
use crate::{built, config, prints};
use test_support::{Value, need_root};

/// Returns the part of a configuration at these keys.
fn of(config: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), config[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn a_first_image_is_built() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let text = "FROM base\nCOPY a.txt /d/\nRUN echo $A > /out && mkdir /m && rm /etc/group\nENV B=2\nCMD [\"cat\", \"/out\"]\n";
        let out =
            built(fixture, &text.replace("FROM base\n", "FROM base\nENV A=one\n"), &[("a.txt", "text\n")], &[]).ok();
        assert!(out.text().len() == 64, "{out:?}");
        assert_eq!(fixture.run(&["--rm"], "x", &[]).out().ok().text(), "one");
        assert_eq!(
            prints(fixture, "cat /d/a.txt; stat -c %u:%g:%a /d/a.txt; ls -d /m; ls /etc/group 2>&1 | wc -l; echo $B"),
            "text\n0:0:644\n/m\n1\n2"
        );
        assert_eq!(fixture.inspected("x")["Id"], out.text());
        fixture.no_container_left();
        fixture.corm(["fsck"]).out().ok();
    });
}

#[test]
fn the_configuration_is_as_the_instructions_say() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "FROM base\nARG v=1\nENV A=$v B=\"x y\" C=${none:-d}\nENV D some text\nLABEL l=\"a $A\" m=n\nEXPOSE 80 $v-3/udp\n\
                    VOLUME [\"/data\", \"/w\"]\nVOLUME /z\nUSER 12:34\nWORKDIR /a\nWORKDIR b/$A\nSTOPSIGNAL SIGUSR1\n\
                    SHELL [\"/bin/sh\", \"-ec\"]\nCMD echo hi\nENTRYPOINT [\"/e\", \"$A\"]\nCMD run $A\n\
                    HEALTHCHECK --interval=5s --retries=2 CMD true\nONBUILD RUN echo on\nMAINTAINER me <a@b>\n";
        built(fixture, text, &[], &["--label", "given=1", "--annotation", "note=2"]).ok();
        let config = config(fixture);
        let env: Vec<&str> = config["Env"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        assert_eq!(env[1..], ["A=1", "B=x y", "C=d", "D=some text"]);
        let wanted = serde_json::json!({
            "Labels": {"l": "a 1", "m": "n", "given": "1"},
            "ExposedPorts": {"80/tcp": {}, "1/udp": {}, "2/udp": {}, "3/udp": {}},
            "Volumes": {"/data": {}, "/w": {}, "/z": {}},
            "User": "12:34", "WorkingDir": "/a/b/1", "StopSignal": "SIGUSR1",
            "Shell": ["/bin/sh", "-ec"], "Entrypoint": ["/e", "$A"], "Cmd": ["/bin/sh", "-ec", "run $A"],
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000_u64, "Retries": 2},
            "OnBuild": ["RUN echo on"],
        });
        let keys: Vec<&str> = wanted.as_object().unwrap().keys().map(String::as_str).collect();
        let found: Value =
            serde_json::from_str(fixture.corm(["inspect", "x", "--format", "{{json .Config}}"]).out().ok().text())
                .unwrap();
        assert_eq!(of(&found, &keys), wanted);
        assert_eq!(fixture.inspected("x")["Author"], "me <a@b>");
    });
}

#[test]
fn stages_are_built_as_far_as_they_are_needed() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let text = "ARG from=base\nFROM $from AS one\nRUN echo 1 > /one\nFROM base AS broken\nRUN false\n\
                    FROM one AS two\nRUN cat /one > /two\nFROM scratch AS last\nCOPY --from=two /two /x/\nCOPY --from=0 /one /\n\
                    COPY --from=base /bin /bin\nCOPY --from=base /etc/passwd /etc/\n";
        built(fixture, text, &[], &[]).ok();
        assert_eq!(prints(fixture, "cat /x/two /one; ls /"), "1\n1\nbin\ndev\netc\none\nproc\nsys\nx");
        let out = built(fixture, text, &[], &["--target", "broken"]).fails();
        assert!(out.stderr.contains("Containerfile:5: \"RUN false\": the command failed with status 1"), "{out:?}");
        built(fixture, text, &[], &["--target", "TWO"]).ok();
        assert_eq!(prints(fixture, "cat /two"), "1");
        let out = built(fixture, text, &[], &["--target", "none"]).fails();
        assert!(out.stderr.contains("--target \"none\""), "{out:?}");
        // a name that two stages have is the last one's before its use
        let text = "FROM base AS a\nRUN echo 1 > /n\nFROM base\nCOPY --from=a /n /one\nFROM base AS A\nRUN echo 2 > /n\n\
                    FROM base\nCOPY --from=1 /one /\nCOPY --from=a /n /two\n";
        let out = built(fixture, text, &[], &[]).ok();
        assert!(out.stderr.contains("\"FROM base AS A\": \"a\": a stage before has this name"), "{out:?}");
        assert_eq!(prints(fixture, "cat /one /two"), "1\n2");
        fixture.no_container_left();
    });
}

#[test]
fn arguments_have_their_scopes() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "ARG g=global\nARG tag=base\nFROM $tag\nRUN echo \"[$g]\" > /a\nARG g\nARG h=default\nARG TARGETARCH\nENV e=env\nARG e=arg\n\
                    RUN echo \"[$g][$h][$e][$TARGETARCH]\" > /b; env | grep -c TARGETOS > /c; true\n";
        let out = built(fixture, text, &[], &["--build-arg", "h=given", "--build-arg", "nothing=1"]).ok();
        assert!(out.stderr.contains("no ARG declares nothing"), "{out:?}");
        let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        assert_eq!(prints(fixture, "cat /a /b /c"), format!("[]\n[global][given][env][{arch}]\n0"));
        assert!(!config(fixture)["Env"].to_string().contains("given"));
    });
}

#[test]
fn triggers_run_in_the_image_on_top() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let parent = "FROM base\nONBUILD COPY a /a\nONBUILD RUN cat /a > /b\n";
        built(fixture, parent, &[("a", "late\n")], &[]).ok();
        fixture.corm(["tag", "x", "parent"]).out().ok();
        built(fixture, "FROM parent\nRUN cat /b > /c\n", &[("a", "late\n")], &[]).ok();
        assert_eq!(prints(fixture, "cat /c"), "late");
        assert!(config(fixture)["OnBuild"].is_null());
        // not a second time
        fixture.corm(["tag", "x", "child"]).out().ok();
        built(fixture, "FROM child\nRUN true\n", &[], &[]).ok();
    });
}

#[test]
fn errors_name_the_line_and_leave_nothing() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for (text, wanted) in [
            ("FROM base\n\nNOPE\n", "Containerfile:3: \"NOPE\": NOPE: is no instruction"),
            (
                "FROM base\nCOPY none /\n",
                "Containerfile:2: \"COPY none /\": \"none\": no such file or directory in the context",
            ),
            ("FROM base\nRUN exit 7\n", "Containerfile:2: \"RUN exit 7\": the command failed with status 7"),
            ("FROM base\nRUN [\"/none\"]\n", "Containerfile:2: \"RUN [\"/none\"]\""),
            ("FROM base\nUSER a b\n", "Containerfile:2: \"USER a b\": USER"),
            ("FROM base\nENV a=${b:?gone}\n", "b: gone"),
            ("FROM base\nRUN (kill -9 $$)\nRUN no-such-program\n", "Containerfile:3:"),
            ("RUN x\n", "no FROM is before it"),
        ] {
            let out = built(fixture, text, &[], &[]).fails().one_line_last();
            assert!(out.contains(wanted), "{text:?}: {out}");
        }
        fixture.no_container_left();
    });
}

/// The last line of standard error.
trait LastLine {
    fn one_line_last(self) -> String;
}

impl LastLine for test_support::Out {
    fn one_line_last(self) -> String {
        self.stderr.lines().last().unwrap_or_default().to_owned()
    }
}

#[test]
fn a_trigger_names_stages_that_nothing_else_needs() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        // the trigger of a stage of this file, and that of an image
        let text = "FROM base AS src\nRUN echo 12 > /file\nFROM base AS top\nONBUILD COPY --from=src /file /foo\n\
                    FROM top AS mid\nRUN cp /foo /bar\nFROM base\nCOPY --from=mid /bar /\n";
        built(fixture, text, &[], &[]).ok();
        assert_eq!(prints(fixture, "cat /bar"), "12");
        built(fixture, "FROM base\nONBUILD COPY --from=early /file /foo\n", &[], &["-t", "trigger"]).ok();
        let text = "FROM base AS early\nRUN echo 13 > /file\nFROM trigger\n";
        built(fixture, text, &[], &[]).ok();
        assert_eq!(prints(fixture, "cat /foo"), "13");
        let out = built(fixture, &text.replace("echo 13", "false"), &[], &[]).fails();
        assert!(out.stderr.contains("RUN false"), "the cause is named: {out:?}");
        fixture.no_container_left();
    });
}
