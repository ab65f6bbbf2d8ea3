//! What containerd 2.3 and later write to the standard input of `start`, and the answer; `containerd.runtime.bootstrap.v1`.

use super::Any;

/// `BootstrapParams`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BootstrapParams {
    /// Container, or the pod's sandbox.
    #[prost(string, tag = "1")]
    pub instance_id: String,
    /// Namespace of containerd.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// 0 for information, less for more.
    #[prost(int32, tag = "3")]
    pub log_level: i32,
    /// containerd's socket for events.
    #[prost(string, tag = "5")]
    pub containerd_ttrpc_address: String,
    /// Options of the runtime, and what else containerd may pass.
    #[prost(message, repeated, tag = "8")]
    pub extensions: Vec<Extension>,
    /// Directory of the shim's socket, if it is another than the usual one.
    #[prost(string, tag = "9")]
    pub socket_dir: String,
}

/// `Extension`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Extension {
    /// The message.
    #[prost(message, optional, tag = "1")]
    pub value: Option<Any>,
}

/// `BootstrapResult`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BootstrapResult {
    /// Version of the task service.
    #[prost(int32, tag = "1")]
    pub version: i32,
    /// Where the shim listens.
    #[prost(string, tag = "2")]
    pub address: String,
    /// `ttrpc` or `grpc`.
    #[prost(string, tag = "3")]
    pub protocol: String,
}
