//! The hook part of the plan: program, arguments, environment and timeout of each hook.
//!
//! `hook` runs them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::{Hook, Hooks};
use serde::Serialize;

use crate::config;

/// One hook, ready to run.
#[derive(Debug, Clone)]
pub(crate) struct HookPlan {
    /// Kind and index in runc's words, which callers match: `prestart hook #0`.
    pub name: String,
    /// Absolute path of the program.
    pub path: PathBuf,
    /// The arguments, with `argv[0]`.
    pub args: Vec<String>,
    /// The whole environment; `None`: that of the process which runs the hook (HK-9).
    pub env: Option<Vec<OsString>>,
    /// Working directory; `None`: that of the process which runs the hook.
    pub dir: Option<PathBuf>,
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
    /// Absolute path of the root directory on the host.
    pub root: PathBuf,
    /// The configuration's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl HookState {
    /// Formats the state document (runtime-spec, State) with this status and pid (HK-3, HK-4).
    pub(crate) fn state(&self, status: &str, pid: Option<i32>) -> Vec<u8> {
        let state = StateDocument {
            oci_version: config::SPEC_VERSION,
            id: &self.id,
            status,
            pid,
            bundle: self.bundle.to_string_lossy(),
            root: self.root.to_string_lossy(),
            annotations: &self.annotations,
        };
        serde_json::to_vec(&state).unwrap_or_default()
    }
}

/// The state that hooks read; the fields are in runc's order, with `root` as crun has it.
#[derive(Serialize)]
struct StateDocument<'a> {
    #[serde(rename = "ociVersion")]
    oci_version: &'a str,
    id: &'a str,
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    bundle: std::borrow::Cow<'a, str>,
    root: std::borrow::Cow<'a, str>,
    annotations: &'a BTreeMap<String, String>,
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

/// Plans the hooks of the container of `bundle`.
///
/// A hook without `env` has the environment of the process that runs it, as with runc and crun: croci's own, or in the
/// container the program's. createContainer hooks get of croci's environment the `PATH` alone, because processes of the
/// container may read it. The working directory is the bundle's on the host, and the program's in the container.
pub(crate) fn plan(hooks: Option<&Hooks>, bundle: &Path) -> HooksPlan {
    let Some(hooks) = hooks else { return HooksPlan::default() };
    #[allow(deprecated)] // prestart is deprecated in the specification, and still required
    let prestart = hooks.prestart();
    let path = std::env::var_os("PATH").map(|path| {
        let mut pair = OsString::from("PATH=");
        pair.push(path);
        pair
    });
    let path: Vec<OsString> = path.into_iter().collect();
    let outside = Some(bundle);
    HooksPlan {
        prestart: list("prestart", prestart.as_deref(), None, outside),
        create_runtime: list("createRuntime", hooks.create_runtime().as_deref(), None, outside),
        create_container: list("createContainer", hooks.create_container().as_deref(), Some(&path), outside),
        start_container: list("startContainer", hooks.start_container().as_deref(), None, None),
        poststart: list("poststart", hooks.poststart().as_deref(), None, outside),
        poststop: list("poststop", hooks.poststop().as_deref(), None, outside),
        output: OutputPaths::default(),
    }
}

fn list(kind: &str, hooks: Option<&[Hook]>, env: Option<&[OsString]>, dir: Option<&Path>) -> Vec<HookPlan> {
    let own = |hook: &Hook| Some(hook.env().as_ref()?.iter().map(OsString::from).collect());
    let plan = |(index, hook): (usize, &Hook)| HookPlan {
        name: format!("{kind} hook #{index}"),
        path: hook.path().clone(),
        args: match hook.args() {
            Some(args) if !args.is_empty() => args.clone(),
            _ => vec![hook.path().display().to_string()],
        },
        env: own(hook).or_else(|| env.map(<[OsString]>::to_vec)),
        dir: dir.map(Path::to_path_buf),
        timeout: hook.timeout().and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs),
    };
    hooks.unwrap_or_default().iter().enumerate().map(plan).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hk_9_the_default_environment_depends_on_where_a_hook_runs() {
        let text = r#"{"prestart":[{"path":"/p"}],"createContainer":[{"path":"/c"}],
            "startContainer":[{"path":"/s"},{"path":"/t","args":["a","b"],"env":["X=1"],"timeout":3}]}"#;
        let hooks: Hooks = serde_json::from_str(text).unwrap();
        let plan = plan(Some(&hooks), Path::new("/bundle"));
        let first = &plan.prestart[0];
        assert_eq!((&first.env, first.dir.as_deref()), (&None, Some(Path::new("/bundle"))));
        assert_eq!(first.args, ["/p"]);
        let inside = plan.create_container[0].env.as_deref().unwrap();
        assert!(inside.iter().all(|pair| pair.to_str().unwrap().starts_with("PATH=")), "{inside:?}");
        assert_eq!((&plan.start_container[0].env, &plan.start_container[0].dir), (&None, &None));
        let last = &plan.start_container[1];
        assert_eq!((last.name.as_str(), last.env.as_deref().unwrap()), ("startContainer hook #1", &["X=1".into()][..]));
        assert_eq!((last.args.len(), last.timeout), (2, Some(Duration::from_secs(3))));
    }

    #[test]
    fn hk_3_the_state_is_in_runcs_order() {
        let state = HookState { id: "c".into(), bundle: "/b".into(), root: "/b/rootfs".into(), ..HookState::default() };
        let text = |state: Vec<u8>| String::from_utf8(state).unwrap();
        let version = config::SPEC_VERSION;
        assert_eq!(
            text(state.state("running", Some(7))),
            format!(
                r#"{{"ociVersion":"{version}","id":"c","status":"running","pid":7,"bundle":"/b","root":"/b/rootfs","annotations":{{}}}}"#
            )
        );
        assert!(!text(state.state("stopped", None)).contains("pid"));
    }
}
