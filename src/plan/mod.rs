//! The plan.

pub mod cgroup;
pub mod device;
pub mod mount;
pub mod process;
pub mod rootfs;
