//! The plan of a container as text or JSON: what `create` would do, in its order, without doing it.

use anyhow::Result;
use base::error::{Code, Coding as _};
use serde_json::{Value, json};

use super::namespaces::drop_own_namespaces;
use super::options;
use super::prepare::{self, Preparation, preserved};
use crate::bundle;
use crate::bundle::Bundle;
use crate::config::ContainerId;
use crate::plan::ContainerPlan;
use crate::plan::hook::HookPlan;
use crate::plan::mount::{MountKind, MountStep};
use crate::plan::namespace::TYPES;
use crate::plan::process::ProcessPlan;
use base::error::escape::one_line;

/// One step: its kind, and what it is about.
#[derive(Debug)]
pub(crate) struct PreviewStep {
    /// The kind: `mount`, `cgroup`, `namespace`…
    pub kind: &'static str,
    /// A sentence without the kind.
    pub text: String,
}

/// A container that was planned and not created.
#[derive(Debug)]
pub(crate) struct Preview {
    /// The steps in the order of `create` and `start`.
    pub steps: Vec<PreviewStep>,
    /// The warnings that `create` would give.
    pub warnings: Vec<String>,
}

impl Preview {
    /// Returns the steps as JSON.
    pub(crate) fn json(&self) -> Value {
        let step = |step: &PreviewStep| json!({"step": step.kind, "text": step.text});
        json!({"steps": self.steps.iter().map(step).collect::<Vec<_>>(), "warnings": self.warnings})
    }

    /// Returns a line for each step.
    pub(crate) fn text(&self) -> String {
        let steps = self.steps.iter().map(|step| format!("{:<10} {}\n", step.kind, one_line(&step.text)));
        let warnings = self.warnings.iter().map(|warning| format!("{:<10} {}\n", "warning", one_line(warning)));
        steps.chain(warnings).collect()
    }
}

/// Plans the container of `args` and opens what the plan names of the host; nothing is created and nothing changes.
///
/// # Errors
/// Those of `create` before its first side effect.
pub(crate) fn preview(args: &options::Create, cgroups: options::Cgroups) -> Result<Preview> {
    let bundle = bundle::open(&args.bundle, args.config.as_deref())?;
    of_bundle(bundle, args, cgroups)
}

/// As [`preview`], of a bundle that is open.
///
/// # Errors
/// As [`preview`].
pub(crate) fn of_bundle(mut bundle: Bundle, args: &options::Create, cgroups: options::Cgroups) -> Result<Preview> {
    let id = ContainerId::new(&args.id)?;
    drop_own_namespaces(&mut bundle)?;
    let prepared =
        prepare::prepare(&id, &bundle, args, &preserved(args.preserve_fds)?, cgroups).or_code(Code::ConfigInvalid)?;
    let mut opened = prepared.open()?;
    prepared.open_rootfs(&mut opened)?;
    let mut warnings = bundle.config.warnings;
    warnings.extend(prepared.cgroup.warnings.iter().cloned());
    warnings.extend(prepared.plan.rootfs.iter().flat_map(|rootfs| rootfs.warnings.iter().cloned()));
    warnings.extend(prepared.plan.process.iter().flat_map(|process| process.warnings.iter().cloned()));
    Ok(Preview { steps: steps(&prepared), warnings })
}

