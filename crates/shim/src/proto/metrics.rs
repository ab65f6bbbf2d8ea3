//! Counters of cgroups, as containerd's clients read them.

/// `io.containerd.cgroups.v1.PidsStat, v2.PidsStat`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct PidsStat {
    /// Number now.
    #[prost(uint64, tag = "1")]
    pub current: u64,
    /// 0: no limit.
    #[prost(uint64, tag = "2")]
    pub limit: u64,
}

/// `io.containerd.cgroups.v1.CPUUsage`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CpuUsage {
    /// Nanoseconds.
    #[prost(uint64, tag = "1")]
    pub total: u64,
    /// In the kernel.
    #[prost(uint64, tag = "2")]
    pub kernel: u64,
    /// In user mode.
    #[prost(uint64, tag = "3")]
    pub user: u64,
    /// By CPU.
    #[prost(uint64, repeated, tag = "4")]
    pub per_cpu: Vec<u64>,
}

/// `io.containerd.cgroups.v1.Throttle`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Throttle {
    /// Periods.
    #[prost(uint64, tag = "1")]
    pub periods: u64,
    /// Periods whose quota was used up.
    #[prost(uint64, tag = "2")]
    pub throttled_periods: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "3")]
    pub throttled_time: u64,
}

/// `io.containerd.cgroups.v1.CPUStat`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CpuStat {
    /// Time used.
    #[prost(message, optional, tag = "1")]
    pub usage: Option<CpuUsage>,
    /// What the quota took away.
    #[prost(message, optional, tag = "2")]
    pub throttling: Option<Throttle>,
}

/// `io.containerd.cgroups.v1.MemoryEntry`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct MemoryEntry {
    /// Bytes.
    #[prost(uint64, tag = "1")]
    pub limit: u64,
    /// Bytes now.
    #[prost(uint64, tag = "2")]
    pub usage: u64,
    /// Highest usage.
    #[prost(uint64, tag = "3")]
    pub max: u64,
    /// Number of failures.
    #[prost(uint64, tag = "4")]
    pub failcnt: u64,
}

