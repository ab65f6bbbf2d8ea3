//! Configurations as Podman, containerd, Docker and Buildah wrote them (fixtures/configs), run on a test root.
//!
//! Paths that do not exist here are replaced: the root, bind sources, namespace paths, files of hooks, cgroup paths;
//! limits that this machine cannot grant are clamped. The rest is as the callers wrote it, and the program prints its
//! ids, host name, capabilities and seccomp mode.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use corm::config::settings::Settings;
use corm::config::settings::limits::Limits;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use test_support::*;

/// A script that prints the ids, host name, capabilities and seccomp mode of its process.
const REPORT: &str =
    "echo $(id -u):$(id -g); hostname; grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; exit 0";

fn fixtures(prefix: &str, keep: impl Fn(&str) -> bool) -> Vec<(String, Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/configs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if name.starts_with(prefix) && keep(&name) {
            found.push((name, serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()));
        }
    }
    found
}

fn is_config(name: &str) -> bool {
    !name.contains("exec-process") && !name.contains("resources")
}

/// Returns whether the destination of a bind is a file where its source no longer exists.
fn is_file(destination: &str) -> bool {
    destination.starts_with("/etc/")
        || ["/run/.containerenv", "/catatonit", "/run/podman-init", "/sbin/docker-init"].contains(&destination)
}

/// Adapts a recorded configuration to this machine.
fn adapt(config: &mut Value, c: &Container, helper: Option<&Container>) {
    config["root"]["path"] = json!(c.rootfs);
    adapt_process(&mut config["process"], c, REPORT);
    if config["linux"]["cgroupsPath"].is_string() {
        config["linux"]["cgroupsPath"] = json!(cgroup::path_for(&format!("{}-recorded", c.sandbox.token)));
    }
    adapt_mounts(config, c);
    if !cgroup::has_controller("cpuset")
        && let Some(cpu) = config["linux"]["resources"]["cpu"].as_object_mut()
    {
        cpu.retain(|name, _| name != "cpus" && name != "mems");
    }
    for ns in config["linux"]["namespaces"].as_array_mut().unwrap() {
        let kind = ns["type"].as_str().unwrap().to_owned();
        if ns["path"].as_str().is_some_and(|path| !path.is_empty()) {
            let file = if kind == "network" { "net" } else { &kind };
            ns["path"] = json!(format!("/proc/{}/ns/{file}", helper.unwrap().pid()));
        }
    }
    let hooks = config["hooks"].to_string();
    if hooks != "null" {
        let output = c.sandbox.path("hook.out");
        config["hooks"] =
            serde_json::from_str(&hooks.replace("/srv/caller/hook.out", output.to_str().unwrap())).unwrap();
    }
    // engines change the owner of the root file system to the container's root
    if let Some(owner) = config["linux"]["uidMappings"][0]["hostID"].as_u64() {
        let owner = u32::try_from(owner).unwrap();
        for path in host::snapshot(&c.rootfs).into_keys().filter(|path| path.is_dir() && !path.is_symlink()) {
            std::os::unix::fs::chown(path, Some(owner), Some(owner)).unwrap();
        }
    }
}

fn adapt_process(process: &mut Value, c: &Container, script: &str) {
    process["args"] = json!(["sh", "-c", script]);
    process["terminal"] = json!(false);
    if process["env"].is_null() {
        process["env"] = json!(["PATH=/bin"]);
    }
    process["env"].as_array_mut().unwrap().push(json!(format!("CROCI_TEST={}", c.sandbox.token)));
    for limit in process["rlimits"].as_array_mut().into_iter().flatten() {
        let hard = hard_limit(limit["type"].as_str().unwrap());
        for value in ["soft", "hard"] {
            limit[value] = json!(limit[value].as_u64().unwrap().min(hard));
        }
    }
    let own: i64 = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    if process["oomScoreAdj"].as_i64().is_some_and(|adj| adj < own) && !may_use_resources() {
        process.as_object_mut().unwrap().remove("oomScoreAdj");
    }
    let lsm = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    for (field, module) in [("apparmorProfile", "apparmor"), ("selinuxLabel", "selinux")] {
        if !lsm.contains(module) {
            process.as_object_mut().unwrap().remove(field);
        }
    }
    let cwd = process["cwd"].as_str().unwrap().trim_start_matches('/').to_owned();
    std::fs::create_dir_all(c.rootfs.join(cwd)).unwrap();
}

