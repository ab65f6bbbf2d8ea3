//! Flags of `build` as Docker, Podman and Buildah have them: what is set in the image, which stages run, indexes, files.

use std::os::unix::fs::MetadataExt as _;

use crate::fixture::{CormFixture, over_all, over_one};
use crate::{build, built, config, context, exported, prints};
use test_support::{Value, need_root};

/// Returns the document of an index of the store.
fn index(fixture: &CormFixture, name: &str) -> Value {
    fixture.corm(["manifest", "inspect", name]).out().ok().json()
}

/// Returns the architectures of an index of the store.
fn architectures(fixture: &CormFixture, name: &str) -> Vec<String> {
    let document = index(fixture, name);
    let of = |entry: &Value| entry["platform"]["architecture"].as_str().unwrap().to_owned();
    document["manifests"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn flags_that_ask_for_what_is_done_anyway_are_taken() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let flags = "--rm --rm=false --force-rm --layers --load --compress -D --disable-content-trust --isolation oci \
                     --format oci --provenance=false --sbom=false --identity-label=false --skip-unused-stages --jobs 1";
        built(fixture, "FROM base\nRUN echo 1 > /f\n", &[], &flags.split_whitespace().collect::<Vec<_>>()).ok();
        assert_eq!(prints(fixture, "cat /f"), "1");
        for (flags, named) in [
            (&["--isolation", "chroot"][..], "--isolation"),
            (&["--provenance", "mode=max"], "--provenance"),
            (&["--sbom=true"], "--sbom"),
            (&["--rm=maybe"], "--rm"),
            (&["--jobs", "x"], "--jobs"),
            (&["--format", "x"], "--format"),
            (&["--allow", "all"], "--allow"),
            (&["--timestamp", "x"], "--timestamp"),
            (&["--env", "=x"], "--env"),
            (&["--volume", "name:/x"], "--volume"),
            (&["--format", "docker", "--annotation", "a=b"], "--annotation"),
        ] {
            let out = built(fixture, "FROM base\n", &[], flags).fails();
            assert!(out.stderr.contains(named), "{flags:?}: {out:?}");
        }
    });
}

#[test]
fn without_layers_there_is_one_and_no_cache() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let text = "FROM base\nRUN echo 1 > /f\nRUN echo 2 > /g\n";
        let layers = || fixture.inspected("x")["RootFS"]["Layers"].as_array().unwrap().len();
        built(fixture, text, &[], &[]).ok();
        assert_eq!(layers(), 3);
        let out = built(fixture, text, &[], &["--layers=false"]).ok();
        assert!(!out.stderr.contains("] cached"), "{out:?}");
        assert_eq!((layers(), prints(fixture, "cat /f /g")), (2, "1\n2".to_owned()));
    });
}

#[test]
fn variables_history_and_system_of_the_image_are_set() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "FROM base\nENV KEPT=1 GONE=2\nRUN echo $GONE-$NEW > /f\nLABEL l=1\n";
        let flags = ["--env", "NEW=3", "--env", "FROM_CALLER", "--env", "NOT_SET", "--unsetenv", "GONE", "--label"];
        let more = ["l=2", "--annotation", "a=b", "--os-version", "10.1", "--os-feature", "f", "--omit-history"];
        context(fixture, &[("Containerfile", text)]);
        build(fixture, &[&["-t", "x"][..], &flags, &more].concat()).env("FROM_CALLER", "4").out().ok();
        let found = config(fixture);
        let env: Vec<&str> = found["Env"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        assert!(env.contains(&"KEPT=1") && env.contains(&"NEW=3") && env.contains(&"FROM_CALLER=4"), "{env:?}");
        assert!(!env.iter().any(|text| text.starts_with("GONE") || text.starts_with("NOT_SET")), "{env:?}");
        assert_eq!(found["Labels"]["l"], "2");
        assert_eq!(prints(fixture, "cat /f"), "2-");
        let archive = fixture.sandbox.path("o");
        fixture.corm(["copy", "store:x"]).arg(format!("dir:{}", archive.display())).out().ok();
        let read =
            |name: &str| -> Value { serde_json::from_slice(&std::fs::read(archive.join(name)).unwrap()).unwrap() };
        let manifest = read("manifest.json");
        assert_eq!(manifest["annotations"]["a"], "b");
        let whole = read(manifest["config"]["digest"].as_str().unwrap().trim_start_matches("sha256:"));
        assert_eq!((&whole["os.version"], &whole["os.features"][0]), (&"10.1".into(), &"f".into()));
        assert_eq!(whole["history"].as_array().map_or(0, Vec::len), 0);
    });
}

