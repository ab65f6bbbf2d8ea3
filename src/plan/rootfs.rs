//! plan rootfs
