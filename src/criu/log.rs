//! The errors in CRIU's log after a failure.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

/// Bytes of the log that are read, the last ones, because a log may be large.
const MAX_LOG_BYTES: u64 = 256 * 1024;

/// Text of an error line that is ignored: CRIU logs it without CAP_SYS_RESOURCE, and continues.
const IGNORED: &str = "RLIMIT_NOFILE";

/// Number of errors in an excerpt, the last ones.
const MAX_ERRORS: usize = 4;

/// Size of an excerpt in characters.
const MAX_EXCERPT_CHARS: usize = 1000;

/// Returns the last errors of a log; `None` when it has none.
pub(crate) fn excerpt(mut file: File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(MAX_LOG_BYTES))).ok()?;
    let mut text = Vec::new();
    file.take(MAX_LOG_BYTES).read_to_end(&mut text).ok()?;
    errors(&String::from_utf8_lossy(&text))
}

/// Returns the last errors in CRIU's output, in their order: `Error (criu/x.c:12): y`, without the timestamp.
pub(crate) fn errors(text: &str) -> Option<String> {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        let Some(at) = line.find("Error (") else { continue };
        let line = line.get(at..).unwrap_or_default().trim_end();
        if lines.last() != Some(&line) && !line.contains(IGNORED) {
            lines.push(line);
        }
    }
    let first = lines.len().saturating_sub(MAX_ERRORS);
    let text = lines.get(first..).filter(|errors| !errors.is_empty())?.join("; ");
    Some(text.chars().take(MAX_EXCERPT_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_errors_are_returned() {
        let text = "(00.01) Version: 4.2\n(00.02) pie: 1: Error (criu/a.c:1): one\n(00.03) Error (criu/b.c:2): two\n\
                    (00.03) Error (criu/b.c:2): two\n(00.04) Unlock network\n";
        assert_eq!(errors(text).as_deref(), Some("Error (criu/a.c:1): one; Error (criu/b.c:2): two"));
        let many: String = (0..9).map(|n| format!("Error (x): {n}\n")).collect();
        assert_eq!(errors(&many).as_deref(), Some("Error (x): 5; Error (x): 6; Error (x): 7; Error (x): 8"));
        assert_eq!(errors("(00.01) all is well\nError (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE"), None);
        assert_eq!(
            errors(&format!("Error ({}", "ü".repeat(5000))).map(|text| text.chars().count()),
            Some(MAX_EXCERPT_CHARS)
        );
    }
}