/// `io.containerd.cgroups.v1.MemoryStat`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MemoryStat {
    /// `cache` of memory.stat.
    #[prost(uint64, tag = "1")]
    pub cache: u64,
    /// `rss` of memory.stat.
    #[prost(uint64, tag = "2")]
    pub rss: u64,
    /// `rss_huge` of memory.stat.
    #[prost(uint64, tag = "3")]
    pub rss_huge: u64,
    /// `mapped_file` of memory.stat.
    #[prost(uint64, tag = "4")]
    pub mapped_file: u64,
    /// `dirty` of memory.stat.
    #[prost(uint64, tag = "5")]
    pub dirty: u64,
    /// `writeback` of memory.stat.
    #[prost(uint64, tag = "6")]
    pub writeback: u64,
    /// `pgpgin` of memory.stat.
    #[prost(uint64, tag = "7")]
    pub pg_pg_in: u64,
    /// `pgpgout` of memory.stat.
    #[prost(uint64, tag = "8")]
    pub pg_pg_out: u64,
    /// `pgfault` of memory.stat.
    #[prost(uint64, tag = "9")]
    pub pg_fault: u64,
    /// `pgmajfault` of memory.stat.
    #[prost(uint64, tag = "10")]
    pub pg_maj_fault: u64,
    /// `inactive_anon` of memory.stat.
    #[prost(uint64, tag = "11")]
    pub inactive_anon: u64,
    /// `active_anon` of memory.stat.
    #[prost(uint64, tag = "12")]
    pub active_anon: u64,
    /// `inactive_file` of memory.stat.
    #[prost(uint64, tag = "13")]
    pub inactive_file: u64,
    /// `active_file` of memory.stat.
    #[prost(uint64, tag = "14")]
    pub active_file: u64,
    /// `unevictable` of memory.stat.
    #[prost(uint64, tag = "15")]
    pub unevictable: u64,
    /// `hierarchical_memory_limit` of memory.stat.
    #[prost(uint64, tag = "16")]
    pub hierarchical_memory_limit: u64,
    /// `hierarchical_memsw_limit` of memory.stat.
    #[prost(uint64, tag = "17")]
    pub hierarchical_swap_limit: u64,
    /// `total_cache` of memory.stat.
    #[prost(uint64, tag = "18")]
    pub total_cache: u64,
    /// `total_rss` of memory.stat.
    #[prost(uint64, tag = "19")]
    pub total_rss: u64,
    /// `total_rss_huge` of memory.stat.
    #[prost(uint64, tag = "20")]
    pub total_rss_huge: u64,
    /// `total_mapped_file` of memory.stat.
    #[prost(uint64, tag = "21")]
    pub total_mapped_file: u64,
    /// `total_dirty` of memory.stat.
    #[prost(uint64, tag = "22")]
    pub total_dirty: u64,
    /// `total_writeback` of memory.stat.
    #[prost(uint64, tag = "23")]
    pub total_writeback: u64,
    /// `total_pgpgin` of memory.stat.
    #[prost(uint64, tag = "24")]
    pub total_pg_pg_in: u64,
    /// `total_pgpgout` of memory.stat.
    #[prost(uint64, tag = "25")]
    pub total_pg_pg_out: u64,
    /// `total_pgfault` of memory.stat.
    #[prost(uint64, tag = "26")]
    pub total_pg_fault: u64,
    /// `total_pgmajfault` of memory.stat.
    #[prost(uint64, tag = "27")]
    pub total_pg_maj_fault: u64,
    /// `total_inactive_anon` of memory.stat.
    #[prost(uint64, tag = "28")]
    pub total_inactive_anon: u64,
    /// `total_active_anon` of memory.stat.
    #[prost(uint64, tag = "29")]
    pub total_active_anon: u64,
    /// `total_inactive_file` of memory.stat.
    #[prost(uint64, tag = "30")]
    pub total_inactive_file: u64,
    /// `total_active_file` of memory.stat.
    #[prost(uint64, tag = "31")]
    pub total_active_file: u64,
    /// `total_unevictable` of memory.stat.
    #[prost(uint64, tag = "32")]
    pub total_unevictable: u64,
    /// Memory.
    #[prost(message, optional, tag = "33")]
    pub usage: Option<MemoryEntry>,
    /// Memory and swap.
    #[prost(message, optional, tag = "34")]
    pub swap: Option<MemoryEntry>,
    /// Kernel memory.
    #[prost(message, optional, tag = "35")]
    pub kernel: Option<MemoryEntry>,
    /// TCP buffers.
    #[prost(message, optional, tag = "36")]
    pub kernel_tcp: Option<MemoryEntry>,
}

/// `io.containerd.cgroups.v1.HugetlbStat`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct HugetlbStat {
    /// Bytes.
    #[prost(uint64, tag = "1")]
    pub usage: u64,
    /// Highest usage.
    #[prost(uint64, tag = "2")]
    pub max: u64,
    /// Number of failures.
    #[prost(uint64, tag = "3")]
    pub failcnt: u64,
    /// Size of the pages.
    #[prost(string, tag = "4")]
    pub pagesize: String,
}

/// `io.containerd.cgroups.v1.BlkIOEntry`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BlkioEntry {
    /// Kind of request.
    #[prost(string, tag = "1")]
    pub op: String,
    /// Path of the device.
    #[prost(string, tag = "2")]
    pub device: String,
    /// Number.
    #[prost(uint64, tag = "3")]
    pub major: u64,
    /// Number.
    #[prost(uint64, tag = "4")]
    pub minor: u64,
    /// Bytes or requests.
    #[prost(uint64, tag = "5")]
    pub value: u64,
}

/// `io.containerd.cgroups.v1.BlkIOStat`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BlkioStat {
    /// Bytes.
    #[prost(message, repeated, tag = "1")]
    pub bytes: Vec<BlkioEntry>,
    /// Requests.
    #[prost(message, repeated, tag = "2")]
    pub serviced: Vec<BlkioEntry>,
}

