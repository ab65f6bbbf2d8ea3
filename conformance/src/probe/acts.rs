//! The acts that the probe can try. Each act is one word, `NAME:OPERAND`:
//!
//! | act | `ok` is |
//! |---|---|
//! | `read:PATH`, `link:PATH`, `list:PATH` | the text, the link's target, the sorted names |
//! | `write:PATH=TEXT` (an existing file), `create:PATH` (a new one) | null |
//! | `open:PATH`, `open-rw:PATH` | null |
//! | `stat:PATH` | `kind`, `mode`, `uid`, `gid`, `size`, `major`, `minor`, `dev`, `ino`, of a link itself |
//! | `statfs:PATH` | `type`, the magic number |
//! | `mkdir:`, `rmdir:`, `unlink:`, `chown:` (to 0:0), `mknod:` (null's numbers), `mount:` (a tmpfs) `PATH` | null |
//! | `hostname:NAME` | null |
//! | `notify:TEXT` | null, once the datagram socket in $NOTIFY_SOCKET has received it |
//! | `connect:PATH` | null, once the Unix stream socket has accepted it |
//! | `threads:N` | the number of threads, at most N, that could exist at once |
//! | `allocate:MIB` | null, once all of the memory has been written |
//! | `syscall:NAME-OR-NUMBER,ARGUMENT...` | the value that it returned |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::mpsc;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, major, makedev, minor, mknod};
use serde_json::{Value, json};

use super::sys;

/// Does the act of this word, and returns its result.
pub fn act(word: &str) -> Value {
    let (name, operand) = word.split_once(':').unwrap_or((word, ""));
    match attempt(name, operand) {
        Ok(value) => json!({"ok": value}),
        Err(err) => match err.raw_os_error() {
            Some(number) => json!({"errno": format!("{:?}", Errno::from_raw(number))}),
            None => json!({"error": err.to_string()}),
        },
    }
}

fn attempt(name: &str, operand: &str) -> io::Result<Value> {
    let path = Path::new(operand);
    let none = |()| Value::Null;
    match name {
        "read" => Ok(String::from_utf8_lossy(&fs::read(path)?).into()),
        "link" => Ok(fs::read_link(path)?.to_string_lossy().into()),
        "list" => list(path),
        "write" => {
            let (path, text) = operand.split_once('=').ok_or_else(|| unknown(operand))?;
            OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes()).map(none)
        }
        "create" => OpenOptions::new().write(true).create_new(true).open(path).map(|_| Value::Null),
        // without O_NONBLOCK a fifo without a writer would block
        "open" => OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map(|_| Value::Null),
        "open-rw" => {
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path).map(|_| Value::Null)
        }
        "stat" => stat(path),
        "statfs" => Ok(json!({"type": nix::sys::statfs::statfs(path)?.filesystem_type().0})),
        "mkdir" => fs::create_dir(path).map(none),
        "rmdir" => fs::remove_dir(path).map(none),
        "unlink" => fs::remove_file(path).map(none),
        "chown" => std::os::unix::fs::lchown(path, Some(0), Some(0)).map(none),
        "mknod" => Ok(none(mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3))?)),
        "mount" => Ok(none(mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)),
        "hostname" => Ok(none(nix::unistd::sethostname(operand)?)),
        "notify" => notify(operand),
        "connect" => UnixStream::connect(path).map(|_| Value::Null),
        "threads" => threads(operand.parse().map_err(|_| unknown(operand))?),
        "allocate" => allocate(operand.parse().map_err(|_| unknown(operand))?),
        "syscall" => syscall(operand),
        other => Err(unknown(other)),
    }
}

fn notify(text: &str) -> io::Result<Value> {
    let path = std::env::var_os("NOTIFY_SOCKET").ok_or_else(|| io::Error::other("no NOTIFY_SOCKET"))?;
    UnixDatagram::unbound()?.send_to(text.as_bytes(), path).map(|_| Value::Null)
}

fn unknown(word: &str) -> io::Error {
    io::Error::other(format!("the probe does not know {word:?}"))
}

fn list(path: &Path) -> io::Result<Value> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.into())
}

fn stat(path: &Path) -> io::Result<Value> {
    let meta = fs::symlink_metadata(path)?;
    let kind = meta.file_type();
    let kind = match kind {
        _ if kind.is_dir() => "directory",
        _ if kind.is_file() => "file",
        _ if kind.is_symlink() => "link",
        _ if kind.is_char_device() => "char",
        _ if kind.is_block_device() => "block",
        _ if kind.is_fifo() => "fifo",
        _ => "socket",
    };
    Ok(json!({
        "kind": kind, "mode": format!("{:04o}", meta.mode() & 0o7777), "uid": meta.uid(), "gid": meta.gid(),
        "size": meta.size(), "major": major(meta.rdev()), "minor": minor(meta.rdev()), "dev": meta.dev(), "ino": meta.ino(),
    }))
}

/// Starts threads, which stay until all have been counted, and returns their number.
fn threads(wanted: usize) -> io::Result<Value> {
    let (keep, kept) = mpsc::channel::<()>();
    let kept = std::sync::Arc::new(std::sync::Mutex::new(kept));
    let mut running = Vec::new();
    for _ in 0..wanted {
        let kept = kept.clone();
        let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            let _ = kept.lock().map(|kept| kept.recv());
        });
        match thread {
            Ok(thread) => running.push(thread),
            Err(_) => break,
        }
    }
    drop(keep);
    let count = running.len();
    running.into_iter().for_each(|thread| drop(thread.join()));
    Ok(count.into())
}

fn allocate(mebibytes: usize) -> io::Result<Value> {
    let mut memory = vec![0_u8; mebibytes << 20];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    File::create("/dev/null").and_then(|mut null| null.write_all(&memory)).or(Ok(())).map(|()| Value::Null)
}

fn syscall(operand: &str) -> io::Result<Value> {
    let mut words = operand.split(',');
    let name = words.next().unwrap_or_default();
    let number = sys::number(name).or_else(|| name.parse().ok()).ok_or_else(|| unknown(name))?;
    let mut arguments = [0_i64; 6];
    for (place, word) in arguments.iter_mut().zip(words) {
        *place = word.parse().map_err(|_| unknown(word))?;
    }
    linux::query::call(number, arguments).map(Value::from)
}
