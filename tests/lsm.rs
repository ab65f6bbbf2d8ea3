//! AppArmor profiles and SELinux labels on a kernel that has them; the guest of `make test-vm` has AppArmor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use test_support::*;

/// A profile that is loaded into the kernel, and removed when the value is dropped.
struct Profile {
    sandbox: std::sync::Arc<Sandbox>,
    name: String,
    file: std::path::PathBuf,
}

impl Profile {
    /// Loads a profile that allows everything except what `rules` deny.
    fn load(rules: &str) -> Profile {
        let sandbox = Sandbox::new();
        let name = format!("croci-test-{}", sandbox.token);
        let text = format!(
            "profile {name} flags=(attach_disconnected) {{\n  file,\n  mount,\n  umount,\n  capability,\n  \
             network,\n  signal,\n  ptrace,\n  unix,\n  dbus,\n  pivot_root,\n  change_profile,\n  {rules}\n}}\n"
        );
        let file = sandbox.write("profile", text);
        sandbox.program("apparmor_parser").args(["--replace", "--skip-cache"]).arg(&file).out().ok();
        Profile { sandbox, name, file }
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = self.sandbox.program("apparmor_parser").arg("--remove").arg(&self.file).command.output();
    }
}

/// Returns the reason why AppArmor cannot be tested here, `None` where it can.
fn lacks_apparmor() -> Option<&'static str> {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    if !enabled {
        return Some("AppArmor is not enabled in this kernel");
    }
    if !std::path::Path::new("/sys/kernel/security/apparmor/profiles").exists() {
        return Some("securityfs is not mounted at /sys/kernel/security");
    }
    if !std::path::Path::new("/sbin/apparmor_parser").exists() {
        return Some("no apparmor_parser (apt-get install apparmor)");
    }
    None
}

fn confined(profile: &str, args: &[&str]) -> Container {
    Container::new(args).edit(|config| config["process"]["apparmorProfile"] = json!(profile))
}

const LABEL: &str =
    "cat /proc/self/attr/current; echo x >/tmp/forbidden; echo \"status $?\"; echo y >/tmp/allowed && echo fine";

#[test]
fn pr_10_the_profile_is_applied_and_holds() {
    need_root!();
    if let Some(reason) = lacks_apparmor() {
        skip!("{reason}");
    }
    let profile = Profile::load("deny /**/forbidden rw,\n  deny /tmp/forbidden rw,");
    let out = confined(&profile.name, &["sh", "-c", LABEL]).run().ok();
    assert_eq!(out.lines(), [&format!("{} (enforce)", profile.name), "status 1", "fine"], "{out:?}");
}

#[test]
fn pr_10_exec_has_the_containers_profile_or_another() {
    need_root!();
    if let Some(reason) = lacks_apparmor() {
        skip!("{reason}");
    }
    let (profile, other) = (Profile::load(""), Profile::load(""));
    let c = confined(&profile.name, &["sleep", "1000"]).up();
    let label = |flags: &[&str]| {
        let command = [&["exec"], flags, &[c.id.as_str(), "cat", "/proc/self/attr/current"]].concat();
        c.croci(command).out().ok().text().to_owned()
    };
    assert_eq!(label(&[]), format!("{} (enforce)", profile.name));
    assert_eq!(label(&["--apparmor", &other.name]), format!("{} (enforce)", other.name));
}

#[test]
fn pr_10_a_missing_profile_is_an_error() {
    need_root!();
    if let Some(reason) = lacks_apparmor() {
        skip!("{reason}");
    }
    let c = confined("croci-no-such-profile", &["true"]);
    c.create()
        .fails()
        .one_line()
        .stderr_contains("process.apparmorProfile")
        .stderr_contains("croci-no-such-profile")
        .stderr_contains("`/proc/self/attr/");
    c.nothing_left();
    let c = Container::running();
    c.croci(["exec", "--apparmor", "croci-no-such-profile", &c.id, "true"])
        .out()
        .fails()
        .stderr_contains("croci-no-such-profile");
    assert_eq!(c.status(), "running");
}

#[test]
fn pr_10_unconfined_needs_no_profile() {
    need_root!();
    if let Some(reason) = lacks_apparmor() {
        skip!("{reason}");
    }
    let out = confined("unconfined", &["cat", "/proc/self/attr/current"]).run().ok();
    assert_eq!(out.text(), "unconfined");
}

#[test]
fn pr_11_a_selinux_label_is_applied() {
    need_root!();
    if !std::path::Path::new("/sys/fs/selinux/enforce").exists() {
        skip!("SELinux is not enabled in this kernel");
    }
    let own = std::fs::read_to_string("/proc/self/attr/current").unwrap();
    let own = own.trim_end_matches(['\0', '\n']);
    let labelled = |label: &str| {
        Container::new(&["cat", "/proc/self/attr/current"])
            .edit(|config| config["process"]["selinuxLabel"] = json!(label))
    };
    assert_eq!(labelled(own).run().ok().text().trim_end_matches('\0'), own);
    let c = labelled("no_u:no_r:no_t:s0");
    c.create().fails().one_line().stderr_contains("process.selinuxLabel");
    c.nothing_left();
}

/// croci warns of a protection that this host does not have at any log level, in the log and on standard error.
#[test]
fn a_label_that_cannot_be_applied_is_a_warning_that_the_caller_sees() {
    need_root!();
    let mut fields = Vec::new();
    if std::fs::read("/sys/module/apparmor/parameters/enabled").is_err() {
        fields.push("process.apparmorProfile");
    }
    if !std::path::Path::new("/sys/fs/selinux/status").exists() {
        fields.push("linux.mountLabel");
    }
    if fields.is_empty() {
        skip!("this kernel has both AppArmor and SELinux");
    }
    let c = Container::new(&["sleep", "1000"]).edit(|config| {
        config["process"]["apparmorProfile"] = json!("no-such-profile");
        config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0");
        if !fields.contains(&"process.apparmorProfile") {
            config["process"].as_object_mut().unwrap().remove("apparmorProfile");
        }
    });
    c.write_config();
    let log = c.sandbox.path("log");
    let create = c.croci(["--log"]).arg(&log).args(["create", "--bundle"]).arg(&c.bundle).arg(&c.id);
    let out = create.out().ok();
    let text = std::fs::read_to_string(&log).unwrap();
    for field in &fields {
        let warned = |text: &str| text.lines().any(|line| line.contains(field) && line.contains("ignored"));
        assert!(warned(&out.stderr), "{field}: {out:?}");
        assert!(warned(&text), "{field}: {text}");
    }
    c.start().ok();
    let exec = c.exec(&["true"]).ok();
    assert_eq!(
        exec.stderr.contains("process.apparmorProfile"),
        fields.contains(&"process.apparmorProfile"),
        "{exec:?}"
    );
    c.delete_force().ok();
}
