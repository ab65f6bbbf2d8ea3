//! `containerd.events`, and the service that takes them.

use super::task::Mount;
use super::{Any, Timestamp};

/// `containerd.events.TaskIO`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskIo {
    /// As given.
    #[prost(string, tag = "1")]
    pub stdin: String,
    /// As given.
    #[prost(string, tag = "2")]
    pub stdout: String,
    /// As given.
    #[prost(string, tag = "3")]
    pub stderr: String,
    /// As given.
    #[prost(bool, tag = "4")]
    pub terminal: bool,
}

/// `containerd.events.TaskCreate`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskCreate {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Directory of the bundle.
    #[prost(string, tag = "2")]
    pub bundle: String,
    /// Mounts of the root file system.
    #[prost(message, repeated, tag = "3")]
    pub rootfs: Vec<Mount>,
    /// Streams.
    #[prost(message, optional, tag = "4")]
    pub io: Option<TaskIo>,
    /// Directory of a checkpoint.
    #[prost(string, tag = "5")]
    pub checkpoint: String,
    /// Pid on the host.
    #[prost(uint32, tag = "6")]
    pub pid: u32,
}

/// `containerd.events.TaskStart`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskStart {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Pid on the host.
    #[prost(uint32, tag = "2")]
    pub pid: u32,
}

/// `containerd.events.TaskDelete`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskDelete {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Pid on the host.
    #[prost(uint32, tag = "2")]
    pub pid: u32,
    /// 128 + n for signal n.
    #[prost(uint32, tag = "3")]
    pub exit_status: u32,
    /// When the shim learned of the end.
    #[prost(message, optional, tag = "4")]
    pub exited_at: Option<Timestamp>,
    /// ID of the process.
    #[prost(string, tag = "5")]
    pub id: String,
}

/// `containerd.events.TaskExit`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskExit {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// ID of the process: the container's for its first.
    #[prost(string, tag = "2")]
    pub id: String,
    /// Pid on the host.
    #[prost(uint32, tag = "3")]
    pub pid: u32,
    /// 128 + n for signal n.
    #[prost(uint32, tag = "4")]
    pub exit_status: u32,
    /// When the shim learned of the end.
    #[prost(message, optional, tag = "5")]
    pub exited_at: Option<Timestamp>,
}

/// `containerd.events.TaskOOM, TaskPaused, TaskResumed`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskOnly {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// `containerd.events.TaskExecAdded`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskExecAdded {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// ID of the process.
    #[prost(string, tag = "2")]
    pub exec_id: String,
}

/// `containerd.events.TaskExecStarted`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskExecStarted {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// ID of the process.
    #[prost(string, tag = "2")]
    pub exec_id: String,
    /// Pid on the host.
    #[prost(uint32, tag = "3")]
    pub pid: u32,
}

/// `containerd.events.TaskCheckpointed`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskCheckpointed {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub container_id: String,
    /// Directory of the images.
    #[prost(string, tag = "2")]
    pub checkpoint: String,
}

/// `containerd.services.events.ttrpc.v1.Envelope`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Envelope {
    /// When it happened.
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    /// Namespace of the container.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// Topic, such as `/tasks/exit`.
    #[prost(string, tag = "3")]
    pub topic: String,
    /// The event.
    #[prost(message, optional, tag = "4")]
    pub event: Option<Any>,
}

/// `containerd.services.events.ttrpc.v1.ForwardRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ForwardRequest {
    /// The event in its envelope.
    #[prost(message, optional, tag = "1")]
    pub envelope: Option<Envelope>,
}