#[test]
fn a_timestamp_is_the_latest_time_of_the_image() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let text = "FROM base\nRUN echo x > /f\nCOPY a /a\n";
        let mut ids = Vec::new();
        for flags in [["--timestamp", "86400"], ["--build-arg", "SOURCE_DATE_EPOCH=86400"]] {
            let out = built(fixture, text, &[("a", "x")], &[&["--no-cache"][..], &flags].concat()).ok();
            assert!(!out.stderr.contains("warning"), "{out:?}");
            ids.push(out.text().to_owned());
        }
        assert_eq!(ids[0], ids[1]);
        let image = fixture.inspected("x");
        assert!(image["Created"].as_str().unwrap().starts_with("1970-01-02T00:00:00"), "{image:?}");
        let tree = fixture.sandbox.path("tree");
        exported(fixture, &tree);
        for name in ["f", "a"] {
            assert_eq!(tree.join(name).symlink_metadata().unwrap().mtime(), 86400, "{name}");
        }
        std::fs::remove_dir_all(&tree).unwrap();
    });
}

#[test]
fn dockers_form_of_a_manifest_is_made_on_demand() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "FROM base\nRUN echo 1 > /f\nHEALTHCHECK CMD true\n";
        let dir = fixture.sandbox.path("d");
        for (format, wanted) in [
            ("docker", "application/vnd.docker.distribution.manifest.v2+json"),
            ("oci", "application/vnd.oci.image.manifest.v1+json"),
        ] {
            built(fixture, text, &[], &["--format", format]).ok();
            assert_eq!(prints(fixture, "cat /f"), "1");
            fixture.corm(["copy", "store:x"]).arg(format!("dir:{}", dir.display())).out().ok();
            let bytes = std::fs::read(dir.join("manifest.json")).unwrap();
            let manifest: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(manifest["mediaType"], wanted);
            let of_docker = |value: &Value| value["mediaType"].as_str().unwrap().contains("docker");
            let all = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
            assert!(all.into_iter().all(|part| of_docker(part) == (format == "docker")), "{manifest:?}");
            std::fs::remove_dir_all(&dir).unwrap();
        }
        fixture.corm(["fsck"]).out().ok();
    });
}

#[test]
fn the_first_base_can_be_another_and_files_are_joined() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        built(fixture, "FROM base\nRUN echo other > /which\n", &[], &["-t", "other"]).ok();
        let text = "FROM surely-not-there AS one\nFROM base\nCOPY --from=one /which /which\n";
        built(fixture, text, &[], &["--from", "other"]).ok();
        assert_eq!(prints(fixture, "cat /which"), "other");
        let files = [("one", "FROM base AS a\nRUN echo 1 > /f\n"), ("two", "\nFROM a\nRUN echo 2 > /g\nRUN false\n")];
        context(fixture, &files);
        let out = build(fixture, &["-f", "one", "-f", "two"]).out().fails();
        assert!(out.stderr.contains("two:4: \"RUN false\""), "{out:?}");
        context(fixture, &[files[0], ("two", "FROM a\nRUN echo 2 > /g\n")]);
        build(fixture, &["-t", "x", "-f", "one", "-f", "two"]).out().ok();
        assert_eq!(prints(fixture, "cat /f /g"), "1\n2");
    });
}

