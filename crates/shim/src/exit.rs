//! The end of a process.

use prost::Message as _;

use super::proto::Timestamp;
use super::proto::task::WaitResponse;

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// 128 + n for signal n.
    pub status: u32,
    /// When the shim learned of it.
    pub at: Timestamp,
}

impl Exit {
    /// Returns the end by SIGKILL, at this time, of a process that has not reported one.
    pub(crate) fn killed() -> Exit {
        Exit { status: 128 + libc::SIGKILL as u32, at: Timestamp::now() }
    }

    /// Returns the answer to a call that waits for the end of a task or of a sandbox, whose messages have one form.
    pub(crate) fn answer(self) -> Vec<u8> {
        WaitResponse { exit_status: self.status, exited_at: Some(self.at) }.encode_to_vec()
    }
}
