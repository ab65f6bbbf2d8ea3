//! Image configurations turned into those of a container: tables of good and hostile ones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::settings::Settings;
use super::settings::capabilities;
use super::settings::limits::Limits;
use super::*;
use linux::testing::TempDir;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[allow(clippy::needless_pass_by_value)] // callers write literals
fn image(config: Value) -> ImageConfiguration {
    let whole = json!({"architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": []}});
    serde_json::from_value(whole).unwrap()
}

struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let dir = TempDir::new();
        dir.write("etc/passwd", b"root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n");
        dir.write("etc/group", b"root:x:0:\nweb:x:34:\nadm:x:4:web\n");
        Self(dir)
    }

    fn convert(&self, config: Value, options: &RunOptions, change: impl Fn(&mut Place<'_>)) -> Result<Value> {
        let root = File::open(self.0.path()).unwrap();
        let mut place = Place {
            id: ID,
            hostname: "named",
            image_name: None,
            rootfs: self.0.path(),
            root: root.as_fd(),
            dir: Path::new("/run/x"),
            unprivileged: false,
            single_id: false,
            most_files: 4096,
            cgroup_v2: true,
            network: None,
        };
        change(&mut place);
        runtime_config(&image(config), options, &place)
    }

    fn plain(&self, config: Value) -> Result<Value> {
        self.convert(config, &RunOptions::default(), |_| {})
    }
}

#[test]
fn namespaces_and_devices_follow_the_machine_and_the_options() {
    let tree = Tree::new();
    for unprivileged in [false, true] {
        for cgroup_v2 in [false, true] {
            for host_network in [false, true] {
                let options = RunOptions { host_network, tty: true, ..RunOptions::default() };
                let config = tree
                    .convert(json!({"Cmd": ["sh"], "User": "web"}), &options, |place| {
                        place.unprivileged = unprivileged;
                        place.single_id = unprivileged;
                        place.cgroup_v2 = cgroup_v2;
                    })
                    .unwrap();
                let namespaces = config["linux"]["namespaces"].to_string();
                assert_eq!(namespaces.contains("network"), !host_network);
                let devices = &config["linux"]["resources"]["devices"];
                assert_eq!(devices.is_null(), unprivileged);
            }
        }
    }
}

#[test]
fn an_image_decides_and_the_caller_overrides() {
    let tree = Tree::new();
    let given = json!({"Entrypoint": ["/e"], "Cmd": ["c"], "Env": ["A=1"], "WorkingDir": "/w", "User": "web:adm"});
    let config = tree.plain(given.clone()).unwrap();
    let process = &config["process"];
    assert_eq!(process["args"], json!(["/e", "c"]));
    assert_eq!(process["cwd"], "/w");
    assert_eq!((&process["user"]["uid"], &process["user"]["gid"]), (&json!(33), &json!(4)));
    assert_eq!(process["capabilities"]["effective"], json!([]));
    assert_eq!(config["hostname"], "named");
    let options = RunOptions {
        command: vec!["x y".into()],
        env: vec!["A=2".into()],
        workdir: Some("/".into()),
        user: Some("0".into()),
        hostname: Some("h".into()),
        read_only: true,
        settings: Settings {
            limits: Limits { memory: Some(4096), cpu_quota: Some(50_000), pids_limit: Some(-1), ..Limits::default() },
            ..Settings::default()
        },
        ..RunOptions::default()
    };
    let config = tree.convert(given, &options, |_| {}).unwrap();
    let process = &config["process"];
    assert_eq!(process["args"], json!(["/e", "x y"]));
    assert!(process["env"].as_array().unwrap().contains(&json!("A=2")));
    assert_eq!((&process["cwd"], &process["user"]["uid"]), (&json!("/"), &json!(0)));
    assert_eq!(process["capabilities"]["effective"].as_array().unwrap().len(), capabilities::DEFAULT.len());
    assert_eq!((&config["root"]["readonly"], &config["hostname"]), (&json!(true), &json!("h")));
    let resources = &config["linux"]["resources"];
    assert_eq!(resources["memory"]["limit"], 4096);
    assert_eq!(resources["cpu"], json!({"quota": 50_000, "period": 100_000}));
    assert_eq!(resources["pids"]["limit"], -1);
}

#[test]
fn item_12_users_that_are_none_are_told_and_never_become_root() {
    let tree = Tree::new();
    let started = Instant::now();
    for user in ["-1", "4294967295", "4294967296", "33 ", "33\n", "web ", "nobody", "web:none", "1:2:3", ":", "::"] {
        let err = tree.plain(json!({"Cmd": ["sh"], "User": user})).unwrap_err();
        assert!(format!("{err:#}").contains("user"), "{user:?}: {err:#}");
    }
    // 2³¹ is a user like any other
    assert_eq!(
        tree.plain(json!({"Cmd": ["sh"], "User": "2147483648"})).unwrap()["process"]["user"]["uid"],
        1_u32 << 31
    );
    let passwd = tree.0.path().join("etc/passwd");
    let again = |make: &dyn Fn()| {
        let _ = std::fs::remove_file(&passwd);
        make();
        assert!(tree.plain(json!({"Cmd": ["sh"], "User": "web"})).is_err());
        // a number does without the file
        assert_eq!(tree.plain(json!({"Cmd": ["sh"], "User": "33"})).unwrap()["process"]["user"]["gid"], 0);
    };
    again(&|| std::os::unix::fs::symlink("../../../../../../../../etc/passwd", &passwd).unwrap());
    again(&|| std::os::unix::fs::symlink("/proc/self/root/etc/passwd", &passwd).unwrap());
    again(&|| std::os::unix::fs::symlink("/dev/zero", &passwd).unwrap());
    again(&|| nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap());
    again(&|| File::create(&passwd).unwrap().set_len(1 << 30).unwrap());
    again(&|| std::fs::create_dir(&passwd).unwrap());
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn item_12_values_that_make_no_sense_are_told() {
    let tree = Tree::new();
    for (config, word) in [
        (json!({}), "no program"),
        (json!({"Cmd": [""]}), "program"),
        (json!({"Cmd": ["sh"], "WorkingDir": "rel"}), "absolute"),
        (json!({"Cmd": ["sh"], "Env": ["=NOTHING"]}), "Env"),
    ] {
        let err = format!("{:#}", tree.plain(config.clone()).unwrap_err());
        assert!(err.contains(word), "{config}: {err}");
    }
    for volume in ["/proc", "relative", "/a/../..", "/", "/sys/x", "/dev", "/dev/shm", "//dev//x", "/./proc/y", "//sys"]
    {
        let config = image(json!({"Cmd": ["sh"], "Volumes": {volume: {}}}));
        assert!(image_volumes(&config, &RunOptions::default()).is_err(), "{volume}");
    }
    let config = image(json!({"Volumes": {"/b": {}, "/a": {}, "/a/": {}, "/c": {}}}));
    let volume = Volume { source: "/".into(), destination: "/c".into(), ..Volume::default() };
    let given = RunOptions { volumes: vec![volume], ..RunOptions::default() };
    assert_eq!(image_volumes(&config, &given).unwrap(), [PathBuf::from("/a"), PathBuf::from("/b")]);
    // variables twice, and with a newline, are what they are
    let config = tree.plain(json!({"Cmd": ["sh"], "Env": ["A=1", "A=2", "N=a\nb"]})).unwrap();
    let env = config["process"]["env"].to_string();
    assert!(env.contains("A=2") && !env.contains("A=1") && env.contains("a\\nb"), "{env}");
}