#[test]
fn stages_are_chosen_counted_and_built_without_the_cache() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "FROM base AS unused\nRUN echo runs-unused\nFROM base AS used\nRUN echo runs-used > /f; cat /f\n\
                    FROM used\nRUN echo 3 > /g\n";
        let out = built(fixture, text, &[], &[]).ok();
        assert!(out.stderr.contains("runs-used") && !out.stderr.contains("runs-unused\n"), "{out:?}");
        let out = built(fixture, text, &[], &["--skip-unused-stages=false"]).ok();
        assert!(out.stderr.contains("| runs-unused"), "{out:?}");
        // the layer of a stage that is built again has other times, so that what is on it is built again, too
        for (stage, done, cached) in [("2", 1, 1), ("USED", 2, 0)] {
            let out = built(fixture, text, &[], &["--no-cache-filter", stage]).ok();
            let count = |word: &str| out.stderr.matches(word).count();
            assert_eq!((count("] done"), count("] cached")), (done, cached), "{stage}: {out:?}");
        }
        // two commands that cannot run at once
        let one = "RUN --mount=type=cache,id=jobs,target=/c mkdir /c/in && sleep 1 && rmdir /c/in && touch /done\n";
        let text = format!(
            "FROM base AS a\n{one}FROM base AS b\nENV B=1\n{one}FROM base\nCOPY --from=a /done /a\nCOPY --from=b /done /b\n"
        );
        built(fixture, &text, &[], &["--jobs", "1"]).ok();
        assert_eq!(prints(fixture, "ls /a /b"), "/a\n/b");
        built(fixture, &text, &[], &["--no-cache"]).fails();
    });
}

#[test]
fn several_platforms_make_an_index() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let id = fixture.sandbox.path("id");
        let text = "FROM scratch\nARG TARGETARCH\nLABEL arch=$TARGETARCH\nCOPY a /a\n";
        let flags = ["--platform", "linux/amd64,linux/arm64", "--platform", "linux/s390x", "--iidfile"];
        let out = built(fixture, text, &[("a", "A")], &[&flags[..], &[id.to_str().unwrap()]].concat()).ok();
        assert_eq!(out.lines().len(), 3);
        assert_eq!(architectures(fixture, "x"), ["amd64", "arm64", "s390x"]);
        assert!(std::fs::read_to_string(&id).unwrap().starts_with("sha256:"));
        for (id, arch) in out.lines().iter().zip(["amd64", "arm64", "s390x"]) {
            let image = fixture.inspected(id);
            assert_eq!((&image["Architecture"], &image["Config"]["Labels"]["arch"]), (&arch.into(), &arch.into()));
        }
        // one more image, and a newer one of a platform in the place of the older
        for arch in ["arm", "arm64", "arm64"] {
            built(fixture, &format!("{text}LABEL new=1\n"), &[("a", "B")], &["--arch", arch, "--manifest", "x"]).ok();
        }
        assert_eq!(architectures(fixture, "x"), ["amd64", "s390x", "arm", "arm64"]);
        fixture.corm(["fsck"]).out().ok();
        let parts = ["--os", "linux", "--arch", "arm", "--variant", "v6"];
        built(fixture, "FROM scratch\nARG TARGETPLATFORM\nLABEL p=$TARGETPLATFORM\n", &[], &parts).ok();
        let image = fixture.inspected("x");
        assert_eq!((&image["Architecture"], &image["Config"]["Labels"]["p"]), (&"arm".into(), &"linux/arm/v6".into()));
        built(fixture, "FROM scratch\nARG TARGETOS\nLABEL p=$TARGETOS\n", &[], &["--os", "freebsd"]).ok();
        let image = fixture.inspected("x");
        assert_eq!((&image["Os"], &image["Config"]["Labels"]["p"]), (&"freebsd".into(), &"freebsd".into()));
        // a base of another platform is no base
        let out = built(fixture, "FROM base\n", &[], &["--platform", "linux/s390x", "--pull=never"]).fails();
        assert!(out.stderr.contains("of another platform than linux/s390x"), "{out:?}");
        for flags in
            [&["--platform", "linux/amd64", "--arch", "arm"][..], &["--platform", "linux/amd64,linux/arm", "-o", "d"]]
        {
            built(fixture, text, &[("a", "A")], flags).fails();
        }
    });
}

#[test]
fn an_image_of_a_layout_is_a_base() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        built(fixture, "FROM base\nRUN echo layout > /f\n", &[], &[]).ok();
        let layout = fixture.sandbox.path("layout");
        let place = format!("oci:{}:v1", layout.display());
        let copied = fixture.corm(["copy", "store:x", &place]).out().ok();
        fixture.corm(["rmi", "x"]).out().ok();
        let text = "FROM lay\nRUN cat /f > /g\nCOPY --from=lay /f /h\n";
        let named = |end: &str| format!("lay=oci-layout://{}{end}", layout.display());
        built(fixture, text, &[], &["--build-context", &named(":v1")]).ok();
        assert_eq!(prints(fixture, "cat /g /h"), "layout\nlayout");
        let digest = copied.text().lines().last().unwrap().to_owned();
        built(fixture, text, &[], &["--no-cache", "--build-context", &named(&format!("@{digest}"))]).ok();
        let wrong = format!("@sha256:{}", "0".repeat(64));
        for end in [&wrong, ":none"] {
            built(fixture, text, &[], &["--build-context", &named(end)]).fails();
        }
        let names = fixture.corm(["images", "--format", "{{.Repository}}"]).out().ok();
        assert!(!names.stdout.contains("corm-build"), "{names:?}");
    });
}

