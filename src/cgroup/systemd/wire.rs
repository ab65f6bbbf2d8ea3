//! D-Bus on the wire: as much of the specification's marshalling as the calls to systemd need. Pure.
//!
//! Messages are written little-endian and read in either order: the order is the writer's.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;
use serde::{Deserialize, Serialize};

/// A value of one of the types of systemd's properties.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// `b`
    Bool(bool),
    /// `i`
    I32(i32),
    /// `u`
    U32(u32),
    /// `t`
    U64(u64),
    /// `s`
    Text(String),
    /// `as`
    Texts(Vec<String>),
    /// `au`
    U32s(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
    /// `a(ss)`
    Pairs(Vec<(String, String)>),
    /// `a(st)`
    Rates(Vec<(String, u64)>),
}

impl Value {
    /// The D-Bus signature of the type.
    pub(crate) fn signature(&self) -> &'static str {
        match self {
            Value::Bool(_) => "b",
            Value::I32(_) => "i",
            Value::U32(_) => "u",
            Value::U64(_) => "t",
            Value::Text(_) => "s",
            Value::Texts(_) => "as",
            Value::U32s(_) => "au",
            Value::Bytes(_) => "ay",
            Value::Pairs(_) => "a(ss)",
            Value::Rates(_) => "a(st)",
        }
    }
}

/// Bytes of a message. Each value is aligned to its size from the start of the message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    fn align(&mut self, size: usize) {
        self.0.resize(self.0.len().next_multiple_of(size), 0);
    }

    /// `u`
    pub(crate) fn u32(&mut self, value: u32) {
        self.align(4);
        self.0.extend(value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.align(8);
        self.0.extend(value.to_le_bytes());
    }

    /// `s` and `o`
    pub(crate) fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.0.push(text.len() as u8); // our signatures have a few letters
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// Writes an array; its length does not count the padding before the first element.
    pub(crate) fn array<T>(&mut self, element_size: usize, items: &[T], mut put: impl FnMut(&mut Writer, &T)) {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.align(element_size);
        let start = self.0.len();
        for item in items {
            put(self, item);
        }
        let length = (self.0.len() - start) as u32;
        if let Some(place) = self.0.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }

    /// `v`
    pub(crate) fn variant(&mut self, value: &Value) {
        self.signature(value.signature());
        match value {
            Value::Bool(value) => self.u32(u32::from(*value)),
            Value::I32(value) => self.u32(value.cast_unsigned()),
            Value::U32(value) => self.u32(*value),
            Value::U64(value) => self.u64(*value),
            Value::Text(text) => self.text(text),
            Value::Texts(list) => self.array(4, list, |out, text| out.text(text)),
            Value::U32s(list) => self.array(4, list, |out, number| out.u32(*number)),
            Value::Bytes(list) => self.array(1, list, |out, byte| out.0.push(*byte)),
            Value::Pairs(list) => self.array(8, list, |out, (first, second)| {
                out.align(8);
                out.text(first);
                out.text(second);
            }),
            Value::Rates(list) => self.array(8, list, |out, (text, number)| {
                out.align(8);
                out.text(text);
                out.u64(*number);
            }),
        }
    }

    /// `a(sv)`
    pub(crate) fn properties<'a>(&mut self, list: impl Iterator<Item = (&'a str, &'a Value)>) {
        let list: Vec<_> = list.collect();
        self.array(8, &list, |out, (name, value)| {
            out.align(8);
            out.text(name);
            out.variant(value);
        });
    }
}

/// The receiver of a method call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The name on the message bus; ignored by a direct peer.
    pub destination: Option<&'static str>,
    /// The object path.
    pub path: &'static str,
    /// The interface of the method.
    pub interface: &'static str,
}

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
const HEADER: usize = 16;
/// Largest body or header in bytes. The specification allows 128 MiB; systemd's replies have some hundred bytes.
const MAX_PART_BYTES: usize = 1 << 20;

/// Encodes a method call.
pub(crate) fn call(target: Target, member: &str, serial: u32, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Writer(vec![b'l', METHOD_CALL, 0, 1]);
    out.u32(body.len() as u32);
    out.u32(serial);
    let texts = [
        (1_u8, "o", Some(target.path)),
        (2, "s", Some(target.interface)),
        (3, "s", Some(member)),
        (6, "s", target.destination),
        (8, "g", Some(signature).filter(|text| !text.is_empty())),
    ];
    let fields: Vec<_> = texts.iter().filter_map(|(code, kind, text)| Some((code, kind, (*text)?))).collect();
    out.array(8, &fields, |out, (code, kind, text)| {
        out.align(8);
        out.0.push(**code);
        out.signature(kind);
        if **kind == "g" { out.signature(text) } else { out.text(text) }
    });
    out.align(8);
    out.0.extend(body);
    out.0
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// The reply to the call with this serial number, and the texts in its body.
    Return(u32, Vec<String>),
    /// The error reply to the call with this serial number: the error's name and its text.
    Error(u32, String, String),
    /// A signal: its name, and the texts in its body.
    Signal(String, Vec<String>),
    /// Anything else.
    Other,
}

