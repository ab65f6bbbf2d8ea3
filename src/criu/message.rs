//! CRIU's RPC messages: encoding of requests and options, decoding of responses. Field numbers are those of its
//! `rpc.proto`.

use anyhow::Result;

use super::wire::{Reader, Writer};

/// `criu_req_type`: the type of a request, and of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CriuRequestType {
    /// Dump a process tree.
    Dump,
    /// Restore a process tree.
    Restore,
    /// Dump memory only.
    PreDump,
    /// A notification: CRIU is about to do a step, or has done it.
    Notify,
    /// Check the features of CRIU and the kernel.
    Features,
    /// A type that croci never requests.
    Other(i32),
}

impl CriuRequestType {
    fn number(self) -> i32 {
        match self {
            CriuRequestType::Dump => 1,
            CriuRequestType::Restore => 2,
            CriuRequestType::PreDump => 4,
            CriuRequestType::Notify => 6,
            CriuRequestType::Features => 9,
            CriuRequestType::Other(number) => number,
        }
    }

    fn from_number(number: i32) -> Self {
        let all = [
            CriuRequestType::Dump,
            CriuRequestType::Restore,
            CriuRequestType::PreDump,
            CriuRequestType::Notify,
            CriuRequestType::Features,
        ];
        all.into_iter().find(|kind| kind.number() == number).unwrap_or(CriuRequestType::Other(number))
    }
}

/// `criu_cg_mode`: the cgroups and settings that CRIU restores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupMode {
    /// None.
    Ignore = 0,
    /// Settings of the cgroups that CRIU creates.
    Soft = 3,
    /// Settings of all cgroups.
    Full = 4,
    /// All cgroups and settings; none of the cgroups may exist.
    Strict = 5,
}

/// `criu_network_lock_method`: the way in which CRIU blocks network traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkLock {
    /// Rules of iptables.
    Iptables = 1,
    /// Rules of nftables.
    Nftables = 2,
    /// No blocking.
    Skip = 3,
}

/// `criu_opts`. Descriptors are numbers in CRIU's own process, see [`super::swrk`].
#[derive(Debug, Default)]
#[allow(
    clippy::missing_docs_in_private_items,
    reason = "the names are those of CRIU's manual page, with the same meaning"
)]
pub(crate) struct Options {
    pub images_dir_fd: i32,
    pub work_dir_fd: Option<i32>,
    pub pid: Option<i32>,
    pub log_level: i32,
    pub log_file: &'static str,
    pub root: Option<String>,
    pub config_file: Option<String>,
    pub leave_running: bool,
    pub ext_unix_sk: bool,
    pub tcp_established: bool,
    pub tcp_close: bool,
    pub tcp_skip_in_flight: bool,
    pub evasive_devices: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub link_remap: bool,
    pub auto_dedup: bool,
    pub lazy_pages: bool,
    pub track_mem: bool,
    pub rst_sibling: bool,
    pub notify_scripts: bool,
    pub orphan_pts_master: bool,
    pub manage_cgroups: bool,
    pub cgroup_mode: Option<CgroupMode>,
    /// Controllers (empty: cgroup v2) and paths.
    pub cgroup_roots: Vec<(String, String)>,
    pub freeze_cgroup: Option<String>,
    pub parent_img: Option<String>,
    pub page_server: Option<(String, u16)>,
    pub status_fd: Option<i32>,
    /// `CLONE_NEW*`
    pub empty_ns: u32,
    pub external: Vec<String>,
    pub inherit: Vec<(String, i32)>,
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
    pub network_lock: Option<NetworkLock>,
}

impl Options {
    fn write(&self, to: &mut Writer) {
        to.int(1, self.images_dir_fd);
        for (field, number) in [(2, self.pid), (17, self.work_dir_fd), (49, self.status_fd)] {
            if let Some(number) = number {
                to.int(field, number);
            }
        }
        self.write_flags(to);
        to.int(9, self.log_level);
        to.bytes(10, self.log_file.as_bytes());
        for (field, text) in [
            (13, &self.root),
            (14, &self.parent_img),
            (44, &self.freeze_cgroup),
            (51, &self.config_file),
            (53, &self.lsm_profile),
            (63, &self.lsm_mount_context),
        ] {
            to.optional(field, text.as_deref());
        }
        if let Some((address, port)) = &self.page_server {
            to.message(11, |page_server| {
                page_server.bytes(1, address.as_bytes());
                page_server.int(2, i32::from(*port));
            });
        }
        for (controller, path) in &self.cgroup_roots {
            to.message(25, |root| {
                root.bytes(1, controller.as_bytes());
                root.bytes(2, path.as_bytes());
            });
        }
        for (key, fd) in &self.inherit {
            to.message(27, |inherit| {
                inherit.bytes(1, key.as_bytes());
                inherit.int(2, *fd);
            });
        }
        if let Some(mode) = self.cgroup_mode {
            to.int(34, mode as i32);
        }
        self.external.iter().for_each(|external| to.bytes(37, external.as_bytes()));
        if self.empty_ns != 0 {
            to.number(38, u64::from(self.empty_ns));
        }
        if let Some(lock) = self.network_lock {
            to.int(64, lock as i32);
        }
    }

