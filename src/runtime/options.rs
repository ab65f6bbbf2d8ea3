//! What a caller of the runtime decides.

/// How the container is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `create`: init waits for a later `start`.
    Create,
    /// `run --detach`
    RunDetached,
    /// `run` in the foreground.
    RunForeground,
}
