//! Options that containerd passes, and what `-info` answers.

use super::Any;

/// `containerd.runc.v1.Options`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Options {
    /// No pivot_root(2).
    #[prost(bool, tag = "1")]
    pub no_pivot_root: bool,
    /// The session keyring stays.
    #[prost(bool, tag = "2")]
    pub no_new_keyring: bool,
    /// Cgroup of the shim.
    #[prost(string, tag = "3")]
    pub shim_cgroup: String,
    /// Owner of pipes.
    #[prost(uint32, tag = "4")]
    pub io_uid: u32,
    /// Group of pipes.
    #[prost(uint32, tag = "5")]
    pub io_gid: u32,
    /// Runtime's program, which this shim has not.
    #[prost(string, tag = "6")]
    pub binary_name: String,
    /// State root.
    #[prost(string, tag = "7")]
    pub root: String,
    /// Unused since long.
    #[prost(string, tag = "8")]
    pub criu_path: String,
    /// systemd creates the cgroups.
    #[prost(bool, tag = "9")]
    pub systemd_cgroup: bool,
    /// Directory of images to restore from.
    #[prost(string, tag = "10")]
    pub criu_image_path: String,
    /// Directory of CRIU's log.
    #[prost(string, tag = "11")]
    pub criu_work_path: String,
}

/// `containerd.linux.runc.CreateOptions`, of containerd 1.x
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CreateOptions {
    /// No pivot_root(2).
    #[prost(bool, tag = "1")]
    pub no_pivot_root: bool,
    /// The session keyring stays.
    #[prost(bool, tag = "8")]
    pub no_new_keyring: bool,
    /// Cgroup of the shim.
    #[prost(string, tag = "9")]
    pub shim_cgroup: String,
    /// Owner of pipes.
    #[prost(uint32, tag = "10")]
    pub io_uid: u32,
    /// Group of pipes.
    #[prost(uint32, tag = "11")]
    pub io_gid: u32,
    /// Directory of CRIU's log.
    #[prost(string, tag = "12")]
    pub criu_work_path: String,
    /// Directory of images to restore from.
    #[prost(string, tag = "13")]
    pub criu_image_path: String,
}

/// `containerd.linux.runc.RuncOptions`, of containerd 1.x
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RuncOptions {
    /// Runtime's program.
    #[prost(string, tag = "1")]
    pub runtime: String,
    /// State root.
    #[prost(string, tag = "2")]
    pub runtime_root: String,
    /// systemd creates the cgroups.
    #[prost(bool, tag = "4")]
    pub systemd_cgroup: bool,
}

/// `containerd.runc.v1.CheckpointOptions`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CheckpointOptions {
    /// The container ends.
    #[prost(bool, tag = "1")]
    pub exit: bool,
    /// TCP connections are kept.
    #[prost(bool, tag = "2")]
    pub open_tcp: bool,
    /// Unix sockets to the outside are kept.
    #[prost(bool, tag = "3")]
    pub external_unix_sockets: bool,
    /// A terminal of the caller is kept.
    #[prost(bool, tag = "4")]
    pub terminal: bool,
    /// Locks are kept.
    #[prost(bool, tag = "5")]
    pub file_locks: bool,
    /// Namespaces that are not restored.
    #[prost(string, repeated, tag = "6")]
    pub empty_namespaces: Vec<String>,
    /// What CRIU does with cgroups.
    #[prost(string, tag = "7")]
    pub cgroups_mode: String,
    /// Directory of the images.
    #[prost(string, tag = "8")]
    pub image_path: String,
    /// Directory of CRIU's log.
    #[prost(string, tag = "9")]
    pub work_path: String,
}

/// `containerd.runc.v1.ProcessDetails`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ProcessDetails {
    /// ID of the process.
    #[prost(string, tag = "1")]
    pub exec_id: String,
}

/// `runtimeoptions.v1.Options`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RuntimeOptions {
    /// Type of the document.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// File with the options.
    #[prost(string, tag = "2")]
    pub config_path: String,
    /// The options as TOML.
    #[prost(bytes = "vec", tag = "3")]
    pub config_body: Vec<u8>,
}

/// `containerd.types.RuntimeVersion`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RuntimeVersion {
    /// Version.
    #[prost(string, tag = "1")]
    pub version: String,
    /// Commit.
    #[prost(string, tag = "2")]
    pub revision: String,
}

/// `containerd.types.RuntimeInfo`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RuntimeInfo {
    /// Name of the runtime type.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Version.
    #[prost(message, optional, tag = "2")]
    pub version: Option<RuntimeVersion>,
    /// Options as given.
    #[prost(message, optional, tag = "3")]
    pub options: Option<Any>,
    /// Features of the runtime.
    #[prost(message, optional, tag = "4")]
    pub features: Option<Any>,
    /// Annotations.
    #[prost(map = "string, string", tag = "5")]
    pub annotations: std::collections::HashMap<String, String>,
}
