//! The readers of cgroup files for fuzz targets, which are private to this module otherwise.

use super::stats::fuzzing as stats_of;
use super::{files, layout, proc};

pub(crate) use stats_of::{FILES, stats};

/// Parses the texts of `/proc/PID/cgroup` and of a file of `KEY VALUE` lines.
pub(crate) fn texts(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in proc::parse(data) {
        assert!(!line.controllers.iter().any(|name| name.is_empty() || name.contains(',')), "{line:?}");
    }
    let unified = proc::unified_path(data);
    assert!(unified.is_none_or(|path| !path.contains(&b'\n')));
    assert!(layout::hierarchies(&text).len() <= data.len());
    for key in ["oom_kill", "populated", "frozen", ""] {
        let _ = files::value_of(&text, key);
    }
}
