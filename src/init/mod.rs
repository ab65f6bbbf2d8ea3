//! The child.

pub mod cgroupfs;
pub mod console;
pub mod copyup;
pub mod device;
pub mod exec;
pub mod identity;
pub mod lsm;
pub mod mask;
pub mod mount;
pub mod path;
pub mod rootfs;
pub mod unmount;