fn steps(prepared: &Preparation) -> Vec<PreviewStep> {
    let plan = &prepared.plan;
    let mut steps = Vec::new();
    let mut add = |kind: &'static str, text: String| steps.push(PreviewStep { kind, text });
    for dir in &prepared.cgroup.record.dirs {
        add("cgroup", format!("create {}", prepared.cgroup.record.path_in(dir)));
    }
    for setting in &prepared.cgroup.settings {
        let (file, value) = setting.candidates.first().map_or(("", ""), |(file, value)| (&**file, value));
        add("limit", format!("linux.resources.{}: write {value:?} to {file}", setting.field));
    }
    if prepared.cgroup.devices.is_some() {
        add("limit", "linux.resources.devices: allow the listed devices alone".to_owned());
    }
    namespaces(plan, &mut add);
    hooks("prestart", &plan.hooks.prestart, &mut add);
    hooks("createRuntime", &plan.hooks.create_runtime, &mut add);
    for device in &prepared.devices {
        add("network", format!("move {device:?}"));
    }
    rootfs(plan, &mut add);
    hooks("createContainer", &plan.hooks.create_container, &mut add);
    for sysctl in &plan.sysctl {
        add("sysctl", format!("linux.sysctl.{}: write {:?}", sysctl.name, sysctl.value));
    }
    if plan.seccomp.is_some() {
        add("seccomp", "load the filter of linux.seccomp".to_owned());
    }
    hooks("startContainer", &plan.hooks.start_container, &mut add);
    if let Some(process) = &plan.process {
        program(process, &mut add);
    }
    hooks("poststart", &plan.hooks.poststart, &mut add);
    hooks("poststop", &plan.hooks.poststop, &mut add);
    steps
}

/// Adds a step: its kind and its text.
type Add<'a> = &'a mut dyn FnMut(&'static str, String);

fn namespaces(plan: &ContainerPlan, add: Add<'_>) {
    let namespaces = &plan.namespaces;
    for (_, name, flag) in TYPES {
        if namespaces.clone_flags & flag != 0 {
            add("namespace", format!("new {name}"));
        }
    }
    if namespaces.new_cgroup {
        add("namespace", "new cgroup".to_owned());
    }
    if namespaces.new_time.is_some() {
        add("namespace", "new time".to_owned());
    }
    for join in namespaces.user.iter().chain(&namespaces.pid).chain(&namespaces.joins) {
        add("namespace", format!("join {} of {:?}", join.name, join.path));
    }
    if let Some(name) = &plan.hostname {
        add("hostname", format!("{name:?}"));
    }
}

fn rootfs(plan: &ContainerPlan, add: Add<'_>) {
    let Some(rootfs) = &plan.rootfs else { return };
    add("root", format!("{:?}{}", rootfs.path, if rootfs.readonly { ", read-only" } else { "" }));
    for step in &rootfs.steps {
        add("mount", format!("{}: {}", step.label, mount(step)));
    }
    for device in rootfs.devices.iter().flatten() {
        add("device", format!("{:?}, mode {:o}", device.path, device.mode & 0o7777));
    }
    for path in &rootfs.masked {
        add("mask", format!("{path:?}"));
    }
    for path in &rootfs.readonly_paths {
        add("readonly", format!("{path:?}"));
    }
}

fn mount(step: &MountStep) -> String {
    match &step.kind {
        MountKind::Bind(bind) => {
            format!("bind {:?}{}", bind.source, if bind.recursive { " with the mounts below it" } else { "" })
        }
        MountKind::New(new) => format!("new {:?}", new.fs),
        MountKind::Cgroup => "cgroup file systems".to_owned(),
        MountKind::Remount { .. } => "change of flags".to_owned(),
    }
}

fn hooks(kind: &'static str, hooks: &[HookPlan], add: Add<'_>) {
    for hook in hooks {
        add("hook", format!("{kind}: {:?}", hook.path));
    }
}

fn program(process: &ProcessPlan, add: Add<'_>) {
    for limit in &process.rlimits {
        add("rlimit", format!("{}: soft {}, hard {}", limit.name, limit.soft, limit.hard));
    }
    let caps = &process.caps;
    add(
        "user",
        format!(
            "uid {}, gid {}, capabilities: effective {:#x}, bounding {:#x}{}",
            process.uid,
            process.gid,
            caps.effective,
            caps.bounding,
            if process.no_new_privs { ", no_new_privs" } else { "" }
        ),
    );
    let words: Vec<String> = process.args.iter().map(|word| format!("{word:?}")).collect();
    add(
        "program",
        format!("{} in {:?}{}", words.join(" "), process.cwd, if process.terminal { ", with a terminal" } else { "" }),
    );
}
