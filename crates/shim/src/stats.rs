//! Counters of a container as the messages that containerd's clients read: those of cgroup v1 or of v2.

use super::proto::Any;
use super::proto::metrics as m;
use croci::api::{BlkioEntry, Memory, MemoryEntry, Part, Stats};

/// Returns the counters.
pub(crate) fn message(stats: &Stats, unified: bool) -> Any {
    if unified {
        Any::pack("io.containerd.cgroups.v2.Metrics", &v2(stats))
    } else {
        Any::pack("io.containerd.cgroups.v1.Metrics", &v1(stats))
    }
}

/// Returns the counters of a controller, if it is there.
fn known<T>(part: &Part<T>) -> Option<&T> {
    match part {
        Part::Known(value) => Some(value),
        Part::Absent {} => None,
    }
}

fn pids(stats: &Stats) -> Option<m::PidsStat> {
    known(&stats.pids).map(|pids| m::PidsStat { current: pids.current, limit: pids.limit })
}

fn v1(stats: &Stats) -> m::MetricsV1 {
    let (usage, throttling) = (&stats.cpu.usage, &stats.cpu.throttling);
    let per_cpu = usage.percpu.clone().unwrap_or_default();
    let hugetlb = stats.hugetlb.iter().map(|(size, pages)| m::HugetlbStat {
        usage: pages.usage,
        max: pages.max.unwrap_or_default(),
        failcnt: pages.failcnt,
        pagesize: size.clone(),
    });
    m::MetricsV1 {
        hugetlb: hugetlb.collect(),
        pids: pids(stats),
        cpu: Some(m::CpuStat {
            usage: Some(m::CpuUsage { total: usage.total, kernel: usage.kernel, user: usage.user, per_cpu }),
            throttling: Some(m::Throttle {
                periods: throttling.periods,
                throttled_periods: throttling.throttled_periods,
                throttled_time: throttling.throttled_time,
            }),
        }),
        memory: known(&stats.memory).map(memory_v1),
        blkio: known(&stats.blkio).map(|blkio| m::BlkioStat {
            bytes: entries(&blkio.io_service_bytes_recursive),
            serviced: entries(&blkio.io_serviced_recursive),
        }),
    }
}

fn entries(list: &[BlkioEntry]) -> Vec<m::BlkioEntry> {
    let entry = |entry: &BlkioEntry| m::BlkioEntry {
        op: entry.op.clone(),
        device: String::new(),
        major: entry.major,
        minor: entry.minor,
        value: entry.value,
    };
    list.iter().map(entry).collect()
}

fn entry(entry: &MemoryEntry) -> m::MemoryEntry {
    m::MemoryEntry { limit: entry.limit, usage: entry.usage, max: entry.max, failcnt: entry.failcnt }
}

