//! Part 3: a resource is exhausted: space, descriptors, memory, pids, cgroups.

use test_support::*;

/// Runs `verb` in a new mount namespace after the shell commands of `setup`.
fn in_private_mounts(c: &Container, setup: &str, root: &std::path::Path, verb: &[&str]) -> Out {
    c.write_config();
    let script = format!("{setup} && exec \"$0\" \"$@\"");
    let unshare = c.sandbox.program("unshare").args(["-m", "--propagation", "private", "sh", "-c", &script]);
    unshare.arg(runtime()).arg("--root").arg(root).args(verb).out()
}

fn run_args(c: &Container) -> Vec<String> {
    vec!["run".into(), "--bundle".into(), c.bundle.to_str().unwrap().into(), c.id.clone()]
}

#[test]
fn ft_22_l1_no_space_in_the_state_root() {
    need_root!();
    for options in ["size=4k", "nr_inodes=2", "nr_inodes=4", "size=8k,nr_inodes=6"] {
        let c = Container::new(&["true"]);
        let root = c.sandbox.mkdir("small");
        let list = c.sandbox.path("left");
        let args = run_args(&c);
        // a script that follows in the same namespace prints what is left in the small file system
        let setup = format!(
            "mount -t tmpfs -o mode=700,{options} small {0} && (\"$0\" \"$@\"; echo $? > {1}; ls -A {0} >> {1}) \
            2>{1}.err; true",
            root.display(),
            list.display()
        );
        in_private_mounts(
            &c,
            &format!("{setup} && exit 0"),
            &root,
            &args.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        let left = std::fs::read_to_string(&list).unwrap();
        let text = std::fs::read_to_string(list.with_extension("err")).unwrap_or_default();
        let (code, names) = left.split_once('\n').unwrap();
        assert!(!names.contains(&c.id), "{options}: left {names:?}, {text}");
        assert!(!text.contains("panicked"), "{options}: {text}");
        assert!(code == "0" || text.contains("no space left on device"), "{options}: exit {code}, {text}");
        c.nothing_left();
    }
}

#[test]
fn ft_23_l2_read_only_state_root() {
    need_root!();
    let c = Container::new(&["true"]);
    let root = c.sandbox.mkdir("readonly");
    let args = run_args(&c);
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let out = in_private_mounts(&c, &format!("mount -t tmpfs -o ro,mode=755 none {}", root.display()), &root, &args);
    out.fails().one_line().stderr_contains("read-only file system").stderr_contains(root.to_str().unwrap());
    c.nothing_left();
}

#[test]
fn ft_25_l3_few_descriptors() {
    need_root!();
    for limit in [3, 4, 6, 8, 12, 16, 24] {
        let c = Container::new(&["true"]);
        let out = c.run_with(&[]).rlimit(libc::RLIMIT_NOFILE, limit).out();
        let known = out.code == Some(0) || out.stderr.to_lowercase().contains("too many open files");
        assert!(known || !is_croci(), "RLIMIT_NOFILE {limit}: {out:?}");
        if is_croci() {
            out.no_panic();
        }
        c.delete_force().no_panic();
        c.nothing_left();
    }
}

#[test]
fn ft_26_l4_little_address_space() {
    need_root!();
    for mib in [256, 64, 16, 4] {
        let c = Container::new(&["true"]);
        let bytes = mib << 20;
        let starts = c.sandbox.bare(["--version"]).rlimit(libc::RLIMIT_AS, bytes).out();
        if starts.code != Some(0) {
            continue; // the kernel cannot map the program: no instruction of the runtime has run
        }
        let out = c.run_with(&[]).rlimit(libc::RLIMIT_AS, bytes).out();
        if is_croci() {
            let out = out.no_panic();
            // the run succeeds, or its one line of error names memory as the reason
            let reasons = ["cannot allocate memory", "out of memory", "memory allocation"];
            let named = reasons.iter().any(|text| out.stderr.to_lowercase().contains(text));
            assert!(out.code == Some(0) || named && out.stderr.lines().count() == 1, "RLIMIT_AS {mib} MiB: {out:?}");
            assert!(mib < 64 || out.code == Some(0), "it needs less than 64 MiB: {out:?}");
        }
        c.delete_force().no_panic();
        c.nothing_left();
    }
}

#[test]
fn ft_27_l5_pids_limits_from_0() {
    need_root!();
    for limit in 0..=5 {
        let c = Container::new(&["true"])
            .edit(|config| config["linux"]["resources"] = json!({ "pids": { "limit": limit } }));
        let out = c.run();
        if limit >= 1 {
            out.ok();
        } else if out.code != Some(0) {
            // 0 is a limit (PI-1): the kernel applies it to a process that is cloned into the cgroup, not to one that
            // is moved
            out.fails().one_line().stderr_contains("a pids limit is reached");
        }
        c.nothing_left();
    }
}

#[test]
fn ft_27_the_callers_own_pids_limit_is_named() {
    need_root!();
    if !cgroup::has_controller("pids") {
        skip!("no pids controller");
    }
    let c = Container::new(&["true"]);
    let path = format!("/{}-caller", c.sandbox.token);
    cgroup::create(&path);
    let dir = cgroup::dir("pids", &path);
    if !dir.join("pids.max").exists() {
        skip!("the pids controller is not enabled below the top");
    }
    std::fs::write(dir.join("pids.max"), "1").unwrap();
    let procs = host::cstr(&dir.join("cgroup.procs"));
    let out = c.run_with(&[]).before_exec(move || host::join_cgroup(&procs)).out();
    if is_croci() && cgroup::is_v2() && !cgroup::by_systemd() {
        // cloned directly into its own cgroup, the container does not count in the caller's
        out.ok();
    } else if is_croci() {
        out.fails().one_line().stderr_contains("pids");
    }
    let ids = sandbox::state_entries(&c.sandbox.root);
    assert!(ids.is_empty() || !is_croci(), "left {ids:?}");
}

#[test]
fn ft_28_small_memory_limits() {
    need_root!();
    if !cgroup::has_controller("memory") {
        skip!("no memory controller");
    }
    for kib in [512u64, 1024, 2048, 4096, 8192] {
        let c = Container::new(&["true"])
            .edit(|config| config["linux"]["resources"] = json!({ "memory": { "limit": kib << 10 } }));
        let out = c.run().no_panic();
        let reasons = ["OOM killer", "memory limit", "cannot allocate memory"];
        let named = reasons.iter().any(|text| out.stderr.contains(text));
        assert!(out.code == Some(0) || named, "{kib} KiB: the reason is named: {out:?}");
        assert!(kib < 8192 || out.code == Some(0), "busybox fits in 8 MiB: {out:?}");
        c.delete_force().no_panic();
        c.nothing_left();
    }
}

#[test]
fn ft_31_a_limit_of_cgroups_is_named() {
    need_root!();
    need_own_cgroups!();
    if !cgroup::is_v2() {
        skip!("cgroup.max.descendants is of cgroup v2");
    }
    let c = Container::new(&["true"]);
    let parent = format!("/{}-parent", c.sandbox.token);
    cgroup::create(&parent);
    std::fs::write(cgroup::dir("", &parent).join("cgroup.max.descendants"), "0").unwrap();
    let c = c.edit(|config| config["linux"]["cgroupsPath"] = json!(format!("{parent}/child")));
    c.run().fails().one_line().stderr_contains("cgroup.max");
    cgroup::remove_all(&format!("{}-parent", c.sandbox.token));
    c.nothing_left();
}

#[test]
fn ft_24_no_space_for_a_mount_point() {
    need_root!();
    let c = Container::new(&["true"]);
    let small = c.sandbox.mkdir("smallroot");
    let source = c.sandbox.mkdir("volume");
    let list = c.sandbox.path("left");
    let c = c.edit(|config| {
        config["root"]["path"] = json!(small);
        bundle::add_mount(config, bundle::bind(&source, "/one/two/three/four/five/six/seven/eight", &[]));
    });
    let args = run_args(&c);
    let setup = format!(
        "mount -t tmpfs -o nr_inodes=24 small {0} && cd {0} && mkdir -p bin proc dev sys etc && \
        cp {1} bin/busybox && ln bin/busybox bin/true && i=0 && while [ $(df -i {0} | tail -1 | awk '{{print $4}}') -gt 4 ]; \
        do i=$((i+1)); : > pad$i; done && (\"$0\" \"$@\"; echo $? > {2}; ls -A {0} >> {2}) 2>{2}.err; exit 0",
        small.display(),
        c.file("/bin/busybox").display(),
        list.display()
    );
    in_private_mounts(&c, &setup, &c.sandbox.root, &args.iter().map(String::as_str).collect::<Vec<_>>());
    let left = std::fs::read_to_string(&list).unwrap();
    let text = std::fs::read_to_string(list.with_extension("err")).unwrap_or_default();
    assert!(!left.starts_with("0\n") && text.contains("no space left on device"), "{left} {text}");
    assert!(!is_croci() || !left.lines().any(|name| name == "one"), "directories created so far are removed: {left}");
    c.nothing_left();
}
