//! `--privileged`, `--cap-add`, `--cap-drop` and `--security-opt`.

use anyhow::{Result, bail, ensure};
use base::coded;
use base::error::{Code, Coding as _};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::capabilities::Changes;
use super::seccomp_file;
use crate::config::seccomp;
use base::cli_parser::values;
use base::users::User;

/// Where the seccomp filter of a container comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// corm's own profile; none with `--privileged`.
    #[default]
    Default,
    /// No filter.
    Unconfined,
    /// A profile of Docker or the OCI.
    File(PathBuf),
}

/// What a container may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// `--privileged`: all capabilities and devices, no filter, no masked paths.
    pub privileged: bool,
    /// Capabilities.
    pub capabilities: Changes,
    /// Whether set-user-ID programs are without effect.
    pub no_new_privileges: bool,
    /// Filter of system calls.
    pub seccomp: Seccomp,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// Paths that are masked beside the default ones.
    pub mask: Vec<String>,
    /// Patterns of default masked and read-only paths that are not, or `ALL`.
    pub unmask: Vec<String>,
    /// Mount options of /proc.
    pub proc_options: Vec<String>,
}

impl Security {
    /// Parses the values of `--security-opt`; Docker's old form with `:` in the place of `=` is one, too.
    ///
    /// # Errors
    /// An unknown option or value.
    pub fn parse(privileged: bool, capabilities: Changes, options: &[String]) -> Result<Self> {
        let mut security = Self { privileged, capabilities, ..Self::default() };
        for option in options {
            security.option(option).with_code(Code::UsageValue, || format!("--security-opt {option:?}"))?;
        }
        Ok(security)
    }

    /// Applies one `--security-opt`.
    fn option(&mut self, option: &str) -> Result<()> {
        let (name, value) = match option.split_once('=').or_else(|| option.split_once(':')) {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let value = match (name, value) {
            ("no-new-privileges", value) => value.unwrap_or("true"),
            (_, Some(value)) if !value.is_empty() => value,
            _ => bail!(coded!(UsageValue, "must be NAME=VALUE, or no-new-privileges")),
        };
        let list = |separator: char| value.split(separator).map(str::to_owned);
        match name {
            "no-new-privileges" => self.no_new_privileges = values::parse_bool(value)?,
            "seccomp" if value == "unconfined" => self.seccomp = Seccomp::Unconfined,
            "seccomp" if ["builtin", "default"].contains(&value) => self.seccomp = Seccomp::Default,
            "seccomp" => self.seccomp = Seccomp::File(value.into()),
            "apparmor" => self.apparmor = apparmor(value)?,
            "label" => label(value)?,
            "mask" => {
                let relative = list(':').find(|path| !path.starts_with('/'));
                ensure!(
                    relative.is_none(),
                    coded!(UsageValue, "{:?}: not an absolute path", relative.unwrap_or_default())
                );
                self.mask.extend(list(':'));
            }
            "unmask" => self.unmask.extend(list(':')),
            "systempaths" if value == "unconfined" => self.unmask.push("ALL".to_owned()),
            "proc-opts" => self.proc_options.extend(list(',')),
            _ => bail!(coded!(
                UsageValue,
                "unknown option (there are seccomp, no-new-privileges, apparmor, label, mask, unmask, \
                systempaths=unconfined and proc-opts)"
            )),
        }
        Ok(())
    }

    /// Checks what the options name on this machine, before anything is created.
    ///
    /// # Errors
    /// A seccomp profile that cannot be read or is none.
    pub fn check(&self) -> Result<()> {
        self.filter().map(drop)
    }

    /// Returns `linux.seccomp`; `None` for no filter.
    fn filter(&self) -> Result<Option<Value>> {
        let capabilities = self.capabilities.of_root(self.privileged);
        match &self.seccomp {
            Seccomp::Default if self.privileged => Ok(None),
            Seccomp::Unconfined => Ok(None),
            Seccomp::Default => Ok(Some(seccomp::profile(&capabilities))),
            Seccomp::File(path) => seccomp_file::read(path, &capabilities)
                .with_code(Code::UsageValue, || format!("--security-opt seccomp={path:?}"))
                .map(Some),
        }
    }

    /// Returns the capability sets of a process of the user.
    pub fn capability_sets(&self, user: &User) -> Value {
        let bounding = self.capabilities.of_root(self.privileged);
        let own = self.capabilities.of_others();
        sets(user, &json!(bounding), &json!(own))
    }

    /// Writes process and `linux` of a configuration.
    ///
    /// # Errors
    /// As [`Security::check`].
    pub fn apply(&self, config: &mut Value, user: &User) -> Result<()> {
        config["process"]["capabilities"] = self.capability_sets(user);
        // set-user-ID programs of an image (su, ping) work, as in other engines
        config["process"]["noNewPrivileges"] = json!(self.no_new_privileges);
        if let Some(profile) = &self.apparmor {
            config["process"]["apparmorProfile"] = json!(profile);
        }
        if let (Some(filter), Some(linux)) = (self.filter()?, config["linux"].as_object_mut()) {
            linux.insert("seccomp".into(), filter);
        }
        for name in ["maskedPaths", "readonlyPaths"] {
            if let Some(Value::Array(paths)) = config["linux"].get_mut(name) {
                paths.retain(|path| !self.is_unmasked(path.as_str().unwrap_or_default()));
            }
        }
        if let Some(Value::Array(paths)) = config["linux"].get_mut("maskedPaths") {
            paths.extend(self.mask.iter().map(|path| json!(path)));
        }
        for mount in config["mounts"].as_array_mut().into_iter().flatten() {
            self.apply_to_mount(mount);
        }
        Ok(())
    }

    /// Changes a default mount: `/proc` has the caller's options, and a privileged container may write to `/sys`.
    fn apply_to_mount(&self, mount: &mut Value) {
        let kind = mount.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if kind == "proc" && !self.proc_options.is_empty() {
            mount["options"] = json!(self.proc_options);
        }
        if self.privileged
            && ["sysfs", "cgroup", "none"].contains(&kind.as_str())
            && let Some(Value::Array(options)) = mount.get_mut("options")
        {
            options.retain(|option| option != "ro" && option != "rro");
        }
    }

    fn is_unmasked(&self, path: &str) -> bool {
        let all = |pattern: &String| pattern.eq_ignore_ascii_case("all");
        self.privileged || self.unmask.iter().any(|pattern| all(pattern) || matches(pattern, path))
    }
}

/// Returns the capability sets for a bounding set, and the capabilities of a user other than root, which are ambient so
/// that programs have them. The inheritable set is empty otherwise (CVE-2022-29162).
pub fn sets(user: &User, bounding: &Value, own: &Value) -> Value {
    if user.uid == 0 {
        json!({"bounding": bounding, "effective": bounding, "permitted": bounding})
    } else if own.as_array().is_none_or(Vec::is_empty) {
        json!({"bounding": bounding, "effective": [], "permitted": []})
    } else {
        json!({"bounding": bounding, "effective": own, "permitted": own, "inheritable": own, "ambient": own})
    }
}

/// Checks an AppArmor profile; `unconfined` is none.
fn apparmor(profile: &str) -> Result<Option<String>> {
    if profile == "unconfined" {
        return Ok(None);
    }
    const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
    let enabled = match std::fs::read_to_string(ENABLED) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_code(Code::UsageValue, || format!("is AppArmor enabled: {ENABLED}"))?,
    };
    ensure!(enabled.trim() == "Y", coded!(UsageValue, "AppArmor is not enabled on this machine"));
    Ok(Some(profile.to_owned()))
}

