//! CRIU's own log after a failure: the lines that tell why.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// The end of the log is enough, and a log may be large.
const TAIL: u64 = 256 * 1024;

/// Told as an error by a CRIU without CAP_SYS_RESOURCE, which then goes on all the same.
const NOISE: &str = "RLIMIT_NOFILE";

/// So many of its errors are told, the last ones.
const LINES: usize = 4;

/// What is told at most.
const LONGEST: usize = 1000;

/// The last errors of a log; `None` where it has none.
pub(crate) fn excerpt(mut file: File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut text = Vec::new();
    file.take(TAIL).read_to_end(&mut text).ok()?;
    errors(&String::from_utf8_lossy(&text))
}

/// The last errors in a text of CRIU, in their order: `Error (criu/x.c:12): y` without the time before it.
pub(crate) fn errors(text: &str) -> Option<String> {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        let Some(at) = line.find("Error (") else { continue };
        let line = line.get(at..).unwrap_or_default().trim_end();
        if lines.last() != Some(&line) && !line.contains(NOISE) {
            lines.push(line);
        }
    }
    let first = lines.len().saturating_sub(LINES);
    let text = lines.get(first..).filter(|told| !told.is_empty())?.join("; ");
    Some(text.chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_errors_are_told() {
        let text = "(00.01) Version: 4.2\n(00.02) pie: 1: Error (criu/a.c:1): one\n(00.03) Error (criu/b.c:2): two\n\
                    (00.03) Error (criu/b.c:2): two\n(00.04) Unlock network\n";
        assert_eq!(errors(text).as_deref(), Some("Error (criu/a.c:1): one; Error (criu/b.c:2): two"));
        let many: String = (0..9).map(|n| format!("Error (x): {n}\n")).collect();
        assert_eq!(errors(&many).as_deref(), Some("Error (x): 5; Error (x): 6; Error (x): 7; Error (x): 8"));
        assert_eq!(errors("(00.01) all is well\nError (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE"), None);
        assert_eq!(errors(&format!("Error ({}", "ü".repeat(5000))).map(|told| told.chars().count()), Some(LONGEST));
    }
}
