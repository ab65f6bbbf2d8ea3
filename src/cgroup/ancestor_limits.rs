//! Limits of the cgroups above a container's, on cgroup v2: read before the container's own are written, for the kernel
//! takes a limit that is never reached because one above is lower, and a set of CPUs that are not to be had.

use super::files::try_read;
use super::record::CgroupRecord;
use super::resources::Setting;
use base::cpu_set::CpuSet;

/// What the configuration asks for and one of the cgroups above does not give: a line each, with the cgroup to blame.
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
    // the root has no limits
    while let Some((parent, _)) = above.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        if let Ok(theirs) = try_read(&format!("{mount}{parent}/{file}"))
            && compare(theirs.trim(), wanted)
        {
            let field = &setting.field;
            return Some(format!("linux.resources.{field}: cgroup {parent} has the lower limit {}", theirs.trim()));
        }
        above = parent;
    }
    None
}

fn missing(mount: &str, path: &str, setting: &Setting, file: &str, wanted: &str) -> Option<String> {
    let (parent, _) = path.rsplit_once('/')?;
    let theirs = try_read(&format!("{mount}{parent}/{file}.effective")).ok()?;
    let (there, wanted_set) = (CpuSet::parse(&theirs).ok()?, CpuSet::parse(wanted).ok()?);
    (!there.contains_all(&wanted_set)).then(|| {
        let parent = if parent.is_empty() { "/" } else { parent };
        format!("linux.resources.{}: of {wanted}, cgroup {parent} has only {}", setting.field, theirs.trim())
    })
}

fn is_lower(theirs: &str, ours: &str) -> bool {
    let Ok(theirs) = theirs.parse::<u64>() else { return false }; // max
    match ours.trim() {
        "max" => true,
        ours => ours.parse::<u64>().is_ok_and(|ours| theirs < ours),
    }
}

/// `QUOTA PERIOD`
fn is_less_time(theirs: &str, ours: &str) -> bool {
    let parts = |text: &str| {
        let (quota, period) = text.split_once(' ').unwrap_or((text, "100000"));
        let quota = if quota == "max" { None } else { Some(quota.parse::<u64>().ok()?) };
        Some((quota, period.trim().parse::<u64>().ok()?))
    };
    match (parts(theirs), parts(ours.trim())) {
        (Some((Some(_), _)), Some((None, _))) => true,
        (Some((Some(theirs), their_period)), Some((Some(ours), our_period))) => {
            u128::from(theirs) * u128::from(our_period) < u128::from(ours) * u128::from(their_period)
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
        for (theirs, ours, lower) in [
            ("max", "max", false),
            ("max", "5", false),
            ("5", "max", true),
            ("5", "5", false),
            ("5", "6", true),
            ("6", "5", false),
        ] {
            assert_eq!(is_lower(theirs, ours), lower, "{theirs} above {ours}");
        }
        for (theirs, ours, less) in [
            ("max 100000", "50000 100000", false),
            ("50000 100000", "max 100000", true),
            ("50000 100000", "100000 200000", false),
            ("49999 100000", "100000 200000", true),
            ("50000 100000", "max", true),
            ("", "max", false),
        ] {
            assert_eq!(is_less_time(theirs, ours), less, "{theirs} above {ours}");
        }
    }
}
