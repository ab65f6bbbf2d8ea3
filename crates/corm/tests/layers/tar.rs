//! A writer of archives for tests: each byte of a header can be one that no other program writes.

/// The length of a block in bytes.
pub(crate) const BLOCK: usize = 512;

/// The length of the name field of a header in bytes.
const NAME: usize = 100;

/// An unfinished archive.
#[derive(Default, Clone)]
pub(crate) struct Tar(pub Vec<u8>);

/// An unfinished header: at first ustar, of a regular file of root's, mode 0644, at 1 000 000 000 seconds.
#[derive(Clone)]
pub(crate) struct Header(pub [u8; BLOCK]);

impl Header {
    pub(crate) fn new(flag: u8, name: impl AsRef<[u8]>) -> Header {
        let mut header = Header([0; BLOCK]);
        header.bytes(0, cut(name.as_ref()));
        for (at, text) in [(100, "0000644"), (108, "0000000"), (116, "0000000"), (124, "00000000000")] {
            header.bytes(at, text);
        }
        header.bytes(136, "07346545000");
        header.0[156] = flag;
        header.bytes(257, "ustar\x0000");
        header.bytes(329, "0000000");
        header.bytes(337, "0000000");
        header
    }

    /// Writes bytes at an offset. Bytes beyond the end of the block are cut off.
    pub(crate) fn bytes(&mut self, at: usize, bytes: impl AsRef<[u8]>) -> &mut Header {
        for (to, from) in self.0[at..].iter_mut().zip(bytes.as_ref()) {
            *to = *from;
        }
        self
    }

    pub(crate) fn gnu(mut self) -> Header {
        self.bytes(257, "ustar  \0");
        self
    }

    pub(crate) fn mode(mut self, mode: u32) -> Header {
        self.bytes(100, format!("{mode:07o}"));
        self
    }

    pub(crate) fn owner(mut self, uid: u32, gid: u32) -> Header {
        self.bytes(108, format!("{uid:07o}")).bytes(116, format!("{gid:07o}"));
        self
    }

    pub(crate) fn size(mut self, size: u64) -> Header {
        self.bytes(124, format!("{size:011o}"));
        self
    }

    pub(crate) fn link(mut self, target: impl AsRef<[u8]>) -> Header {
        self.bytes(157, cut(target.as_ref()));
        self
    }

    pub(crate) fn device(mut self, major: u32, minor: u32) -> Header {
        self.bytes(329, format!("{major:07o}")).bytes(337, format!("{minor:07o}"));
        self
    }

    /// Sets the checksum and returns the block.
    pub(crate) fn done(mut self) -> [u8; BLOCK] {
        self.bytes(148, "        ");
        let sum: u32 = self.0.iter().map(|&byte| u32::from(byte)).sum();
        self.bytes(148, format!("{sum:06o}\0 "));
        self.0
    }
}

impl Tar {
    pub(crate) fn new() -> Tar {
        Tar::default()
    }

    /// Appends the bytes unchanged.
    pub(crate) fn raw(mut self, bytes: impl AsRef<[u8]>) -> Tar {
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    /// Appends a header, and the data padded to whole blocks.
    pub(crate) fn entry(mut self, header: Header, data: impl AsRef<[u8]>) -> Tar {
        self.0.extend_from_slice(&header.done());
        self.0.extend_from_slice(data.as_ref());
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Tar {
        let size = data.as_ref().len() as u64;
        self.long_if(b'L', name.as_ref()).entry(Header::new(b'0', name).size(size), data)
    }

    pub(crate) fn dir(self, name: impl AsRef<[u8]>) -> Tar {
        self.entry(Header::new(b'5', name).mode(0o755), "")
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Tar {
        self.long_if(b'K', target.as_ref()).entry(Header::new(b'2', name).link(target), "")
    }

    pub(crate) fn link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Tar {
        self.long_if(b'K', target.as_ref()).entry(Header::new(b'1', name).link(target), "")
    }

    /// Appends a pax header for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let data: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        self.entry(Header::new(b'x', "PaxHeaders/x").size(data.len() as u64), data)
    }

    /// Appends a GNU long name (`L`) or link target (`K`) for the next entry.
    pub(crate) fn long(self, flag: u8, name: impl AsRef<[u8]>) -> Tar {
        let data = [name.as_ref(), b"\0"].concat();
        self.entry(Header::new(flag, "././@LongLink").gnu().size(data.len() as u64), data)
    }

    fn long_if(self, flag: u8, name: &[u8]) -> Tar {
        if name.len() > NAME { self.long(flag, name) } else { self }
    }

    /// Appends the end marker and returns the archive.
    pub(crate) fn end(self) -> Vec<u8> {
        self.raw([0; 2 * BLOCK]).0
    }
}

fn cut(name: &[u8]) -> &[u8] {
    &name[..name.len().min(NAME)]
}

/// Returns a pax record, which begins with its own length.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length += 1;
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}
