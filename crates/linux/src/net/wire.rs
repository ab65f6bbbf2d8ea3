//! Encoding of netlink requests and decoding of replies. Pure; the socket is in the parent module.
//!
//! Every length is checked, also the kernel's: an attribute too long for its 16-bit length is an error, not a truncated
//! number (CVE-2021-43784, SEC-10).

use std::io;

/// Size of a netlink header: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// Size of an attribute's header: length, type.
const ATTRIBUTE_HEADER: usize = 4;
/// Mask of an attribute's type, without the flags "nested" and "network byte order".
const TYPE_MASK: u16 = 0x3fff;

/// A request that is being built.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// Begins a request of type `kind` with the fixed part `body` of its family.
    pub(super) fn new(kind: u16, flags: u16, body: &[u8]) -> Request {
        let mut bytes = vec![0u8; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend_from_slice(body);
        let mut request = Request { bytes };
        request.pad();
        request
    }

    /// Appends an attribute.
    ///
    /// # Errors
    /// `EMSGSIZE`: its length does not fit into 16 bits.
    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) -> io::Result<()> {
        let length = u16::try_from(value.len() + ATTRIBUTE_HEADER).map_err(|_| too_long())?;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        Ok(())
    }

    /// Appends a name, terminated by NUL.
    ///
    /// # Errors
    /// As [`Request::attribute`].
    pub(super) fn name(&mut self, kind: u16, name: &str) -> io::Result<()> {
        let mut value = name.as_bytes().to_vec();
        value.push(0);
        self.attribute(kind, &value)
    }

    /// Returns the finished message.
    ///
    /// # Errors
    /// `EMSGSIZE`: the length does not fit into 32 bits.
    pub(super) fn finish(mut self, sequence: u32) -> io::Result<Vec<u8>> {
        let length = u32::try_from(self.bytes.len()).map_err(|_| too_long())?;
        for (place, byte) in self.bytes.iter_mut().zip(length.to_ne_bytes()) {
            *place = byte;
        }
        for (place, byte) in self.bytes.iter_mut().skip(8).zip(sequence.to_ne_bytes()) {
            *place = byte;
        }
        Ok(self.bytes)
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn too_long() -> io::Error {
    io::Error::from_raw_os_error(libc::EMSGSIZE)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's netlink message is malformed")
}

/// One message of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// `RTM_*` or `NLMSG_*`.
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// Sequence number of the request.
    pub sequence: u32,
    /// The bytes after the header.
    pub payload: &'a [u8],
}

/// Splits a datagram into messages.
///
/// # Errors
/// `InvalidData`: a length exceeds the datagram.
pub(super) fn messages(mut bytes: &[u8]) -> io::Result<Vec<Message<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = u32_at(bytes, 0).ok_or_else(malformed)? as usize;
        let (Some(kind), Some(flags), Some(sequence)) = (u16_at(bytes, 4), u16_at(bytes, 6), u32_at(bytes, 8)) else {
            return Err(malformed());
        };
        let payload = bytes.get(HEADER..length).ok_or_else(malformed)?;
        found.push(Message { kind, flags, sequence, payload });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// Splits a payload into attributes: type and value.
///
/// # Errors
/// `InvalidData`: a length exceeds the payload.
pub(super) fn attributes(mut bytes: &[u8]) -> io::Result<Vec<(u16, &[u8])>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (Some(length), Some(kind)) = (u16_at(bytes, 0), u16_at(bytes, 2)) else { return Err(malformed()) };
        let length = usize::from(length);
        found.push((kind & TYPE_MASK, bytes.get(ATTRIBUTE_HEADER..length).ok_or_else(malformed)?));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// Decodes an `NLMSG_ERROR` or `NLMSG_DONE`: success, or an errno, perhaps with the kernel's message.
///
/// # Errors
/// The errno of the message.
pub(super) fn ack(message: &Message<'_>) -> io::Result<()> {
    let code = u32_at(message.payload, 0).ok_or_else(malformed)? as i32;
    if code >= 0 {
        return Ok(());
    }
    let refusal = io::Error::from_raw_os_error(code.saturating_neg());
    match extended(message) {
        Some(text) => Err(io::Error::other(NetlinkError { text, refusal })),
        None => Err(refusal),
    }
}

/// Returns the message of an extended acknowledgement.
fn extended(message: &Message<'_>) -> Option<String> {
    if i32::from(message.flags) & libc::NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let mut skip = 4;
    if message.kind == libc::NLMSG_ERROR as u16 {
        // after the request's header, and the request itself unless it was omitted
        let request = u32_at(message.payload, 4)? as usize;
        let capped = i32::from(message.flags) & libc::NLM_F_CAPPED != 0;
        skip += if capped { HEADER } else { request.next_multiple_of(4) };
    }
    const MESSAGE: u16 = 1; // NLMSGERR_ATTR_MSG
    let found = attributes(message.payload.get(skip..)?).ok()?;
    let (_, text) = found.into_iter().find(|(kind, _)| *kind == MESSAGE)?;
    let text = String::from_utf8_lossy(text);
    let text = text.trim_end_matches(['\0', '.']);
    (!text.is_empty()).then(|| text.to_owned())
}

