//! Logging: to the file or journal that `--log` names, and to standard error.

use crate::coded;
use crate::error::{Code, Coding as _, Report};
use std::fs::File;
use std::io::Write as _;
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

use crate::error::escape::one_line;
use linux::place::Place;

/// Format of the log file's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// logfmt: `key=value` pairs.
    #[default]
    Text,
    /// JSON, one object a line.
    Json,
}

/// Least severe level that is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Errors only: the default for a log file.
    #[default]
    Error,
    /// Errors and warnings.
    Warning,
    /// Progress too.
    Info,
    /// Every step.
    Debug,
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    target: Target,
    format: LogFormat,
    level: LogLevel,
}

#[derive(Debug)]
enum Target {
    Stderr,
    File(File),
    Journal { socket: std::os::unix::net::UnixDatagram, id: String },
    Syslog { socket: std::os::unix::net::UnixDatagram, id: String },
    Memory(Mutex<Vec<String>>),
}

/// The log of [`step`], if it has the level `debug`.
static STEPS: OnceLock<Log> = OnceLock::new();

/// Logs a step of the verb at the level `debug`, after [`Log::keep`]; the closure runs only at that level.
///
/// For the runtime's process alone: in its child the descriptor of the log may be another file's.
pub fn step(message: impl FnOnce() -> String) {
    if let Some(log) = STEPS.get() {
        log.debug(message);
    }
}

impl Log {
    /// Keeps the log for [`step`], for the rest of the process.
    pub fn keep(self) -> &'static Log {
        STEPS.get_or_init(|| self)
    }

    /// Opens the log that `--log` names.
    ///
    /// # Errors
    /// The file or the service cannot be opened.
    pub fn open(target: Option<&str>, format: LogFormat, level: LogLevel) -> Result<Log> {
        let target = match target {
            None | Some("") => Target::Stderr,
            Some(text) => Self::target(text)?,
        };
        Ok(Log { target, format, level })
    }

    /// Returns a log to standard error alone, for a `--log` that cannot be opened.
    pub fn stderr() -> Log {
        Log { target: Target::Stderr, format: LogFormat::Text, level: LogLevel::Error }
    }

    /// Returns a log that keeps warnings and errors in memory and prints nothing, for the library.
    pub fn memory() -> Log {
        Log { target: Target::Memory(Mutex::default()), format: LogFormat::Text, level: LogLevel::Warning }
    }

    /// Takes the messages of a log of [`Log::memory`]; none of any other.
    pub fn take(&self) -> Vec<String> {
        match &self.target {
            Target::Memory(messages) => messages.lock().map(|mut list| std::mem::take(&mut *list)).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Returns whether messages are for standard error besides the log.
    fn prints(&self) -> bool {
        !matches!(self.target, Target::Stderr | Target::Memory(_))
    }

    fn target(text: &str) -> Result<Target> {
        let datagram = |path: &str| -> Result<std::os::unix::net::UnixDatagram> {
            let socket = std::os::unix::net::UnixDatagram::unbound()?;
            socket.connect(path).with_code(Code::UsageValue, || format!("--log {text:?}: {path}"))?;
            Ok(socket)
        };
        if let Some(id) = text.strip_prefix("journald:") {
            return Ok(Target::Journal { socket: datagram("/run/systemd/journal/socket")?, id: id.to_owned() });
        }
        if let Some(id) = text.strip_prefix("syslog:") {
            return Ok(Target::Syslog { socket: datagram("/dev/log")?, id: id.to_owned() });
        }
        let path = text.strip_prefix("file:").unwrap_or(text);
        if path.is_empty() {
            bail!(coded!(UsageValue, "--log {text:?}: no path"));
        }
        let path = std::path::Path::new(path);
        let file = Place::find(path)
            .and_then(|place| place.append(0o644))
            .with_code(Code::UsageValue, || format!("--log {path:?}"))?;
        Ok(Target::File(file))
    }

    /// Logs an error, and prints it to standard error as `croci: error: MESSAGE (HINT) [CODE]`.
    pub fn error(&self, error: &Report) {
        if !matches!(self.target, Target::Memory(_)) {
            write_stderr(&format!("error: {}", error.line()));
        }
        // afterwards, because a log that is standard error's own file is appended to
        if !matches!(self.target, Target::Stderr) {
            self.send(LogLevel::Error, &error.message, Some(error));
        }
    }

    /// Logs a warning, an error that did not stop the verb.
    pub fn warning(&self, message: &str) {
        self.write(LogLevel::Warning, &one_line(message));
    }

    /// Logs a warning at any level, to the log alone.
    pub fn warning_by_default(&self, message: &str) {
        self.put(LogLevel::Warning, &one_line(message));
    }

    /// Logs a warning at any level and prints it to standard error, because the caller must see it.
    pub fn warning_at_any_level(&self, message: &str) {
        let message = &*one_line(message);
        self.put(LogLevel::Warning, message);
        if self.prints() {
            write_stderr(&format!("warning: {message}"));
        }
    }

    /// Logs a debug message; the closure runs only at debug level.
    pub fn debug(&self, message: impl FnOnce() -> String) {
        if self.level >= LogLevel::Debug {
            self.write(LogLevel::Debug, &one_line(&message()));
        }
    }

    fn write(&self, level: LogLevel, message: &str) {
        if level <= self.level {
            self.put(level, message);
        }
    }

    fn put(&self, level: LogLevel, message: &str) {
        self.send(level, message, None);
    }

    fn send(&self, level: LogLevel, message: &str, error: Option<&Report>) {
        // a failure to write the log must not change what croci does
        let _ = match &self.target {
            Target::Stderr => match level {
                LogLevel::Error | LogLevel::Warning => return write_stderr(&format!("warning: {message}")),
                // as in a file, because callers tell these lines from the program's output by their form
                LogLevel::Info | LogLevel::Debug => {
                    std::io::stderr().write_all(line(self.format, level, message, error, SystemTime::now()).as_bytes())
                }
            },
            Target::File(file) => {
                let mut file = file;
                file.write_all(line(self.format, level, message, error, SystemTime::now()).as_bytes())
            }
            Target::Memory(messages) => {
                if let Ok(mut messages) = messages.lock() {
                    messages.push(message.to_owned());
                }
                Ok(())
            }
            Target::Journal { socket, id } => {
                let code = error.map(|error| format!("CODE={}\n", error.code.name())).unwrap_or_default();
                let text = format!("PRIORITY={}\nSYSLOG_IDENTIFIER={id}\n{code}MESSAGE={message}\n", priority(level));
                socket.send(text.as_bytes()).map(drop)
            }
            Target::Syslog { socket, id } => {
                let text = format!("<{}>{id}: {message}", 3 * 8 + priority(level));
                socket.send(text.as_bytes()).map(drop)
            }
        };
    }
}

fn write_stderr(message: &str) {
    // eprintln! would panic where standard error is closed (Podman 4 closes it)
    let _ = std::io::stderr().write_all(format!("croci: {message}\n").as_bytes());
}

fn name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warning => "warning",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    }
}

