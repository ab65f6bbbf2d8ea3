//! The kernel log.

use std::cell::OnceCell;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

/// Largest number of records that are read: more than the ring buffer holds.
const MAX_RECORDS: usize = 100_000;
/// Size of the largest record in bytes (`PRINTK_MESSAGE_MAX`).
const MAX_RECORD_BYTES: usize = 2048;

/// A message of the kernel.
#[derive(Debug)]
pub(super) struct Message {
    /// When it was written, by a clock that begins with the boot and stands still in a suspend.
    pub time: Duration,
    /// The first line.
    pub text: String,
}

/// The kernel log, read when it is first asked for and then kept, so that all questions of a verb get the same answer.
#[derive(Debug, Default)]
pub(super) struct KernelLog {
    messages: OnceCell<Option<Vec<Message>>>,
}

impl KernelLog {
    /// Returns the messages, oldest first; `None` if this user may not read them.
    pub(super) fn messages(&self) -> Option<&[Message]> {
        self.messages.get_or_init(read).as_deref()
    }
}

/// Returns the messages that are in the ring buffer, oldest first; `None` if this user may not read them.
fn read() -> Option<Vec<Message>> {
    let mut file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    let mut messages = Vec::new();
    let mut buffer = [0; MAX_RECORD_BYTES * 4];
    for _ in 0..MAX_RECORDS {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                messages.push(parse(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default())));
            }
            // EPIPE: the record was overwritten meanwhile
            Err(err) if err.kind() == ErrorKind::Interrupted || err.raw_os_error() == Some(libc::EPIPE) => {}
            Err(err) if err.kind() == ErrorKind::WouldBlock => break,
            Err(_) => return None,
        }
    }
    Some(messages)
}

/// Reads a record: "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;MESSAGE", then lines with a blank.
fn parse(record: &str) -> Message {
    let (head, message) = record.split_once(';').unwrap_or_default();
    let time = head.split(',').nth(2).and_then(|text| text.parse().ok()).map(Duration::from_micros);
    Message { time: time.unwrap_or_default(), text: message.lines().next().unwrap_or_default().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_a_time_and_a_text() {
        let message = parse("6,339,5140900,-;cgroup: fork rejected; twice\n SUBSYSTEM=x\n");
        assert_eq!((message.time.as_micros(), message.text.as_str()), (5_140_900, "cgroup: fork rejected; twice"));
        assert_eq!(parse("x").text, "");
    }
}