/// `io.containerd.cgroups.v1.Metrics`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MetricsV1 {
    /// Huge pages.
    #[prost(message, repeated, tag = "1")]
    pub hugetlb: Vec<HugetlbStat>,
    /// Processes.
    #[prost(message, optional, tag = "2")]
    pub pids: Option<PidsStat>,
    /// CPU time.
    #[prost(message, optional, tag = "3")]
    pub cpu: Option<CpuStat>,
    /// Memory.
    #[prost(message, optional, tag = "4")]
    pub memory: Option<MemoryStat>,
    /// Block devices.
    #[prost(message, optional, tag = "5")]
    pub blkio: Option<BlkioStat>,
}

/// `io.containerd.cgroups.v2.CPUStat`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct CpuStatV2 {
    /// Microseconds.
    #[prost(uint64, tag = "1")]
    pub usage_usec: u64,
    /// In user mode.
    #[prost(uint64, tag = "2")]
    pub user_usec: u64,
    /// In the kernel.
    #[prost(uint64, tag = "3")]
    pub system_usec: u64,
    /// Periods.
    #[prost(uint64, tag = "4")]
    pub nr_periods: u64,
    /// Periods whose quota was used up.
    #[prost(uint64, tag = "5")]
    pub nr_throttled: u64,
    /// Microseconds.
    #[prost(uint64, tag = "6")]
    pub throttled_usec: u64,
}

/// `io.containerd.cgroups.v2.MemoryStat`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct MemoryStatV2 {
    /// `anon` of memory.stat.
    #[prost(uint64, tag = "1")]
    pub anon: u64,
    /// `file` of memory.stat.
    #[prost(uint64, tag = "2")]
    pub file: u64,
    /// `kernel_stack` of memory.stat.
    #[prost(uint64, tag = "3")]
    pub kernel_stack: u64,
    /// `slab` of memory.stat.
    #[prost(uint64, tag = "4")]
    pub slab: u64,
    /// `sock` of memory.stat.
    #[prost(uint64, tag = "5")]
    pub sock: u64,
    /// `shmem` of memory.stat.
    #[prost(uint64, tag = "6")]
    pub shmem: u64,
    /// `file_mapped` of memory.stat.
    #[prost(uint64, tag = "7")]
    pub file_mapped: u64,
    /// `file_dirty` of memory.stat.
    #[prost(uint64, tag = "8")]
    pub file_dirty: u64,
    /// `file_writeback` of memory.stat.
    #[prost(uint64, tag = "9")]
    pub file_writeback: u64,
    /// `anon_thp` of memory.stat.
    #[prost(uint64, tag = "10")]
    pub anon_thp: u64,
    /// `inactive_anon` of memory.stat.
    #[prost(uint64, tag = "11")]
    pub inactive_anon: u64,
    /// `active_anon` of memory.stat.
    #[prost(uint64, tag = "12")]
    pub active_anon: u64,
    /// `inactive_file` of memory.stat.
    #[prost(uint64, tag = "13")]
    pub inactive_file: u64,
    /// `active_file` of memory.stat.
    #[prost(uint64, tag = "14")]
    pub active_file: u64,
    /// `unevictable` of memory.stat.
    #[prost(uint64, tag = "15")]
    pub unevictable: u64,
    /// `slab_reclaimable` of memory.stat.
    #[prost(uint64, tag = "16")]
    pub slab_reclaimable: u64,
    /// `slab_unreclaimable` of memory.stat.
    #[prost(uint64, tag = "17")]
    pub slab_unreclaimable: u64,
    /// `pgfault` of memory.stat.
    #[prost(uint64, tag = "18")]
    pub pgfault: u64,
    /// `pgmajfault` of memory.stat.
    #[prost(uint64, tag = "19")]
    pub pgmajfault: u64,
    /// `workingset_refault` of memory.stat.
    #[prost(uint64, tag = "20")]
    pub workingset_refault: u64,
    /// `workingset_activate` of memory.stat.
    #[prost(uint64, tag = "21")]
    pub workingset_activate: u64,
    /// `workingset_nodereclaim` of memory.stat.
    #[prost(uint64, tag = "22")]
    pub workingset_nodereclaim: u64,
    /// `pgrefill` of memory.stat.
    #[prost(uint64, tag = "23")]
    pub pgrefill: u64,
    /// `pgscan` of memory.stat.
    #[prost(uint64, tag = "24")]
    pub pgscan: u64,
    /// `pgsteal` of memory.stat.
    #[prost(uint64, tag = "25")]
    pub pgsteal: u64,
    /// `pgactivate` of memory.stat.
    #[prost(uint64, tag = "26")]
    pub pgactivate: u64,
    /// `pgdeactivate` of memory.stat.
    #[prost(uint64, tag = "27")]
    pub pgdeactivate: u64,
    /// `pglazyfree` of memory.stat.
    #[prost(uint64, tag = "28")]
    pub pglazyfree: u64,
    /// `pglazyfreed` of memory.stat.
    #[prost(uint64, tag = "29")]
    pub pglazyfreed: u64,
    /// `thp_fault_alloc` of memory.stat.
    #[prost(uint64, tag = "30")]
    pub thp_fault_alloc: u64,
    /// `thp_collapse_alloc` of memory.stat.
    #[prost(uint64, tag = "31")]
    pub thp_collapse_alloc: u64,
    /// Bytes now.
    #[prost(uint64, tag = "32")]
    pub usage: u64,
    /// Limit.
    #[prost(uint64, tag = "33")]
    pub usage_limit: u64,
    /// Swap now.
    #[prost(uint64, tag = "34")]
    pub swap_usage: u64,
    /// Limit of swap.
    #[prost(uint64, tag = "35")]
    pub swap_limit: u64,
    /// Highest usage.
    #[prost(uint64, tag = "36")]
    pub max_usage: u64,
    /// Highest usage of swap.
    #[prost(uint64, tag = "37")]
    pub swap_max_usage: u64,
}