#[test]
fn the_output_goes_to_a_file_and_the_result_to_a_registry() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let (_server, address) = test_support::registry::start(&fixture.sandbox, &fixture.sandbox.mkdir("registry"));
        let (log, meta) = (fixture.sandbox.path("log"), fixture.sandbox.path("meta"));
        let name = format!("{address}/web:1");
        let text = "FROM base\nRUN echo in-the-log; echo 1 > /f\n";
        context(fixture, &[("Containerfile", text)]);
        let files = ["--logfile", log.to_str().unwrap(), "--metadata-file", meta.to_str().unwrap()];
        let push = ["-t", &name, "--push", "--tls-verify=false", "-q"];
        build(fixture, &[&files[..], &push].concat()).out().ok();
        build(fixture, &[&files[..], &push[..4]].concat()).out().ok();
        let written = std::fs::read_to_string(&log).unwrap();
        assert!(written.contains("[2/2] cached"), "{written}");
        let meta: Value = serde_json::from_slice(&std::fs::read(&meta).unwrap()).unwrap();
        let id = fixture.inspected(&name)["Id"].as_str().unwrap().to_owned();
        assert_eq!(meta["containerimage.config.digest"], format!("sha256:{id}"));
        assert_eq!(meta["image.name"], name);
        fixture.corm(["rmi", &name]).out().ok();
        let pulled = fixture.corm(["pull", "-q", "--tls-verify=false", &name]).out().ok();
        assert_eq!(pulled.text(), id);
        let index = format!("{address}/web:all");
        let both = ["-t", &index, "--platform", "linux/amd64,linux/arm64", "--push", "--tls-verify=false"];
        context(fixture, &[("Containerfile", "FROM scratch\nCOPY Containerfile /\n")]);
        build(fixture, &both).out().ok();
        fixture.corm(["manifest", "rm", &index]).out().ok();
        let seen = fixture.corm(["manifest", "inspect", "--tls-verify=false", &index]).out().ok();
        assert!(seen.stdout.contains("arm64") && seen.stdout.contains("amd64"), "{seen:?}");
        build(fixture, &["--push"]).out().fails();
    });
}

#[test]
fn base_images_are_pulled_when_the_caller_says() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let (_server, address) = test_support::registry::start(&fixture.sandbox, &fixture.sandbox.mkdir("registry"));
        let name = format!("{address}/base:1");
        let push = |version: &str| {
            let text = format!("FROM base\nRUN echo {version} > /version\n");
            context(fixture, &[("Containerfile", &text)]);
            build(fixture, &["-t", &name, "--push", "--tls-verify=false"]).out().ok();
        };
        push("1");
        fixture.corm(["tag", &name, "localhost/first"]).out().ok();
        push("2");
        let text = format!("FROM {name}\nRUN cat /version > /seen\n");
        let with = |flags: &[&str]| built(fixture, &text, &[], &[flags, &["--tls-verify=false"]].concat());
        let first = || fixture.corm(["tag", "localhost/first", &name]).out().ok();
        let none = || fixture.corm(["rmi", &name]).out().ok();
        for (prepare, flag, wanted) in [
            (&first as &dyn Fn() -> _, "", "1"),
            (&first, "--pull=missing", "1"),
            (&first, "--pull=false", "1"),
            (&first, "--pull=never", "1"),
            (&first, "--pull=always", "2"),
            (&first, "--pull=newer", "2"),
            (&first, "--pull", "2"),
            (&none, "", "2"),
            (&none, "--pull=missing", "2"),
        ] {
            prepare();
            let flags: Vec<&str> = Some(flag).filter(|flag| !flag.is_empty()).into_iter().collect();
            with(&flags).ok();
            assert_eq!(prints(fixture, "cat /seen"), wanted, "{flag}");
        }
        none();
        with(&["--pull=never"]).fails();
    });
}