    fn write_flags(&self, to: &mut Writer) {
        for (field, value) in [
            (3, self.leave_running),
            (4, self.ext_unix_sk),
            (5, self.tcp_established),
            (6, self.evasive_devices),
            (7, self.shell_job),
            (8, self.file_locks),
            (12, self.notify_scripts),
            (15, self.track_mem),
            (16, self.auto_dedup),
            (18, self.link_remap),
            (24, self.manage_cgroups),
            (26, self.rst_sibling),
            (46, self.tcp_skip_in_flight),
            (48, self.lazy_pages),
            (50, self.orphan_pts_master),
            (52, self.tcp_close),
        ] {
            to.flag(field, value);
        }
    }
}

/// `criu_req`
#[derive(Debug)]
pub(crate) enum Request<'a> {
    /// A request of this type.
    Do(CriuRequestType, &'a Options),
    /// A check of the features.
    Features,
    /// The reply to a notification: true lets CRIU continue, false makes it fail.
    NotifyReply(bool),
}

impl Request<'_> {
    /// Returns the bytes of the message.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        match self {
            Request::Do(kind, options) => {
                to.int(1, kind.number());
                to.message(2, |inner| options.write(inner));
            }
            Request::Features => {
                to.int(1, CriuRequestType::Features.number());
                to.message(5, |features| (1..=2).for_each(|field| features.flag(field, true)));
            }
            Request::NotifyReply(success) => {
                to.int(1, CriuRequestType::Notify.number());
                to.number(3, u64::from(*success));
            }
        }
        to.finish()
    }
}

/// `criu_notify`
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Notify {
    /// Name of the step: `setup-namespaces`, `post-restore`, …
    pub script: String,
    /// Pid of the first process, in CRIU's pid namespace.
    pub pid: i32,
}

/// `criu_resp`
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// Type of the request that it answers.
    pub kind: CriuRequestType,
    /// The request succeeded.
    pub success: bool,
    /// The notification, with [`CriuRequestType::Notify`].
    pub notify: Notify,
    /// errno of a failure, or 0.
    pub errno: i32,
    /// CRIU's message about a failure.
    pub message: String,
    /// Feature: CRIU can track changed memory.
    pub mem_track: bool,
    /// Feature: CRIU can transfer memory pages on demand.
    pub lazy_pages: bool,
}

impl Response {
    /// Decodes a message.
    ///
    /// # Errors
    /// The bytes are not a message of protocol buffers.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Response> {
        let mut response = Response {
            kind: CriuRequestType::Other(0),
            success: false,
            notify: Notify::default(),
            errno: 0,
            message: String::new(),
            mem_track: false,
            lazy_pages: false,
        };
        let mut reader = Reader::new(bytes);
        while let Some((field, value)) = reader.next()? {
            match field {
                1 => response.kind = CriuRequestType::from_number(value.int()),
                2 => response.success = value.as_bool(),
                5 => response.notify = notify(value.bytes())?,
                7 => response.errno = value.int(),
                8 => {
                    let mut features = Reader::new(value.bytes());
                    while let Some((field, value)) = features.next()? {
                        match field {
                            1 => response.mem_track = value.as_bool(),
                            2 => response.lazy_pages = value.as_bool(),
                            _ => {}
                        }
                    }
                }
                9 => response.message = value.text(),
                _ => {}
            }
        }
        Ok(response)
    }
}

fn notify(bytes: &[u8]) -> Result<Notify> {
    let mut notify = Notify::default();
    let mut reader = Reader::new(bytes);
    while let Some((field, value)) = reader.next()? {
        match field {
            1 => notify.script = value.text(),
            2 => notify.pid = value.int(),
            _ => {}
        }
    }
    Ok(notify)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn requests_are_what_criu_expects() {
        assert_eq!(Request::NotifyReply(true).encode(), [0x08, 6, 0x18, 1]);
        assert_eq!(Request::NotifyReply(false).encode(), [0x08, 6, 0x18, 0]);
        assert_eq!(Request::Features.encode(), [0x08, 9, 0x2a, 4, 0x08, 1, 0x10, 1]);
        let options = Options { images_dir_fd: 5, log_level: 4, log_file: "l", ..Options::default() };
        let bytes = Request::Do(CriuRequestType::Dump, &options).encode();
        assert_eq!(bytes, [0x08, 1, 0x12, 7, 0x08, 5, 0x48, 4, 0x52, 1, b'l']);
    }

    #[test]
    fn responses_are_read() {
        let bytes = [0x08, 6, 0x10, 1, 0x2a, 6, 0x0a, 2, b'o', b'k', 0x10, 42];
        let got = Response::decode(&bytes).unwrap();
        assert_eq!((got.kind, got.success), (CriuRequestType::Notify, true));
        assert_eq!(got.notify, Notify { script: "ok".to_owned(), pid: 42 });
        let got = Response::decode(&[0x08, 1, 0x10, 0, 0x38, 3, 0x4a, 2, b'n', b'o']).unwrap();
        assert_eq!((got.kind, got.success, got.errno, got.message.as_str()), (CriuRequestType::Dump, false, 3, "no"));
        assert!(Response::decode(&[0x2a, 9]).is_err());
    }
}
