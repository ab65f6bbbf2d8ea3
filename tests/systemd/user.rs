//! Containers of an ordinary user, whose scopes the user's own service manager creates.

use crate::need_systemd;
use test_support::user::{User, own_tree};
use test_support::*;

fn user() -> Result<User, &'static str> {
    if !cgroup::is_v2() {
        return Err("needs cgroup v2");
    }
    User::with_manager().ok_or("no user with subordinate ids and a service manager (loginctl enable-linger NAME)")
}

fn property(user: &User, c: &Container, name: &str) -> String {
    let unit = format!("croci-{}.scope", c.id);
    user.command("systemctl").args(["--user", "show", "--value", "-p", name, &unit]).out().ok().text().to_owned()
}

fn pid(user: &User, c: &Container) -> i32 {
    user.verb(c, "state", &[]).out().ok().json()["pid"].as_i64().unwrap().try_into().unwrap()
}

#[test]
fn a_users_manager_makes_the_scope() {
    need_systemd!();
    let user = match user() {
        Ok(user) => user,
        Err(reason) => skip!("{reason}"),
    };
    let c = user.container(&["sleep", "1000"]).edit(|config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 40 } });
    });
    user.up(&c);
    let pid = pid(&user, &c);
    let place = format!("user@{0}.service/user.slice/croci-{1}.scope", user.id, c.id);
    let dir = cgroup::dir_of(pid, "").unwrap();
    assert!(dir.ends_with(&place), "{dir:?}");
    let file = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap().trim().to_owned();
    assert_eq!([file("memory.max"), file("pids.max")], ["67108864", "40"]);
    assert_eq!([property(&user, &c, "MemoryMax"), property(&user, &c, "TasksMax")], ["67108864", "40"]);
    // a process of a login session is not in the cgroup of the user's manager: only that manager can move it there
    let own = c.sandbox.mkdir("own");
    own_tree(&own, user.id);
    let pid_file = own.join("pid");
    let flags = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
    user.exec(&c, &flags, &["sleep", "500"]).ok();
    let executed: i32 = std::fs::read_to_string(pid_file).unwrap().parse().unwrap();
    assert_eq!(cgroup::dir_of(executed, ""), Some(dir.clone()));
    user.verb(&c, "update", &["--pids-limit", "50"]).out().ok();
    assert_eq!((file("pids.max"), property(&user, &c, "TasksMax")), ("50".to_owned(), "50".to_owned()));
    user.verb(&c, "pause", &[]).out().ok();
    assert_eq!(user.status(&c), "paused");
    user.verb(&c, "resume", &[]).out().ok();
    user.verb(&c, "delete", &["--force"]).out().ok();
    assert_eq!(property(&user, &c, "LoadState"), "not-found");
    c.nothing_left();
}

#[test]
fn root_of_a_users_namespace_has_the_users_manager() {
    need_systemd!();
    let user = match user() {
        Ok(user) => user,
        Err(reason) => skip!("{reason}"),
    };
    // as Podman runs croci: its own user namespace maps all ids, and the configuration none
    let c = user.container(&["sleep", "1000"]).edit(|config| {
        config["linux"]["resources"] = json!({ "pids": { "limit": 30 } });
        config["linux"]["cgroupsPath"] = json!(format!("user.slice:libpod:{}", config["hostname"].as_str().unwrap()));
    });
    let c = c.edit(|config| {
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        linux["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "user");
    });
    c.write_config();
    own_tree(&c.rootfs, user.id);
    let script = "croci=$1; root=$2; bundle=$3; id=$4; run() { $croci --root $root --systemd-cgroup \"$@\"; }; \
        run create --bundle $bundle $id; run start $id; cat /proc/$(run state $id | grep -o '\"pid\": [0-9]*' | cut -d' ' -f2)/cgroup; \
        run exec $id true; run delete --force $id";
    let flags = ["--user", "--map-root-user", "--map-auto", "--mount", "sh", "-ec", script, "sh"];
    let out =
        user.command("unshare").args(flags).arg(&user.runtime).arg(&user.sandbox.root).arg(&c.bundle).arg(&c.id).out();
    let out = out.ok();
    assert!(out.stdout.contains(&format!("user@{}.service/user.slice/libpod-", user.id)), "{out:?}");
    c.nothing_left();
}

#[test]
fn without_a_manager_the_error_names_what_starts_one() {
    need_systemd!();
    let user = match user() {
        Ok(user) => user,
        Err(reason) => skip!("{reason}"),
    };
    let c = user.container(&["true"]);
    c.write_config();
    let create = user.verb(&c, "create", &["--bundle", c.bundle.to_str().unwrap()]);
    create.env("XDG_RUNTIME_DIR", c.sandbox.path("nowhere")).out().fails().one_line().stderr_contains("enable-linger");
    c.nothing_left();
}
