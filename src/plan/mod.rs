//! The plan.

pub mod cgroup;
pub mod device;
pub mod mount;
pub mod mount_options;
pub mod process;
pub mod rootfs;
pub mod sources;