/// Returns the length of the message in bytes; `None` before its first 16 bytes have been received.
///
/// # Errors
/// The bytes are not D-Bus, or the message is longer than 1 MiB.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>> {
    if bytes.len() < HEADER {
        return Ok(None);
    }
    let mut reader = Reader::new(bytes)?;
    reader.at = 4;
    let body = reader.u32()? as usize;
    reader.at = 12;
    let fields = reader.u32()? as usize;
    ensure!(body.max(fields) < MAX_PART_BYTES, coded!(CgroupSystemd, "a message of {body} bytes"));
    Ok(Some((HEADER + fields).next_multiple_of(8) + body))
}

/// Decodes a whole message.
///
/// # Errors
/// A malformed message.
pub(crate) fn parse(bytes: &[u8]) -> Result<Incoming> {
    let mut reader = Reader::new(bytes)?;
    let kind = bytes.get(1).copied().unwrap_or_default();
    reader.at = 12;
    let end = HEADER + reader.u32()? as usize;
    let (mut reply_to, mut member, mut error, mut signature) = (0, String::new(), String::new(), String::new());
    while reader.at < end {
        reader.align(8);
        let code = reader.byte()?;
        let kind = reader.signature()?;
        match (code, kind.as_str()) {
            (3, "s") => member = reader.text()?,
            (4, "s") => error = reader.text()?,
            (5, "u") => reply_to = reader.u32()?,
            (8, "g") => signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "u") => drop(reader.u32()?),
            (_, "g") => drop(reader.signature()?),
            (code, kind) => bail!(coded!(CgroupSystemd, "header field {code} of type {kind:?}")),
        }
    }
    reader.align(8);
    let texts = reader.texts(&signature)?;
    Ok(match kind {
        METHOD_RETURN => Incoming::Return(reply_to, texts),
        ERROR => Incoming::Error(reply_to, error, texts.into_iter().next().unwrap_or_default()),
        SIGNAL => Incoming::Signal(member, texts),
        _ => Incoming::Other,
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Reader<'a>> {
        let big = match bytes.first() {
            Some(b'l') => false,
            Some(b'B') => true,
            _ => bail!(coded!(CgroupSystemd, "not a D-Bus message")),
        };
        Ok(Reader { bytes, at: 0, big })
    }

    fn align(&mut self, size: usize) {
        self.at = self.at.next_multiple_of(size);
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).context("a length beyond the message")?;
        let part = self.bytes.get(self.at..end).context("a length beyond the message")?;
        self.at = end;
        Ok(part)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> Result<u32> {
        self.align(4);
        let number: [u8; 4] = self.take(4)?.try_into()?;
        Ok(if self.big { u32::from_be_bytes(number) } else { u32::from_le_bytes(number) })
    }

    fn text(&mut self) -> Result<String> {
        let length = self.u32()? as usize;
        self.nul_terminated(length)
    }

    fn signature(&mut self) -> Result<String> {
        let length = usize::from(self.byte()?);
        self.nul_terminated(length)
    }

    fn nul_terminated(&mut self, length: usize) -> Result<String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    /// Reads the values of a body as texts, up to the first that is neither text nor number.
    fn texts(&mut self, signature: &str) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for kind in signature.chars() {
            texts.push(match kind {
                's' | 'o' => self.text()?,
                'u' => self.u32()?.to_string(),
                _ => break,
            });
        }
        Ok(texts)
    }
}