fn memory_v1(memory: &Memory) -> m::MemoryStat {
    let raw = |name: &str| memory.raw.get(name).and_then(|value| value.as_u64()).unwrap_or_default();
    m::MemoryStat {
        cache: raw("cache"),
        rss: raw("rss"),
        rss_huge: raw("rss_huge"),
        mapped_file: raw("mapped_file"),
        dirty: raw("dirty"),
        writeback: raw("writeback"),
        pg_pg_in: raw("pgpgin"),
        pg_pg_out: raw("pgpgout"),
        pg_fault: raw("pgfault"),
        pg_maj_fault: raw("pgmajfault"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        hierarchical_memory_limit: raw("hierarchical_memory_limit"),
        hierarchical_swap_limit: raw("hierarchical_memsw_limit"),
        total_cache: raw("total_cache"),
        total_rss: raw("total_rss"),
        total_rss_huge: raw("total_rss_huge"),
        total_mapped_file: raw("total_mapped_file"),
        total_dirty: raw("total_dirty"),
        total_writeback: raw("total_writeback"),
        total_pg_pg_in: raw("total_pgpgin"),
        total_pg_pg_out: raw("total_pgpgout"),
        total_pg_fault: raw("total_pgfault"),
        total_pg_maj_fault: raw("total_pgmajfault"),
        total_inactive_anon: raw("total_inactive_anon"),
        total_active_anon: raw("total_active_anon"),
        total_inactive_file: raw("total_inactive_file"),
        total_active_file: raw("total_active_file"),
        total_unevictable: raw("total_unevictable"),
        usage: Some(entry(&memory.usage)),
        swap: Some(entry(&memory.swap)),
        kernel: memory.kernel.as_ref().map(entry),
        kernel_tcp: memory.kernel_tcp.as_ref().map(entry),
    }
}

fn v2(stats: &Stats) -> m::MetricsV2 {
    let (usage, throttling) = (&stats.cpu.usage, &stats.cpu.throttling);
    let hugetlb = stats.hugetlb.iter().map(|(size, pages)| m::HugetlbStatV2 {
        current: pages.usage,
        max: pages.max.unwrap_or_default(),
        pagesize: size.clone(),
    });
    m::MetricsV2 {
        pids: pids(stats),
        cpu: Some(m::CpuStatV2 {
            usage_usec: usage.total / 1000,
            user_usec: usage.user / 1000,
            system_usec: usage.kernel / 1000,
            nr_periods: throttling.periods,
            nr_throttled: throttling.throttled_periods,
            throttled_usec: throttling.throttled_time / 1000,
        }),
        memory: known(&stats.memory).map(memory_v2),
        io: known(&stats.blkio).map(|blkio| io(&blkio.io_service_bytes_recursive, &blkio.io_serviced_recursive)),
        hugetlb: hugetlb.collect(),
        memory_events: known(&stats.memory).and_then(events),
    }
}

fn memory_v2(memory: &Memory) -> m::MemoryStatV2 {
    let raw = |name: &str| memory.raw.get(name).and_then(|value| value.as_u64()).unwrap_or_default();
    // the counters have the swap together with memory, as v1 counts it
    let swap = |both: u64, memory: u64| if both == u64::MAX { u64::MAX } else { both.saturating_sub(memory) };
    m::MemoryStatV2 {
        anon: raw("anon"),
        file: raw("file"),
        kernel_stack: raw("kernel_stack"),
        slab: raw("slab"),
        sock: raw("sock"),
        shmem: raw("shmem"),
        file_mapped: raw("file_mapped"),
        file_dirty: raw("file_dirty"),
        file_writeback: raw("file_writeback"),
        anon_thp: raw("anon_thp"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        slab_reclaimable: raw("slab_reclaimable"),
        slab_unreclaimable: raw("slab_unreclaimable"),
        pgfault: raw("pgfault"),
        pgmajfault: raw("pgmajfault"),
        workingset_refault: raw("workingset_refault"),
        workingset_activate: raw("workingset_activate"),
        workingset_nodereclaim: raw("workingset_nodereclaim"),
        pgrefill: raw("pgrefill"),
        pgscan: raw("pgscan"),
        pgsteal: raw("pgsteal"),
        pgactivate: raw("pgactivate"),
        pgdeactivate: raw("pgdeactivate"),
        pglazyfree: raw("pglazyfree"),
        pglazyfreed: raw("pglazyfreed"),
        thp_fault_alloc: raw("thp_fault_alloc"),
        thp_collapse_alloc: raw("thp_collapse_alloc"),
        usage: memory.usage.usage,
        usage_limit: memory.usage.limit,
        swap_usage: swap(memory.swap.usage, memory.usage.usage),
        swap_limit: swap(memory.swap.limit, memory.usage.limit),
        max_usage: memory.usage.max,
        swap_max_usage: memory.swap.max,
    }
}

fn events(memory: &Memory) -> Option<m::MemoryEvents> {
    let events = memory.events.as_ref()?;
    let number = |name: &str| events.get(name).and_then(|value| value.as_u64()).unwrap_or_default();
    Some(m::MemoryEvents {
        low: number("low"),
        high: number("high"),
        max: number("max"),
        oom: number("oom"),
        oom_kill: number("oom_kill"),
    })
}

/// Puts the requests of each device together.
fn io(bytes: &[BlkioEntry], requests: &[BlkioEntry]) -> m::IoStat {
    let mut usage: Vec<m::IoEntry> = Vec::new();
    for (list, of_bytes) in [(bytes, true), (requests, false)] {
        for one in list {
            let place = usage.iter().position(|known| (known.major, known.minor) == (one.major, one.minor));
            let place = place.unwrap_or_else(|| {
                usage.push(m::IoEntry { major: one.major, minor: one.minor, ..m::IoEntry::default() });
                usage.len() - 1
            });
            let Some(known) = usage.get_mut(place) else { continue };
            match (one.op.as_str(), of_bytes) {
                ("Read", true) => known.rbytes = one.value,
                ("Write", true) => known.wbytes = one.value,
                ("Read", false) => known.rios = one.value,
                ("Write", false) => known.wios = one.value,
                _ => {}
            }
        }
    }
    m::IoStat { usage }
}