fn adapt_mounts(config: &mut Value, c: &Container) {
    let sources = c.sandbox.mkdir("sources");
    let mut kept = Vec::new();
    for (index, mount) in config["mounts"].as_array_mut().unwrap().iter_mut().enumerate() {
        let options = mount["options"].as_array().cloned().unwrap_or_default();
        let bind = options.iter().any(|option| option == "bind" || option == "rbind");
        let source = PathBuf::from(mount["source"].as_str().unwrap_or_default());
        let destination = mount["destination"].as_str().unwrap().to_owned();
        if bind && !source.exists() {
            if source.starts_with("/dev") || source.starts_with("/sys") {
                continue; // a device or hierarchy of another machine
            }
            let fresh = sources.join(index.to_string());
            if is_file(&destination) {
                std::fs::write(&fresh, "").unwrap();
            } else {
                std::fs::create_dir_all(&fresh).unwrap();
            }
            mount["source"] = json!(fresh);
        }
        kept.push(mount.clone());
    }
    config["mounts"] = json!(kept);
}

fn may_use_resources() -> bool {
    let caps = host::status_field(std::process::id().try_into().unwrap(), "CapEff").unwrap();
    u64::from_str_radix(&caps, 16).unwrap() & (1 << 24) != 0
}

fn hard_limit(name: &str) -> u64 {
    use nix::sys::resource::{Resource, getrlimit};
    let resource = match name {
        "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
        "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
        "RLIMIT_CORE" => Resource::RLIMIT_CORE,
        other => panic!("a limit no caller sent yet: {other}"),
    };
    getrlimit(resource).unwrap().1
}

/// Returns the bounding set of a configuration, without capabilities that this machine cannot grant.
fn bounding(config: &Value) -> u64 {
    let own = host::status_field(std::process::id().try_into().unwrap(), "CapBnd").unwrap();
    let own = u64::from_str_radix(&own, 16).unwrap();
    let names = config["process"]["capabilities"]["bounding"].as_array().cloned().unwrap_or_default();
    let mut bits = 0;
    for name in names {
        let cap: caps::Capability = name.as_str().unwrap().parse().unwrap();
        bits |= 1 << cap.index();
    }
    bits & own
}

/// Runs one configuration, and returns a description of what is wrong with the result, `None` where all is right.
fn run(name: &str, mut config: Value) -> Option<String> {
    let c = Container::new(&["true"]);
    let joins =
        config["linux"]["namespaces"].as_array().unwrap().iter().any(|ns| ns["path"].is_string() && ns["path"] != "");
    let helper = joins.then(|| Container::within(&c.sandbox, &["sleep", "1000"]).up());
    adapt(&mut config, &c, helper.as_ref());
    let c = c.edit(|place| *place = config.clone());
    let out = c.run();
    if out.code != Some(0) {
        return Some(format!("{name}: {out:?}"));
    }
    let lines = out.lines();
    let user = &config["process"]["user"];
    let nnp = u8::from(config["process"]["noNewPrivileges"] == true);
    let seccomp = if config["linux"]["seccomp"].is_object() { 2 } else { 0 };
    let mut want = vec![
        format!("{}:{}", user["uid"], user["gid"]),
        config["hostname"].as_str().map_or_else(|| lines[1].to_owned(), str::to_owned),
        format!("CapBnd:\t{:016x}", bounding(&config)),
        format!("NoNewPrivs:\t{nnp}"),
        format!("Seccomp:\t{seccomp}"),
    ];
    let mut have: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    want[2..].sort();
    have[2..].sort();
    if want != have {
        return Some(format!("{name}: wants {want:?}, has {have:?}"));
    }
    if let Some(helper) = helper {
        helper.delete_force().ok();
    }
    let left = c.sandbox.leftovers();
    (!left.is_empty()).then(|| format!("{name}: left {left:?}"))
}