/// Encodes a message of the peer, for tests.
#[cfg(test)]
pub(super) fn peer(kind: u8, fields: &[(u8, &str, &str)], signature: &str, texts: &[&str]) -> Vec<u8> {
    let mut body = Writer::default();
    for (text, kind) in texts.iter().zip(signature.chars()) {
        if kind == 'u' { body.u32(text.parse().unwrap_or_default()) } else { body.text(text) }
    }
    let mut out = Writer(vec![b'l', kind, 0, 1]);
    out.u32(body.0.len() as u32);
    out.u32(99);
    out.array(8, fields, |out, (code, kind, text)| {
        out.align(8);
        out.0.push(*code);
        out.signature(kind);
        match *kind {
            "u" => out.u32(text.parse().unwrap_or_default()),
            "g" => out.signature(text),
            _ => out.text(text),
        }
    });
    out.align(8);
    out.0.extend(body.0);
    out.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const MANAGER: Target = Target { destination: Some("a.b"), path: "/c", interface: "d.e" };

    #[test]
    fn a_call_has_the_bytes_of_the_specification() {
        let mut body = Writer::default();
        body.text("x");
        let bytes = call(MANAGER, "M", 7, "s", &body.0);
        let fields: &[&[u8]] = &[
            b"l\x01\0\x01\x06\0\0\0\x07\0\0\0\x3d\0\0\0",
            b"\x01\x01o\0\x02\0\0\0/c\0\0\0\0\0\0",
            b"\x02\x01s\0\x03\0\0\0d.e\0\0\0\0\0",
            b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0",
            b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0",
            b"\x08\x01g\0\x01s\0\0",
            b"\x01\0\0\0x\0",
        ];
        let mut expected = fields.concat();
        // the length of the fields does not count the padding behind the last one
        expected[12] = 4 * 16 + 7;
        assert_eq!(bytes, expected);
        assert_eq!(length(&bytes).unwrap(), Some(bytes.len()));
    }

    #[test]
    fn values_are_aligned_to_their_size() {
        for (value, expected) in [
            (Value::Bool(true), b"\x01b\0\0\x01\0\0\0".to_vec()),
            (Value::I32(-1), b"\x01i\0\0\xff\xff\xff\xff".to_vec()),
            (Value::U64(5), b"\x01t\0\0\0\0\0\0\x05\0\0\0\0\0\0\0".to_vec()),
            (Value::Bytes(vec![1, 2]), b"\x02ay\0\x02\0\0\0\x01\x02".to_vec()),
            (Value::Texts(vec!["a".into()]), b"\x02as\0\x06\0\0\0\x01\0\0\0a\0".to_vec()),
            (Value::U32s(vec![9]), b"\x02au\0\x04\0\0\0\x09\0\0\0".to_vec()),
            // the length is that of the pair, without the padding before it
            (
                Value::Rates(vec![("d".into(), 3)]),
                b"\x05a(st)\0\0\x10\0\0\0\0\0\0\0\x01\0\0\0d\0\0\0\x03\0\0\0\0\0\0\0".to_vec(),
            ),
            (Value::Rates(vec![]), b"\x05a(st)\0\0\0\0\0\0\0\0\0\0".to_vec()),
        ] {
            let mut out = Writer::default();
            out.variant(&value);
            assert_eq!(out.0, expected, "{value:?}");
        }
    }

    #[test]
    fn replies_errors_and_signals_are_distinguished() {
        let answer = peer(2, &[(5, "u", "3"), (8, "g", "o")], "o", &["/job/1"]);
        let refused = peer(3, &[(4, "s", "x.Bad"), (5, "u", "4"), (8, "g", "s")], "s", &["why"]);
        let removed = peer(4, &[(3, "s", "JobRemoved"), (8, "g", "uoss")], "uoss", &["1", "/job/1", "u", "done"]);
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (bytes, expected) in [
            (answer, Incoming::Return(3, texts(&["/job/1"]))),
            (refused, Incoming::Error(4, "x.Bad".into(), "why".into())),
            (removed, Incoming::Signal("JobRemoved".into(), texts(&["1", "/job/1", "u", "done"]))),
        ] {
            assert_eq!(length(&bytes).unwrap(), Some(bytes.len()));
            assert_eq!(parse(&bytes).unwrap(), expected);
            for cut in 0..bytes.len() {
                assert!(parse(bytes.get(..cut).unwrap()).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_peer_of_the_other_order_of_bytes_is_read() {
        let bytes = b"B\x02\0\x01\0\0\0\x06\0\0\0\x01\0\0\0\x0f\x05\x01u\0\0\0\0\x02\x08\x01g\0\x01s\0\0\0\0\0\x01x\0";
        assert_eq!(length(bytes).unwrap(), Some(bytes.len()));
        assert_eq!(parse(bytes).unwrap(), Incoming::Return(2, vec!["x".into()]));
    }

    #[test]
    fn what_is_not_d_bus_is_refused() {
        assert_eq!(length(b"l\x01\0").unwrap(), None);
        assert!(length(b"HTTP/1.1 400 Bad").is_err());
        assert!(length(b"l\x02\0\x01\xff\xff\xff\x7f\0\0\0\0\0\0\0\0").is_err());
    }
}