/// Returns the syslog severity of a level.
fn priority(level: LogLevel) -> u8 {
    match level {
        LogLevel::Error => 3,
        LogLevel::Warning => 4,
        LogLevel::Info => 6,
        LogLevel::Debug => 7,
    }
}

/// Formats one line of a log file, for a single write(2), so that lines of several processes do not mix.
fn line(format: LogFormat, level: LogLevel, message: &str, error: Option<&Report>, time: SystemTime) -> String {
    match format {
        LogFormat::Json => {
            let message = serde_json::Value::from(message);
            let more = error.map(json_members).unwrap_or_default();
            format!("{{\"level\":\"{}\",\"msg\":{message},\"time\":\"{}\"{more}}}\n", name(level), rfc3339(time))
        }
        LogFormat::Text => {
            let code = error.map(|error| format!(" code={}", error.code.name())).unwrap_or_default();
            format!("time=\"{}\" level={} msg={message:?}{code}\n", rfc3339(time), name(level))
        }
    }
}

/// Formats the members of a JSON line that tell programs about an error.
fn json_members(error: &Report) -> String {
    let members = [
        ("code", Some(error.code.name())),
        ("field", error.field.as_deref()),
        ("path", error.path.as_deref()),
        ("errno", error.errno.as_deref()),
        ("hint", error.hint()),
    ];
    let member = |(name, value): (&str, Option<&str>)| Some(format!(",\"{name}\":{}", serde_json::Value::from(value?)));
    members.into_iter().filter_map(member).collect()
}

/// Formats a time as RFC 3339 in UTC with nanoseconds: `2026-11-21T11:22:33.000000123Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_nanos()
    )
}

/// Converts a number of days after 1970-01-01 to year, month, day of the Gregorian calendar.
fn civil(days: u64) -> (u64, u64, u64) {
    // years from 1 March have the leap day at their end; 719 468 days separate 0000-03-01 and 1970-01-01
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000000007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000007Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(seconds, 7)), text);
        }
    }

    #[test]
    fn cl_3_a_json_line_is_one_object_on_one_line() {
        let report = Report::of_text("croci: error: --bundle \"/x\": no such file or directory [bundle.missing]");
        let text = line(LogFormat::Json, LogLevel::Error, "a \"b\"\nc\u{1}", Some(&report), UNIX_EPOCH);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(value["msg"], "a \"b\"\nc\u{1}");
        assert_eq!((&value["level"], &value["time"]), (&"error".into(), &"1970-01-01T00:00:00.000000000Z".into()));
        for (name, want) in [("code", "bundle.missing"), ("field", "--bundle"), ("path", "/x"), ("errno", "ENOENT")] {
            assert_eq!(value[name], want);
        }
        assert_eq!(value["hint"], report.code.hint());
    }
}
