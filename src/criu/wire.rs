//! The wire format of protocol buffers, as far as CRIU's messages need it.
//! <https://protobuf.dev/programming-guides/encoding/>

use anyhow::{Context as _, Result, bail};
use base::coded;

const VARINT: u64 = 0;
const BYTES: u64 = 2;

/// A message being written.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | VARINT);
        self.varint(value);
    }

    /// Writes an int32; a negative one is sign-extended to ten bytes.
    pub(super) fn int(&mut self, field: u64, value: i32) {
        self.number(field, i64::from(value) as u64);
    }

    /// Writes a bool; false is omitted because it is the default of every field.
    pub(super) fn flag(&mut self, field: u64, value: bool) {
        if value {
            self.number(field, 1);
        }
    }

    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn optional(&mut self, field: u64, value: Option<&str>) {
        if let Some(value) = value {
            self.bytes(field, value.as_bytes());
        }
    }

    pub(super) fn message(&mut self, field: u64, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Writer::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A fixed 32 or 64 bit value: no message that croci reads has one.
    Other,
}

impl<'a> Value<'a> {
    pub(super) fn int(self) -> i32 {
        if let Value::Number(number) = self { number as i32 } else { 0 }
    }

    pub(super) fn as_bool(self) -> bool {
        matches!(self, Value::Number(1..))
    }

    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        if let Value::Bytes(bytes) = self { bytes } else { &[] }
    }
}

/// A reader of the fields of a message, in their order.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().context("the message ends in the middle of a number")?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        bail!(coded!(CriuFailed, "a number of the message is too long"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let parts = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
        let (taken, rest) = parts.context("the message ends in the middle of a field")?;
        self.0 = rest;
        Ok(taken)
    }

    /// Returns the next field's number and value; `None` at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.varint()?),
            BYTES => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            1 => self.take(8).map(|_| Value::Other)?,
            5 => self.take(4).map(|_| Value::Other)?,
            other => bail!(coded!(CriuFailed, "the message has a field of unknown type {other}")),
        };
        Ok(Some((key >> 3, value)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.number(1, 300);
        writer.int(9, -2);
        writer.flag(3, false);
        writer.flag(16, true);
        writer.message(2000, |inner| inner.bytes(2, b"x"));
        let bytes = writer.finish();
        // the first is the example of the format's documentation
        assert_eq!(bytes.get(..3), Some(&[0x08, 0xac, 0x02][..]));
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.next().unwrap(), Some((1, Value::Number(300))));
        assert_eq!(reader.next().unwrap().map(|(field, value)| (field, value.int())), Some((9, -2)));
        assert_eq!(reader.next().unwrap().map(|(field, value)| (field, value.as_bool())), Some((16, true)));
        assert_eq!(reader.next().unwrap(), Some((2000, Value::Bytes(&[0x12, 1, b'x']))));
        assert_eq!(reader.next().unwrap(), None);
    }

    #[test]
    fn damaged_messages_are_refused() {
        for bytes in [&[0x08][..], &[0x08, 0x80], &[0x0a, 5, 1], &[0x0b], &[0x0d, 1, 2], &[0xff; 11]] {
            assert!(Reader::new(bytes).next().is_err(), "{bytes:?}");
        }
    }
}