/// `io.containerd.cgroups.v2.MemoryEvents`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct MemoryEvents {
    /// Reclaims below the low limit.
    #[prost(uint64, tag = "1")]
    pub low: u64,
    /// Throttled at the high limit.
    #[prost(uint64, tag = "2")]
    pub high: u64,
    /// Reached the limit.
    #[prost(uint64, tag = "3")]
    pub max: u64,
    /// Ran out of memory.
    #[prost(uint64, tag = "4")]
    pub oom: u64,
    /// Killed.
    #[prost(uint64, tag = "5")]
    pub oom_kill: u64,
}

/// `io.containerd.cgroups.v2.IOEntry`
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct IoEntry {
    /// Number.
    #[prost(uint64, tag = "1")]
    pub major: u64,
    /// Number.
    #[prost(uint64, tag = "2")]
    pub minor: u64,
    /// Bytes read.
    #[prost(uint64, tag = "3")]
    pub rbytes: u64,
    /// Bytes written.
    #[prost(uint64, tag = "4")]
    pub wbytes: u64,
    /// Reads.
    #[prost(uint64, tag = "5")]
    pub rios: u64,
    /// Writes.
    #[prost(uint64, tag = "6")]
    pub wios: u64,
}

/// `io.containerd.cgroups.v2.IOStat`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct IoStat {
    /// By device.
    #[prost(message, repeated, tag = "1")]
    pub usage: Vec<IoEntry>,
}

/// `io.containerd.cgroups.v2.HugeTlbStat`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct HugetlbStatV2 {
    /// Bytes.
    #[prost(uint64, tag = "1")]
    pub current: u64,
    /// Limit.
    #[prost(uint64, tag = "2")]
    pub max: u64,
    /// Size of the pages.
    #[prost(string, tag = "3")]
    pub pagesize: String,
}

/// `io.containerd.cgroups.v2.Metrics`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct MetricsV2 {
    /// Processes.
    #[prost(message, optional, tag = "1")]
    pub pids: Option<PidsStat>,
    /// CPU time.
    #[prost(message, optional, tag = "2")]
    pub cpu: Option<CpuStatV2>,
    /// Memory.
    #[prost(message, optional, tag = "4")]
    pub memory: Option<MemoryStatV2>,
    /// Block devices.
    #[prost(message, optional, tag = "6")]
    pub io: Option<IoStat>,
    /// Huge pages.
    #[prost(message, repeated, tag = "7")]
    pub hugetlb: Vec<HugetlbStatV2>,
    /// Events of the memory limit.
    #[prost(message, optional, tag = "8")]
    pub memory_events: Option<MemoryEvents>,
}
