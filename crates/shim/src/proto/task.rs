//! `containerd.task.v2` and `v3`, which have the same messages.

use super::{Any, Timestamp};

/// Statuses of `containerd.v1.types.Status`.
pub(crate) mod status {
    /// The program waits for its start.
    pub(crate) const CREATED: i32 = 1;
    /// The program runs.
    pub(crate) const RUNNING: i32 = 2;
    /// The process has ended.
    pub(crate) const STOPPED: i32 = 3;
    /// The container is frozen.
    pub(crate) const PAUSED: i32 = 4;
}

/// `containerd.types.Mount`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Mount {
    /// Type of the file system, or `bind`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// Source.
    #[prost(string, tag = "2")]
    pub source: String,
    /// Path below the root; empty for the root itself.
    #[prost(string, tag = "3")]
    pub target: String,
    /// Options, with flags among them.
    #[prost(string, repeated, tag = "4")]
    pub options: Vec<String>,
}

/// `containerd.task.v2.CreateTaskRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CreateTaskRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Directory of the bundle.
    #[prost(string, tag = "2")]
    pub bundle: String,
    /// Mounts that make the root file system.
    #[prost(message, repeated, tag = "3")]
    pub rootfs: Vec<Mount>,
    /// The process has a terminal.
    #[prost(bool, tag = "4")]
    pub terminal: bool,
    /// Fifo, or empty.
    #[prost(string, tag = "5")]
    pub stdin: String,
    /// Fifo, URI of a log, or empty.
    #[prost(string, tag = "6")]
    pub stdout: String,
    /// As `stdout`.
    #[prost(string, tag = "7")]
    pub stderr: String,
    /// Directory of a checkpoint to restore from.
    #[prost(string, tag = "8")]
    pub checkpoint: String,
    /// Directory of an earlier checkpoint.
    #[prost(string, tag = "9")]
    pub parent_checkpoint: String,
    /// Options of the runtime.
    #[prost(message, optional, tag = "10")]
    pub options: Option<Any>,
}

/// `containerd.task.v2.CreateTaskResponse, StartResponse`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct PidResponse {
    /// Pid on the host.
    #[prost(uint32, tag = "1")]
    pub pid: u32,
}

/// `containerd.task.v2.StateRequest, StartRequest, DeleteRequest, WaitRequest, ConnectRequest, PauseRequest, ResumeRequest, PidsRequest, StatsRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ProcessRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// ID of the further process; empty for the first.
    #[prost(string, tag = "2")]
    pub exec_id: String,
}

/// `containerd.task.v2.DeleteResponse`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct DeleteResponse {
    /// Pid on the host.
    #[prost(uint32, tag = "1")]
    pub pid: u32,
    /// 128 + n for signal n.
    #[prost(uint32, tag = "2")]
    pub exit_status: u32,
    /// When the shim learned of the end.
    #[prost(message, optional, tag = "3")]
    pub exited_at: Option<Timestamp>,
}

/// `containerd.task.v2.ExecProcessRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ExecProcessRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// ID of the further process; empty for the first.
    #[prost(string, tag = "2")]
    pub exec_id: String,
    /// The process has a terminal.
    #[prost(bool, tag = "3")]
    pub terminal: bool,
    /// Fifo, or empty.
    #[prost(string, tag = "4")]
    pub stdin: String,
    /// Fifo, URI of a log, or empty.
    #[prost(string, tag = "5")]
    pub stdout: String,
    /// As `stdout`.
    #[prost(string, tag = "6")]
    pub stderr: String,
    /// JSON of a process.
    #[prost(message, optional, tag = "7")]
    pub spec: Option<Any>,
}

/// `containerd.task.v2.ResizePtyRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ResizePtyRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// ID of the further process; empty for the first.
    #[prost(string, tag = "2")]
    pub exec_id: String,
    /// Columns.
    #[prost(uint32, tag = "3")]
    pub width: u32,
    /// Lines.
    #[prost(uint32, tag = "4")]
    pub height: u32,
}

/// `containerd.task.v2.StateResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StateResponse {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Directory of the bundle.
    #[prost(string, tag = "2")]
    pub bundle: String,
    /// Pid on the host.
    #[prost(uint32, tag = "3")]
    pub pid: u32,
    /// One of the constants of this module.
    #[prost(int32, tag = "4")]
    pub status: i32,
    /// As given.
    #[prost(string, tag = "5")]
    pub stdin: String,
    /// As given.
    #[prost(string, tag = "6")]
    pub stdout: String,
    /// As given.
    #[prost(string, tag = "7")]
    pub stderr: String,
    /// As given.
    #[prost(bool, tag = "8")]
    pub terminal: bool,
    /// 128 + n for signal n.
    #[prost(uint32, tag = "9")]
    pub exit_status: u32,
    /// When the shim learned of the end.
    #[prost(message, optional, tag = "10")]
    pub exited_at: Option<Timestamp>,
    /// ID of the further process.
    #[prost(string, tag = "11")]
    pub exec_id: String,
}

/// `containerd.task.v2.KillRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct KillRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// ID of the further process; empty for the first.
    #[prost(string, tag = "2")]
    pub exec_id: String,
    /// Number of the signal.
    #[prost(uint32, tag = "3")]
    pub signal: u32,
    /// To every process of the container.
    #[prost(bool, tag = "4")]
    pub all: bool,
}

/// `containerd.task.v2.CloseIORequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CloseIoRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// ID of the further process; empty for the first.
    #[prost(string, tag = "2")]
    pub exec_id: String,
    /// Standard input.
    #[prost(bool, tag = "3")]
    pub stdin: bool,
}

/// `containerd.v1.types.ProcessInfo`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ProcessInfo {
    /// Pid on the host.
    #[prost(uint32, tag = "1")]
    pub pid: u32,
    /// Details.
    #[prost(message, optional, tag = "2")]
    pub info: Option<Any>,
}

/// `containerd.task.v2.PidsResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PidsResponse {
    /// Every process.
    #[prost(message, repeated, tag = "1")]
    pub processes: Vec<ProcessInfo>,
}

/// `containerd.task.v2.CheckpointTaskRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CheckpointTaskRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Directory for the images.
    #[prost(string, tag = "2")]
    pub path: String,
    /// Options.
    #[prost(message, optional, tag = "3")]
    pub options: Option<Any>,
}

/// `containerd.task.v2.UpdateTaskRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct UpdateTaskRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// JSON of limits.
    #[prost(message, optional, tag = "2")]
    pub resources: Option<Any>,
}

/// `containerd.task.v2.WaitResponse`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct WaitResponse {
    /// 128 + n for signal n.
    #[prost(uint32, tag = "1")]
    pub exit_status: u32,
    /// When the shim learned of the end.
    #[prost(message, optional, tag = "2")]
    pub exited_at: Option<Timestamp>,
}

/// `containerd.task.v2.StatsResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatsResponse {
    /// Counters.
    #[prost(message, optional, tag = "1")]
    pub stats: Option<Any>,
}

/// `containerd.task.v2.ConnectResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ConnectResponse {
    /// Pid of the shim.
    #[prost(uint32, tag = "1")]
    pub shim_pid: u32,
    /// Pid of the container's process.
    #[prost(uint32, tag = "2")]
    pub task_pid: u32,
    /// Version of the shim.
    #[prost(string, tag = "3")]
    pub version: String,
}

/// `containerd.task.v2.ShutdownRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ShutdownRequest {
    /// Container ID.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Also with containers.
    #[prost(bool, tag = "2")]
    pub now: bool,
}
