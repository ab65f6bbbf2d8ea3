//! Escaping of untrusted text for a terminal: no control character and no bidirectional override is printed raw,
//! because a name in an image or a registry's response could otherwise move the cursor, set the window title, forge
//! lines or inject input.
//!
//! The output of a container itself (`logs`, the streams of `run` and `exec`) is passed unchanged, as other runtimes
//! do.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes one line of a message or one cell of a table, line ends and tabs included: `
/// `, `\t`, `\x1b`, `\u{202e}`. A backslash stays as it is, so that escaping twice changes nothing.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    escape(text, is_harmful, |c, out| match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c.is_ascii() => push(out, format_args!("\\x{:02x}", u32::from(c))),
        c => push(out, format_args!("\\u{{{:x}}}", u32::from(c))),
    })
}

/// Escapes a whole output of several lines: line ends and tabs stay, other control characters become `\u001b`. In a
/// JSON document they can stand only in strings, where JSON defines this escape: its meaning stays the same.
pub fn output(text: &str) -> Cow<'_, str> {
    // nearly always, and a comparison of bytes is several times faster
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return Cow::Borrowed(text);
    }
    let harmful = |c| is_harmful(c) && !matches!(c, '\n' | '\t');
    escape(text, harmful, |c, out| push(out, format_args!("\\u{:04x}", u32::from(c))))
}

/// Escapes a file name unambiguously: as [`one_line`], with bytes that are not UTF-8 as `\xff` and a backslash doubled.
pub fn name(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for (index, part) in chunk.valid().split('\\').enumerate() {
            if index > 0 {
                out.push_str("\\\\");
            }
            out.push_str(&one_line(part));
        }
        for byte in chunk.invalid() {
            push(&mut out, format_args!("\\x{byte:02x}"));
        }
    }
    out
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // writing to a String does not fail
    let _ = out.write_fmt(text);
}

/// Returns whether a terminal interprets the character: controls (C0, DEL, C1), bidirectional marks and overrides, and
/// the two line separators.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, harmful: impl Fn(char) -> bool, spell: impl Fn(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(&harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if harmful(c) {
            spell(c, &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn nothing_harmful_is_left_on_a_line() {
        for (text, want) in [
            ("plain \"text\" é 漢 \\ \\n", "plain \"text\" é 漢 \\ \\n"),
            ("a\nb\rc\td", "a\\nb\\rc\\td"),
            ("\x1b]0;title\x07\x00\x7f", "\\x1b]0;title\\x07\\x00\\x7f"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            ("x\u{202e}cod\u{2066}.exe\u{200f}\u{61c}", "x\\u{202e}cod\\u{2066}.exe\\u{200f}\\u{61c}"),
            ("l\u{2028}p\u{2029}", "l\\u{2028}p\\u{2029}"),
        ] {
            assert_eq!(one_line(text), want, "{text:?}");
            assert_eq!(one_line(&one_line(text)), want, "twice: {text:?}");
        }
    }

    #[test]
    fn a_document_of_json_keeps_its_meaning() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let document = serde_json::to_string_pretty(&serde_json::json!({"k": all, "\u{9b}": [1]})).unwrap();
        let safe = output(&document);
        assert!(!safe.chars().any(|c| is_harmful(c) && c != '\n'));
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&safe), read(&document));
        assert_eq!(output("a\tb\n"), "a\tb\n");
    }

    #[test]
    fn names_stay_apart() {
        let names: [(&[u8], &str); 6] = [
            (b"a b", "a b"),
            (b"a\nb", "a\\nb"),
            (b"a\\nb", "a\\\\nb"),
            (b"\xff\x1b[2J", "\\xff\\x1b[2J"),
            (b"\\", "\\\\"),
            ("é\u{9b}".as_bytes(), "é\\u{9b}"),
        ];
        for (bytes, want) in names {
            assert_eq!(name(bytes), want);
        }
    }
}