/// Checks an SELinux label: without SELinux none has an effect, as in Podman.
fn label(value: &str) -> Result<()> {
    let known = ["user:", "role:", "type:", "level:", "filetype:"];
    match value {
        "disable" | "nested" => Ok(()),
        _ if !known.iter().any(|name| value.starts_with(name)) => {
            bail!(coded!(UsageValue, "must be label=disable, user:, role:, type:, level: or filetype:"))
        }
        _ => {
            ensure!(
                !std::path::Path::new("/sys/fs/selinux/enforce").exists(),
                coded!(UsageValue, "SELinux is not supported")
            );
            Ok(())
        }
    }
}

/// Returns whether a path matches a pattern; `*` and `?` stand for characters other than `/`.
fn matches(pattern: &str, path: &str) -> bool {
    let (mut pattern_left, mut path_left) = (pattern.chars(), path.chars());
    match (pattern_left.next(), path_left.next()) {
        (None, None) => true,
        (Some('*'), None) => matches(pattern_left.as_str(), path),
        (Some('*'), Some(next)) => {
            matches(pattern_left.as_str(), path) || next != '/' && matches(pattern, path_left.as_str())
        }
        (Some('?'), Some(next)) => next != '/' && matches(pattern_left.as_str(), path_left.as_str()),
        (Some(wanted), Some(next)) => wanted == next && matches(pattern_left.as_str(), path_left.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn parse(options: &[&str]) -> Result<Security> {
        let options: Vec<String> = options.iter().map(|&text| text.to_owned()).collect();
        Security::parse(false, Changes::default(), &options)
    }

    #[test]
    fn options_have_two_forms() {
        let security =
            parse(&["no-new-privileges", "seccomp=unconfined", "mask=/a:/b", "unmask=/proc/*:/sys/x"]).unwrap();
        assert!(security.no_new_privileges && security.seccomp == Seccomp::Unconfined);
        assert_eq!(security.mask, ["/a", "/b"]);
        assert_eq!(security.unmask, ["/proc/*", "/sys/x"]);
        assert!(!parse(&["no-new-privileges:false"]).unwrap().no_new_privileges);
        assert!(parse(&["label=disable", "apparmor=unconfined", "systempaths=unconfined"]).unwrap().is_unmasked("/x"));
        for bad in
            ["", "seccomp", "seccomp=", "nothing=x", "mask=a", "no-new-privileges=maybe", "label=x", "systempaths=x"]
        {
            assert!(parse(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn patterns_stay_in_their_directory() {
        for (pattern, path, want) in [
            ("/proc/*", "/proc/acpi", true),
            ("/proc/*", "/proc/a/b", false),
            ("/proc/acp?", "/proc/acpi", true),
            ("/proc", "/proc/acpi", false),
            ("*", "/proc", false),
            ("/*/*", "/sys/firmware", true),
            ("/proc/acpi", "/proc/acpi", true),
        ] {
            assert_eq!(matches(pattern, path), want, "{pattern} {path}");
        }
    }
}