#[track_caller]
fn run_all(list: Vec<(String, Value)>) {
    assert!(!list.is_empty());
    let total = list.len();
    let wrong: Vec<String> = list.into_iter().filter_map(|(name, config)| run(&name, config)).collect();
    assert!(wrong.is_empty(), "{} of {total} configurations:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn containerd_configurations() {
    need_root!();
    run_all(fixtures("containerd", is_config));
}

#[test]
fn docker_and_buildah_configurations() {
    need_root!();
    let mut list = fixtures("docker", is_config);
    list.extend(fixtures("buildah", is_config));
    run_all(list);
}

#[test]
fn podman_configurations_a_to_m() {
    need_root!();
    run_all(fixtures("podman5-", |name| is_config(name) && name < "podman5-n"));
}

#[test]
fn podman_configurations_n_to_z() {
    need_root!();
    run_all(fixtures("podman5-", |name| is_config(name) && name >= "podman5-n"));
}

#[test]
fn podman_hooks_ran() {
    need_root!();
    let (_, mut config) = fixtures("podman5-hooks", is_config).remove(0);
    let c = Container::new(&["true"]);
    adapt(&mut config, &c, None);
    let c = c.edit(|place| *place = config);
    c.run().ok();
    let seen = std::fs::read_to_string(c.sandbox.path("hook.out")).unwrap();
    let states: Vec<Value> =
        seen.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.len(), 3, "two createRuntime hooks and a poststart hook: {seen}");
    assert!(states.iter().all(|state| state["id"] == json!(c.id)));
}

#[test]
fn exec_documents() {
    need_root!();
    let c = Container::new(&["sleep", "1000"])
        .edit(|config| {
            // some documents list all capabilities
            let all: Vec<String> = caps::all().iter().map(ToString::to_string).collect();
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] = json!(all);
            }
        })
        .up();
    let list = fixtures("", |name| name.contains("exec-process"));
    assert!(list.len() > 5);
    for (name, mut process) in list {
        adapt_process(&mut process, &c, "echo $(id -u):$(id -g); pwd; exit 3");
        let want =
            format!("{}:{}\n{}\n", process["user"]["uid"], process["user"]["gid"], process["cwd"].as_str().unwrap());
        let file = c.sandbox.write("process.json", process.to_string());
        let out = c.croci(["exec", "--process"]).arg(file).arg(&c.id).out();
        assert_eq!((out.code, out.stdout.as_str()), (Some(3), want.as_str()), "{name}: {out:?}");
    }
}

#[test]
fn update_documents() {
    need_root!();
    let c = Container::running();
    let list = fixtures("", |name| name.contains("resources"));
    assert!(list.len() > 3);
    for (name, resources) in list {
        let file = c.sandbox.write("resources.json", resources.to_string());
        let out = c.croci(["update", &format!("--resources={}", file.display()), &c.id]).out();
        assert_eq!(out.code, Some(0), "{name}: {out:?}");
        let read = |controller: &str, v1: &str, v2: &str| cgroup::read(c.pid(), controller, v1, v2);
        if let Some(limit) = resources["pids"]["limit"].as_i64().filter(|limit| *limit > 0) {
            assert_eq!(read("pids", "pids.max", "pids.max"), Some(limit.to_string()), "{name}");
        }
        if let Some(limit) = resources["memory"]["limit"].as_i64().filter(|limit| *limit > 0) {
            assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), Some(limit.to_string()), "{name}");
        }
        c.exec(&["sh", "-c", "echo > /dev/null"]).ok();
    }
}

/// The configuration that corm generates for an image is valid, and croci warns of nothing in it.
#[test]
fn a_configuration_of_corm_is_valid_without_a_warning() {
    let sandbox = Sandbox::new();
    let root = sandbox.mkdir("tree");
    let dir = std::fs::File::open(&root).unwrap();
    let image = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"], "User": "7:8"},
        "rootfs": {"type": "layers", "diff_ids": []}});
    let image = serde_json::from_value(image).unwrap();
    for case in 0..8 {
        let [unprivileged, cgroup_v2, host_network] = [1, 2, 4].map(|bit| case & bit != 0);
        let limits = Limits { cpu_quota: Some(150_000), memory: Some(1 << 20), ..Default::default() };
        let options = corm::config::RunOptions {
            host_network,
            tty: true,
            settings: Settings { limits, ..Default::default() },
            ..Default::default()
        };
        let place = corm::config::Place {
            id: &"0".repeat(64),
            hostname: "here",
            image_name: None,
            rootfs: &root,
            root: dir.as_fd(),
            dir: Path::new("/run/x"),
            unprivileged,
            single_id: unprivileged,
            most_files: 4096,
            cgroup_v2,
            network: None,
        };
        let config = corm::config::runtime_config(&image, &options, &place).unwrap();
        let parsed = croci::config::parse(config.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.warnings, Vec::<String>::new(), "{config}");
    }
}
