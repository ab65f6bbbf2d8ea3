//! What a message names: the field of config.json or the flag, the path, and the kernel's error at its end.
//!
//! The code of an error is not found here but attached where the error is made (`coded`).

use nix::errno::Errno;

use super::code::Code;
use super::errno_text;

/// The properties at the top of config.json.
const CONFIG: &[&str] =
    &["ociVersion", "process", "root", "hostname", "domainname", "mounts", "hooks", "annotations", "linux"];

/// Returns whether `field` is `of` or a property below it.
fn is_below(field: &str, of: &str) -> bool {
    field.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Returns the property of config.json, or the flag, that the message names: the first part that begins with one.
pub(super) fn field(message: &str) -> Option<&str> {
    parts(message).find_map(|part| flag(part).or_else(|| property(part)))
}

/// Returns the parts between `: `, where a message may name what it is about.
fn parts(message: &str) -> impl Iterator<Item = &str> {
    let starts = message.match_indices(": ").map(|(at, _)| at + 2);
    std::iter::once(0).chain(starts).filter_map(|at| message.get(at..))
}

fn flag(part: &str) -> Option<&str> {
    let part = part.strip_prefix("unknown flag \"").unwrap_or(part);
    let name = part.strip_prefix("--")?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(name.len());
    (end > 0).then(|| part.get(..end + 2)).flatten()
}

fn property(part: &str) -> Option<&str> {
    let mut end = 0;
    let mut rest = part;
    loop {
        let next = match rest.bytes().next() {
            // an index or a key: up to the bracket's end
            Some(b'[') => rest.find(']').map_or(rest.len(), |at| at + 1),
            Some(b) if b.is_ascii_alphanumeric() || b"_-/".contains(&b) || (b == b'.' && end > 0) => 1,
            _ => break,
        };
        end += next;
        rest = rest.get(next..)?;
    }
    let name = part.get(..end)?.trim_end_matches('.');
    let is_ended = rest.is_empty() || rest.starts_with([':', ' ', ',']);
    (is_ended && CONFIG.iter().any(|of| is_below(name, of) && (name.contains(['.', '[']) || rest.starts_with(':'))))
        .then_some(name)
}

/// Returns the first absolute path in quotes.
pub(super) fn path(message: &str) -> Option<&str> {
    message.match_indices("\"/").find_map(|(at, _)| {
        let rest = message.get(at + 1..)?;
        rest.find('"').and_then(|end| rest.get(..end))
    })
}

/// Returns the errno whose text is the last part of the message, or a part of it before a hint in parentheses.
pub(super) fn errno_of_text(message: &str) -> Option<Errno> {
    let ends_with = |errno: &Errno| {
        let text = errno_text(*errno as i32);
        message.rmatch_indices(text.as_str()).next().is_some_and(|(at, _)| {
            let before = message.get(..at).unwrap_or_default();
            let after = message.get(at + text.len()..).unwrap_or_default();
            (before.is_empty() || before.ends_with(": "))
                && (after.is_empty() || after.starts_with([' ', ':', ',', ';']))
        })
    };
    (1..=133).map(Errno::from_raw).filter(|errno| *errno != Errno::UnknownErrno).find(ends_with)
}

/// Returns the text without the code in brackets that `Report::line` has put at its end, and the code.
pub(super) fn without_code(text: &str) -> (&str, Option<Code>) {
    let split = text.strip_suffix(']').and_then(|text| text.rsplit_once(" ["));
    match split.and_then(|(text, name)| Some((text, Code::named(name)?))) {
        Some((text, code)) => (text, Some(code)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_found() {
        for (message, want) in [
            ("mounts[3]: destination \"/data\": is a symlink", Some("mounts[3]")),
            ("config.json: process.args[0]: exec: \"x\"", Some("process.args[0]")),
            ("/b/config.json: linux.resources.cpu.quota: 5 is below 1000", Some("linux.resources.cpu.quota")),
            ("annotations[\"run.oci.x\"]: \"y\" is not supported", Some("annotations[\"run.oci.x\"]")),
            ("root: is required", Some("root")),
            ("create: --preserve-fds \"x\": must be a number", Some("--preserve-fds")),
            ("create: unknown flag \"--frob\"", Some("--frob")),
            ("--root \"/x\": no such file or directory", Some("--root")),
            ("container \"linux\" does not exist", None),
            ("process 12 does not end", None),
            ("rooted: x", None),
        ] {
            assert_eq!(field(message), want, "{message}");
        }
    }

    #[test]
    fn path_and_errno_are_found() {
        for (message, want, errno) in [
            ("mounts[0]: open \"/a b/c\": no such file or directory", Some("/a b/c"), Some(Errno::ENOENT)),
            ("open \"/x\": permission denied (see docs)", Some("/x"), Some(Errno::EACCES)),
            ("the hook wrote: no such file or directories", None, None),
            ("nothing", None, None),
            ("write: file exists", None, Some(Errno::EEXIST)),
        ] {
            assert_eq!(path(message), want, "{message}");
            assert_eq!(errno_of_text(message), errno, "{message}");
        }
    }
}
