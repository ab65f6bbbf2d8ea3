//! plan cgroup
