//! Faults of the configuration file itself: O3 of the fault tests, CF-1 and CF-2.

use std::time::{Duration, Instant};
use test_support::*;

/// Checks that `create` refuses this text as config.json.
#[track_caller]
fn refused_text(name: &str, text: &[u8], error: &str) {
    let c = Container::new(&["true"]);
    std::fs::write(c.bundle.join("config.json"), text).unwrap();
    let cmd = c.croci(["create", "--bundle"]).arg(&c.bundle).arg(&c.id);
    let out = cmd.out();
    assert!(out.code == Some(1) && out.signal.is_none(), "{name}: {out:?}");
    out.no_panic().one_line().stderr_contains(error);
    c.nothing_left();
}

#[test]
fn o3_texts_that_are_no_configuration() {
    need_root!();
    let valid = serde_json::to_vec(&Container::new(&["true"]).config).unwrap();
    let mut doubled = valid.clone();
    doubled.extend_from_slice(b"{}");
    let mut bom = vec![0xef, 0xbb, 0xbf];
    bom.extend_from_slice(&valid);
    let mut twice = valid.clone();
    twice.splice(..1, br#"{"ociVersion":"1.0.2","#.iter().copied());
    let cases: &[(&str, Vec<u8>)] = &[
        ("empty", Vec::new()),
        ("blank", b"   \n".to_vec()),
        ("{", b"{".to_vec()),
        ("[]", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("a number", b"7".to_vec()),
        ("text", b"\"config\"".to_vec()),
        ("not JSON", b"ociVersion: 1.0.2\n".to_vec()),
        ("not UTF-8", b"{\"ociVersion\":\"\xff\xfe\"}".to_vec()),
        ("200 000 [", vec![b'['; 200_000]),
        ("100 000 {\"a\":", b"{\"a\":".repeat(100_000)),
        ("cut off 20 bytes before its end", valid[..valid.len() - 20].to_vec()),
        ("cut off in the middle", valid[..valid.len() / 2].to_vec()),
        ("something after its end", doubled),
        ("a byte order mark", bom),
        ("a key twice", twice),
        ("NUL bytes", vec![0; 4096]),
        ("a huge number", b"{\"ociVersion\":1e999999}".to_vec()),
    ];
    for (name, text) in cases {
        refused_text(name, text, "config.json");
    }
    refused_text("{}", b"{}", "ociVersion");
}

#[test]
fn cf_1_things_in_the_place_of_the_file() {
    need_root!();
    let c = Container::new(&["true"]);
    let create = || c.croci(["create", "--bundle"]).arg(&c.bundle).arg(&c.id).limit(Duration::from_secs(10)).out();
    let file = c.bundle.join("config.json");
    create().fails().one_line().stderr_contains("config.json");
    std::fs::create_dir(&file).unwrap();
    create().fails().one_line().stderr_contains("config.json");
    std::fs::remove_dir(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap();
    create().fails().one_line().stderr_contains("config.json"); // does not wait on a fifo that no process writes to
    std::fs::remove_file(&file).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(&file).unwrap();
    create().fails().one_line().stderr_contains("config.json");
    drop(socket);
    std::fs::remove_file(&file).unwrap();
    host::symlink("nowhere.json", &file);
    create().fails().one_line().stderr_contains("config.json");
    std::fs::remove_file(&file).unwrap();
    host::symlink("/dev/zero", &file);
    create().fails().one_line().stderr_contains("config.json"); // does not read without end
    c.nothing_left();
}

#[test]
fn o3_a_file_of_100_mb_is_refused_or_read_in_seconds() {
    need_root!();
    let c = Container::new(&["true"]);
    let file = std::fs::File::create(c.bundle.join("config.json")).unwrap();
    file.set_len(100 << 20).unwrap(); // sparse zeros
    let started = Instant::now();
    c.croci(["create", "--bundle"]).arg(&c.bundle).arg(&c.id).out().fails().one_line().stderr_contains("config.json");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    c.nothing_left();
}

#[test]
fn bundles_that_are_not_valid() {
    need_root!();
    let c = Container::new(&["true"]);
    c.write_config();
    for bundle in ["/no/such/bundle", "/etc/passwd", ""] {
        let out = c.croci(["create", "--bundle", bundle, &c.id]).out().fails().one_line();
        assert!(bundle.is_empty() || out.stderr.contains(bundle), "{out:?}");
    }
    c.nothing_left();
}

/// O1: 80 000 annotations, 8.8 MB.
#[test]
fn o1_a_large_configuration_is_no_problem() {
    need_root!();
    let mut annotations = serde_json::Map::new();
    for number in 0..80_000 {
        annotations.insert(format!("org.example.annotation.number.{number:06}"), json!("v".repeat(60)));
    }
    let c = Container::new(&["true"]).edit(|config| config["annotations"] = Value::Object(annotations));
    c.write_config();
    assert!(std::fs::metadata(c.bundle.join("config.json")).unwrap().len() > 8_000_000);
    let started = Instant::now();
    c.run().ok();
    // 0.3 s for an optimised runtime on an idle machine; the limit here only shows that the time is not quadratic
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 2 });
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    c.nothing_left();
}

/// O2: 1000 bind mounts.
#[test]
fn o2_a_thousand_binds() {
    need_root!();
    let c = Container::sh("wc -l < /proc/self/mountinfo");
    let source = c.sandbox.mkdir("source");
    let c = c.edit(|config| {
        for number in 0..1000 {
            let target = format!("/mnt/{number}");
            bundle::add_mount(config, bundle::bind(&source, &target, &["ro"]));
        }
    });
    let out = c.run().ok();
    assert!(out.text().trim().parse::<usize>().unwrap() > 1000, "{out:?}");
    c.nothing_left();
}

/// CF-4: an unknown property is no error.
#[test]
fn cf_4_unknown_properties_are_ignored() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| {
        config["futureThing"] = json!({ "a": [1, 2, 3] });
        config["process"]["futureThing"] = json!(1);
        config["linux"]["futureThing"] = json!(null);
        config["linux"]["resources"]["futureThing"] = json!("x");
        config["mounts"][0]["futureThing"] = json!(true);
        config["annotations"] = json!({ "org.opencontainers.future": "x" });
        config["solaris"] = json!({ "milestone": "x" });
    });
    c.run().ok();
}

/// PR-13: an unknown capability is a warning, and one that the bounding set does not have. They are shown by default: on
/// standard error, or with `--log` there alone.
#[test]
fn pr_13_warnings_of_capabilities_are_shown_by_default() {
    need_root!();
    let c = Container::new(&["true"]).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_KILL", "CAP_FROM_THE_FUTURE"]);
        }
        config["process"]["capabilities"]["permitted"].as_array_mut().unwrap().push(json!("CAP_CHOWN"));
    });
    let unknown = "process.capabilities.bounding: ignoring unknown or unavailable capabilities: [CAP_FROM_THE_FUTURE]";
    let lost = "process.capabilities: CAP_CHOWN left out of permitted: the bounding set does not have it";
    let seen = c.run().ok().stderr;
    assert_eq!(seen, format!("croci: warning: {unknown}\ncroci: warning: {lost}\n"));
    let log = c.sandbox.path("log");
    let run = c.croci(["--log", log.to_str().unwrap(), "--log-format", "json", "run", "--bundle"]);
    run.arg(&c.bundle).arg(&c.id).out().ok().silent();
    let text = std::fs::read_to_string(log).unwrap();
    let messages: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|line| (line["level"].as_str().unwrap().to_owned(), line["msg"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(messages, [unknown, lost].map(|text| ("warning".to_owned(), text.to_owned())));
}
