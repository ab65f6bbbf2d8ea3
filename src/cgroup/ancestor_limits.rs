//! Limits of a container's ancestor cgroups on cgroup v2.
//!
//! croci reads them before it writes the container's own limits, because the kernel accepts a limit above an ancestor's
//! and CPUs that an ancestor's cpuset does not contain.

use super::files::try_read;
use super::record::CgroupRecord;
use super::resources::Setting;
use base::cpu_set::CpuSet;

/// Returns a warning for each setting that an ancestor cgroup restricts further, with the path of that cgroup.
pub(super) fn warnings(record: &CgroupRecord, settings: &[Setting]) -> Vec<String> {
    let Some(dir) = record.dirs.first().filter(|_| record.is_pure_v2()) else { return Vec::new() };
    settings.iter().filter_map(|setting| warning(&dir.mount, &record.path, setting)).collect()
}

fn warning(mount: &str, path: &str, setting: &Setting) -> Option<String> {
    let (file, wanted) = setting.candidates.first()?;
    let compare: fn(&str, &str) -> bool = match file.as_ref() {
        "memory.max" | "memory.swap.max" | "pids.max" => is_lower,
        "cpu.max" => is_less_time,
        "cpuset.cpus" | "cpuset.mems" => return missing(mount, path, setting, file, wanted),
        _ => return None,
    };
    let mut above = path;
    // the root cgroup has no limits
    while let Some((parent, _)) = above.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        if let Ok(limit) = try_read(&format!("{mount}{parent}/{file}"))
            && compare(limit.trim(), wanted)
        {
            let field = &setting.field;
            return Some(format!("linux.resources.{field}: cgroup {parent} has the lower limit {}", limit.trim()));
        }
        above = parent;
    }
    None
}

fn missing(mount: &str, path: &str, setting: &Setting, file: &str, wanted: &str) -> Option<String> {
    let (parent, _) = path.rsplit_once('/')?;
    let limit = try_read(&format!("{mount}{parent}/{file}.effective")).ok()?;
    let (there, wanted_set) = (CpuSet::parse(&limit).ok()?, CpuSet::parse(wanted).ok()?);
    (!there.contains_all(&wanted_set)).then(|| {
        let parent = if parent.is_empty() { "/" } else { parent };
        format!("linux.resources.{}: of {wanted}, cgroup {parent} has only {}", setting.field, limit.trim())
    })
}

fn is_lower(limit: &str, wanted: &str) -> bool {
    let Ok(limit) = limit.parse::<u64>() else { return false }; // max
    match wanted.trim() {
        "max" => true,
        wanted => wanted.parse::<u64>().is_ok_and(|wanted| limit < wanted),
    }
}

/// Compares two values of `cpu.max`, `QUOTA PERIOD` in microseconds.
fn is_less_time(limit: &str, wanted: &str) -> bool {
    let parts = |text: &str| {
        let (quota, period) = text.split_once(' ').unwrap_or((text, "100000"));
        let quota = if quota == "max" { None } else { Some(quota.parse::<u64>().ok()?) };
        Some((quota, period.trim().parse::<u64>().ok()?))
    };
    match (parts(limit), parts(wanted.trim())) {
        (Some((Some(_), _)), Some((None, _))) => true,
        (Some((Some(limit), limit_period)), Some((Some(wanted), wanted_period))) => {
            u128::from(limit) * u128::from(wanted_period) < u128::from(wanted) * u128::from(limit_period)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_limit_above_is_lower_or_not() {
        for (limit, wanted, lower) in [
            ("max", "max", false),
            ("max", "5", false),
            ("5", "max", true),
            ("5", "5", false),
            ("5", "6", true),
            ("6", "5", false),
        ] {
            assert_eq!(is_lower(limit, wanted), lower, "{limit} above {wanted}");
        }
        for (limit, wanted, less) in [
            ("max 100000", "50000 100000", false),
            ("50000 100000", "max 100000", true),
            ("50000 100000", "100000 200000", false),
            ("49999 100000", "100000 200000", true),
            ("50000 100000", "max", true),
            ("", "max", false),
        ] {
            assert_eq!(is_less_time(limit, wanted), less, "{limit} above {wanted}");
        }
    }
}
