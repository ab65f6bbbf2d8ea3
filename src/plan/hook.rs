//! The hook part of the plan: program, arguments, environment and timeout of each hook.
//!
//! `hook` runs them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use oci_spec::runtime::{Hook, Hooks};

use crate::config;

/// One hook, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct HookPlan {
    /// The field of the configuration: `hooks.prestart[0]`.
    pub field: String,
    /// Absolute path of the program.
    pub path: PathBuf,
    /// The arguments, with `argv[0]`.
    pub args: Vec<String>,
    /// The whole environment (HK-9: never croci's own).
    pub env: Vec<String>,
    /// Longest run time; `None`: unlimited.
    pub timeout: Option<Duration>,
}

/// Files on the host for the standard output and error of hooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OutputPaths {
    /// File for standard output.
    pub stdout: Option<PathBuf>,
    /// File for standard error.
    pub stderr: Option<PathBuf>,
}

/// The container's state for the standard input of hooks.
#[derive(Debug, Clone, Default)]
pub(crate) struct HookState {
    /// Container ID.
    pub id: String,
    /// Absolute path of the bundle.
    pub bundle: PathBuf,
    /// The configuration's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl HookState {
    /// Formats the state document (runtime-spec, State) with this status and pid (HK-3, HK-4).
    pub(crate) fn state(&self, status: &str, pid: Option<i32>) -> Vec<u8> {
        let mut state = serde_json::json!({
            "ociVersion": config::SPEC_VERSION,
            "id": self.id,
            "status": status,
            "bundle": self.bundle,
            "annotations": self.annotations,
        });
        if let (Some(pid), Some(object)) = (pid, state.as_object_mut()) {
            object.insert("pid".to_owned(), pid.into());
        }
        state.to_string().into_bytes()
    }
}

/// All hooks, by their list in the configuration.
#[derive(Debug, Clone, Default)]
pub(crate) struct HooksPlan {
    /// Run in the runtime's namespaces, after the container's exist (deprecated list).
    pub prestart: Vec<HookPlan>,
    /// Run in the runtime's namespaces, after prestart.
    pub create_runtime: Vec<HookPlan>,
    /// Run in the container's namespaces by a path on the host, before the root changes.
    pub create_container: Vec<HookPlan>,
    /// Run in the container, before the program.
    pub start_container: Vec<HookPlan>,
    /// Run in the runtime's namespaces, after the program was started.
    pub poststart: Vec<HookPlan>,
    /// Run in the runtime's namespaces, after the container was deleted.
    pub poststop: Vec<HookPlan>,
    /// Files for the output of all hooks (HK-10).
    pub output: OutputPaths,
}

impl HooksPlan {
    /// Lists the hooks that verbs after `create` run: `poststart` and `poststop`, if there are any.
    pub(crate) fn later(&self) -> Vec<String> {
        let kinds = [("poststart", &self.poststart), ("poststop", &self.poststop)];
        kinds.iter().filter(|(_, hooks)| !hooks.is_empty()).map(|(kind, _)| (*kind).to_owned()).collect()
    }

    /// Reports whether the parent runs hooks while init waits before the change of root.
    pub(crate) fn during_create(&self) -> bool {
        !self.prestart.is_empty() || !self.create_runtime.is_empty()
    }
}

/// Plans the hooks. startContainer hooks without `env` get `process_env`, because they run in the container; hooks on
/// the host get an empty environment.
pub(crate) fn plan(hooks: Option<&Hooks>, process_env: &[String]) -> HooksPlan {
    let Some(hooks) = hooks else { return HooksPlan::default() };
    #[allow(deprecated)] // prestart is deprecated in the specification, and still required
    let prestart = hooks.prestart();
    HooksPlan {
        prestart: list("prestart", prestart.as_deref(), &[]),
        create_runtime: list("createRuntime", hooks.create_runtime().as_deref(), &[]),
        create_container: list("createContainer", hooks.create_container().as_deref(), &[]),
        start_container: list("startContainer", hooks.start_container().as_deref(), process_env),
        poststart: list("poststart", hooks.poststart().as_deref(), &[]),
        poststop: list("poststop", hooks.poststop().as_deref(), &[]),
        output: OutputPaths::default(),
    }
}

fn list(kind: &str, hooks: Option<&[Hook]>, default_env: &[String]) -> Vec<HookPlan> {
    let plan = |(index, hook): (usize, &Hook)| HookPlan {
        field: format!("hooks.{kind}[{index}]"),
        path: hook.path().clone(),
        args: match hook.args() {
            Some(args) if !args.is_empty() => args.clone(),
            _ => vec![hook.path().display().to_string()],
        },
        env: hook.env().clone().unwrap_or_else(|| default_env.to_vec()),
        timeout: hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
    };
    hooks.unwrap_or_default().iter().enumerate().map(plan).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hk_9_only_startcontainer_falls_back_to_the_environment_of_the_process() {
        let text = r#"{"prestart":[{"path":"/p"}],"startContainer":[{"path":"/s"},{"path":"/t","args":["a","b"],"env":["X=1"],"timeout":3}]}"#;
        let hooks: Hooks = serde_json::from_str(text).unwrap();
        let plan = plan(Some(&hooks), &["A=1".to_owned()]);
        assert_eq!((plan.prestart[0].env.len(), &plan.prestart[0].args), (0, &vec!["/p".to_owned()]));
        assert_eq!(plan.start_container[0].env, ["A=1"]);
        let last = &plan.start_container[1];
        assert_eq!((last.field.as_str(), last.env[0].as_str()), ("hooks.startContainer[1]", "X=1"));
        assert_eq!((last.args.len(), last.timeout), (2, Some(Duration::from_secs(3))));
    }
}
