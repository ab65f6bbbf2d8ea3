//! Messages of the sandbox service, and what the shim reads of a pod's configuration (`runtime.v1.PodSandboxConfig`).

use std::collections::BTreeMap;

use super::{Any, Timestamp};

/// `containerd.runtime.sandbox.v1.CreateSandboxRequest`
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CreateRequest {
    /// Sandbox ID.
    #[prost(string, tag = "1")]
    pub sandbox_id: String,
    /// Directory of the bundle.
    #[prost(string, tag = "2")]
    pub bundle_path: String,
    /// The pod's configuration.
    #[prost(message, optional, tag = "4")]
    pub options: Option<Any>,
    /// Network namespace; empty for the host's.
    #[prost(string, tag = "5")]
    pub netns_path: String,
}

/// Every other request of the service: `StartSandboxRequest`, `PlatformRequest` and so on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Request {
    /// Sandbox ID.
    #[prost(string, tag = "1")]
    pub sandbox_id: String,
}

/// `containerd.runtime.sandbox.v1.StartSandboxResponse`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct StartResponse {
    /// The process whose namespaces the containers join.
    #[prost(uint32, tag = "1")]
    pub pid: u32,
    /// When it was started.
    #[prost(message, optional, tag = "2")]
    pub created_at: Option<Timestamp>,
}

/// `containerd.runtime.sandbox.v1.PlatformResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PlatformResponse {
    /// The host's.
    #[prost(message, optional, tag = "1")]
    pub platform: Option<Platform>,
}

/// `containerd.types.Platform`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Platform {
    /// `linux`
    #[prost(string, tag = "1")]
    pub os: String,
    /// As Go names it.
    #[prost(string, tag = "2")]
    pub architecture: String,
}

/// `containerd.runtime.sandbox.v1.SandboxStatusResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusResponse {
    /// Sandbox ID.
    #[prost(string, tag = "1")]
    pub sandbox_id: String,
    /// Its process; 0 before the start and after the end.
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    /// `SANDBOX_READY` or `SANDBOX_NOTREADY`.
    #[prost(string, tag = "3")]
    pub state: String,
    /// When it was started.
    #[prost(message, optional, tag = "5")]
    pub created_at: Option<Timestamp>,
    /// When it has ended.
    #[prost(message, optional, tag = "6")]
    pub exited_at: Option<Timestamp>,
}

/// `containerd.runtime.sandbox.v1.SandboxMetricsResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MetricsResponse {
    /// Counters.
    #[prost(message, optional, tag = "1")]
    pub metrics: Option<Metric>,
}

/// `containerd.types.Metric`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Metric {
    /// When they were read.
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    /// Sandbox ID.
    #[prost(string, tag = "2")]
    pub id: String,
    /// The counters of a cgroup.
    #[prost(message, optional, tag = "3")]
    pub data: Option<Any>,
}

/// `runtime.v1.PodSandboxConfig`
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PodConfig {
    /// Hostname.
    #[prost(string, tag = "2")]
    pub hostname: String,
    /// Name servers.
    #[prost(message, optional, tag = "4")]
    pub dns: Option<Dns>,
    /// The rest.
    #[prost(message, optional, tag = "8")]
    pub linux: Option<PodLinux>,
}

/// `runtime.v1.DNSConfig`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Dns {
    /// Addresses.
    #[prost(string, repeated, tag = "1")]
    pub servers: Vec<String>,
    /// Domains.
    #[prost(string, repeated, tag = "2")]
    pub searches: Vec<String>,
    /// Options of resolv.conf(5).
    #[prost(string, repeated, tag = "3")]
    pub options: Vec<String>,
}

/// `runtime.v1.LinuxPodSandboxConfig`
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PodLinux {
    /// Cgroup of the pod, or its slice.
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    /// Namespaces.
    #[prost(message, optional, tag = "2")]
    pub security: Option<PodSecurity>,
    /// Kernel parameters.
    #[prost(btree_map = "string, string", tag = "3")]
    pub sysctls: BTreeMap<String, String>,
}

/// `runtime.v1.LinuxSandboxSecurityContext`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PodSecurity {
    /// Namespaces.
    #[prost(message, optional, tag = "1")]
    pub namespaces: Option<PodNamespaces>,
}

/// `runtime.v1.NamespaceOption`; each mode is a value of [`mode`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PodNamespaces {
    /// Mode of the network namespace.
    #[prost(int32, tag = "1")]
    pub network: i32,
    /// Mode of the pid namespace.
    #[prost(int32, tag = "2")]
    pub pid: i32,
    /// Mode of the IPC namespace.
    #[prost(int32, tag = "3")]
    pub ipc: i32,
    /// The user namespace, if it is not the host's.
    #[prost(message, optional, tag = "5")]
    pub user: Option<PodUser>,
}

/// `runtime.v1.UserNamespace`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct PodUser {
    /// [`mode::POD`] or [`mode::NODE`].
    #[prost(int32, tag = "1")]
    pub mode: i32,
}

/// `runtime.v1.NamespaceMode`
pub(crate) mod mode {
    /// One for the pod.
    pub(crate) const POD: i32 = 0;
    /// One for each container.
    pub(crate) const CONTAINER: i32 = 1;
    /// The host's.
    pub(crate) const NODE: i32 = 2;
}