/// An error with the kernel's message.
#[derive(Debug)]
struct NetlinkError {
    text: String,
    refusal: io::Error,
}

impl std::fmt::Display for NetlinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for NetlinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.refusal)
    }
}

/// Returns the errno of an error, with or without a message.
pub fn errno(err: &io::Error) -> Option<i32> {
    let refused = err.get_ref().and_then(|inner| inner.downcast_ref::<NetlinkError>());
    refused.map_or(err, |refused| &refused.refusal).raw_os_error()
}

/// Reads the 16-bit number at offset `at`.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_ne_bytes(*chunk))
}

/// Reads the 32-bit number at offset `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reply(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_request_is_padded_and_knows_its_length() {
        let mut request = Request::new(19, 4, &[9; 16]);
        request.name(3, "eth0").unwrap();
        request.attribute(28, &5u32.to_ne_bytes()).unwrap();
        let bytes = request.finish(7).unwrap();
        // header 16, body 16, name 4+5 padded to 12, descriptor 8
        assert_eq!(bytes.len(), 52);
        let parsed = messages(&bytes).unwrap();
        assert_eq!((parsed[0].kind, parsed[0].flags, parsed[0].sequence), (19, 5, 7));
        let found = attributes(&parsed[0].payload[16..]).unwrap();
        assert_eq!(found, [(3, &b"eth0\0"[..]), (28, &5u32.to_ne_bytes()[..])]);
    }

    #[test]
    fn sec_10_an_attribute_longer_than_16_bits_is_refused() {
        let mut request = Request::new(19, 0, &[]);
        assert!(request.attribute(3, &[0; 65_531]).is_ok());
        let err = request.attribute(3, &[0; 65_532]).unwrap_err();
        assert_eq!(err.raw_os_error(), Some(libc::EMSGSIZE));
    }

    #[test]
    fn lengths_that_point_outside_are_refused() {
        let good = reply(16, 0, &[1, 2, 3, 4]);
        assert!(messages(&good).is_ok());
        for (name, bytes) in [
            ("shorter than a header", good[..15].to_vec()),
            ("cut", good[..19].to_vec()),
            ("length 0", [&[0, 0, 0, 0][..], &good[4..]].concat()),
            ("length below the header", [&15u32.to_ne_bytes()[..], &good[4..]].concat()),
            ("length 2^32-1", [&u32::MAX.to_ne_bytes()[..], &good[4..]].concat()),
        ] {
            assert_eq!(messages(&bytes).unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}");
        }
        for bytes in [&[3, 0, 1, 0][..], &[0, 0, 1, 0], &[9, 0, 1, 0, 5], &[4], &[255, 255, 0, 0, 1]] {
            assert_eq!(attributes(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }

    #[test]
    fn an_unpadded_last_attribute_is_taken() {
        assert_eq!(attributes(&[5, 0, 1, 0, 42]).unwrap(), [(1, &[42][..])]);
        assert_eq!(attributes(&[4, 0, 1, 0x80]).unwrap(), [(1, &[][..])]);
    }

    #[test]
    fn a_refusal_has_the_kernels_own_words_before_the_errno() {
        let text = b"\x0c\0\x01\0no way.\0";
        let header = [20u8, 0, 0, 0, 19, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        let code = (-libc::EINVAL).to_ne_bytes();
        for (name, flags, payload) in [
            ("capped", 0x300, [&code[..], &header, text].concat()),
            ("with the request", 0x200, [&code[..], &header, &[0; 4], text].concat()),
        ] {
            let bytes = reply(libc::NLMSG_ERROR as u16, flags, &payload);
            let err = ack(&messages(&bytes).unwrap()[0]).unwrap_err();
            assert_eq!(errno(&err), Some(libc::EINVAL), "{name}");
            assert_eq!(err.to_string(), "no way", "{name}");
        }
    }

    #[test]
    fn verdicts_without_words() {
        for (kind, code, errno_wanted) in [(2u16, 0i32, None), (2, -19, Some(19)), (3, 0, None), (3, -4, Some(4))] {
            let bytes = reply(kind, 0, &code.to_ne_bytes());
            let found = ack(&messages(&bytes).unwrap()[0]);
            assert_eq!(found.err().as_ref().and_then(errno), errno_wanted, "type {kind}, code {code}");
        }
        // extended, but the attributes are damaged: the errno still counts
        let bytes = reply(2, 0x300, &[&(-1i32).to_ne_bytes()[..], &[0; 16], &[9, 0, 1, 0]].concat());
        assert_eq!(errno(&ack(&messages(&bytes).unwrap()[0]).unwrap_err()), Some(1));
    }
}
