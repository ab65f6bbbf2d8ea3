//! init rootfs
