//! A hostile program: this test binary itself, run inside a container, where it waits for processes of the runtime.
//!
//! It looks at each process that appears until that one has become a program of the container's, and writes what it
//! has found to `/sightings`, a line each. Its modes are `watch`, `write`, `hold` and `stop`.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use test_support::bundle::{add_mount, bind};
use test_support::*;

/// Marks a caller's environment and command line.
pub(crate) const SECRET: &str = "a-secret-of-the-caller";
/// Programs that are not the runtime.
const OWN: [&str; 2] = ["/bin/busybox", "/helper"];

/// Not a test: the attacker.
#[test]
#[ignore = "a helper that other tests run inside of containers"]
fn helper_attacker() {
    let mode = std::env::var("ATTACK").unwrap();
    let mut known: BTreeSet<i32> = pids();
    let mut found = Found::default();
    fs::write("/ready", "ready\n").unwrap();
    while !Path::new("/stop").exists() {
        // processes that appear meanwhile are left alone
        if Path::new("/hold").exists() {
            while Path::new("/hold").exists() {
                known.extend(pids());
            }
            fs::write("/released", "released\n").unwrap();
        }
        found.add("looked");
        for pid in pids() {
            if known.insert(pid) {
                match mode.as_str() {
                    "watch" => watch(pid, &mut found),
                    "write" => write(pid, &mut found),
                    "hold" => hold(pid, &mut found),
                    "stop" if kill(Pid::from_raw(pid), Signal::SIGSTOP).is_ok() => found.add("stopped"),
                    _ => {}
                }
                found.save();
            }
        }
    }
    found.save();
}

/// Findings, with the count of each.
#[derive(Default)]
struct Found(BTreeMap<String, usize>);

impl Found {
    fn add(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    fn save(&self) {
        let text: String = self.0.iter().map(|(what, times)| format!("{times} {what}\n")).collect();
        fs::write("/sightings.new", text).unwrap();
        fs::rename("/sightings.new", "/sightings").unwrap();
    }
}

fn pids() -> BTreeSet<i32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The program of a process; `None` when it has ended or may not be looked at.
fn program(pid: i32) -> std::io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe"))
}

fn is_own(path: &Path) -> bool {
    OWN.iter().any(|own| path == Path::new(own))
}

/// Whether the open file is a program of the container's.
fn is_own_file(file: &fs::File) -> bool {
    let open = file.metadata().unwrap();
    OWN.iter().any(|own| fs::metadata(own).is_ok_and(|own| (own.dev(), own.ino()) == (open.dev(), open.ino())))
}

/// Looks at a process again and again, until it runs a program of the container's.
fn watch(pid: i32, found: &mut Found) {
    found.add("process");
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        match program(pid) {
            Ok(path) if is_own(&path) => return,
            Ok(_) => found.add("readable"),
            Err(err) if err.raw_os_error() == Some(libc::EACCES) => found.add("denied"),
            Err(_) => return,
        }
        look(pid, found);
    }
}

fn look(pid: i32, found: &mut Found) {
    let marker = std::env::var("HOST_MARKER").unwrap();
    for name in ["root", "cwd"] {
        let dir = format!("/proc/{pid}/{name}");
        if fs::metadata(&dir).is_ok_and(|meta| format!("{}:{}", meta.dev(), meta.ino()) == host_root()) {
            found.add(format!("BAD {name} of the host"));
        }
        if fs::read(format!("{dir}{marker}")).is_ok() {
            found.add(format!("BAD marker by {name}"));
        }
    }
    let mounts = fs::read_link(format!("/proc/{pid}/ns/mnt"));
    if mounts.is_ok_and(|link| link.as_os_str() == std::env::var_os("HOST_MNT").unwrap().as_os_str()) {
        found.add("BAD mount namespace of the host");
    }
    for name in ["environ", "cmdline"] {
        let text = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        if String::from_utf8_lossy(&text).contains(SECRET) {
            found.add(format!("BAD {name} of the caller"));
        }
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let standard = matches!(entry.file_name().to_str(), Some("0" | "1" | "2"));
        // a descriptor of one's own, because the process may close it at any moment; sockets cannot be opened
        let held = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(entry.path());
        if !standard {
            found.add("descriptor");
            if let Ok(held) = held {
                look_at_descriptor(pid, &held, found);
            }
        }
    }
}

/// A file below the process's own root is the container's; so are the two fifos by which a created container is started,
/// which lead nowhere.
fn look_at_descriptor(pid: i32, held: &fs::File, found: &mut Found) {
    let link = fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).unwrap();
    let meta = held.metadata().unwrap();
    let fifo = meta.mode() & libc::S_IFMT == libc::S_IFIFO;
    let Ok(inside) = fs::metadata(format!("/proc/{pid}/root{}", link.display())) else {
        // it has ended, or there is no such file in its root
        if Path::new(&format!("/proc/{pid}/root/")).exists() && link.is_absolute() && !fifo {
            found.add(format!("BAD descriptor {}", link.display()));
        }
        return;
    };
    if link.is_absolute() && !fifo && (inside.dev(), inside.ino()) != (meta.dev(), meta.ino()) {
        found.add(format!("BAD descriptor {}", link.display()));
    }
}

fn host_root() -> String {
    std::env::var("HOST_ROOT").unwrap()
}

/// Opens the program of a process that is none of the container's.
fn open_program(pid: i32, found: &mut Found) -> Option<fs::File> {
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        match program(pid) {
            Ok(path) if is_own(&path) => return None,
            Ok(_) => match fs::File::open(format!("/proc/{pid}/exe")) {
                // it has become a program of the container's since its name was read
                Ok(file) if is_own_file(&file) => return None,
                Ok(file) => {
                    found.add("target");
                    return Some(file);
                }
                Err(_) => found.add("denied"),
            },
            Err(err) if err.raw_os_error() == Some(libc::EACCES) => found.add("denied"),
            Err(_) => return None,
        }
    }
    None
}

/// Writes to the open program; the reason where it cannot be opened for that.
fn overwrite(binary: &fs::File, found: &mut Found) -> Result<(), Option<i32>> {
    let path = format!("/proc/self/fd/{}", binary.as_raw_fd());
    let mut file = fs::OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path);
    let file = file.as_mut().map_err(|err| err.raw_os_error())?;
    // a sealed memfd can be opened, but not changed
    let changed = std::io::Write::write_all(file, b"overwritten").is_ok() || file.set_len(0).is_ok();
    found.add(if changed { "BAD written" } else { "refused: sealed" });
    Ok(())
}

/// Writes to the program of a process that is none of the container's as soon as it is no longer busy.
fn write(pid: i32, found: &mut Found) {
    let Some(binary) = open_program(pid, found) else { return };
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        match overwrite(&binary, found) {
            Ok(()) => return,
            // it still runs
            Err(Some(libc::ETXTBSY)) => {}
            Err(err) => return found.add(format!("refused: {err:?}")),
        }
    }
    found.add("always busy");
}

/// The same, not content with any refusal until the attack is over.
fn hold(pid: i32, found: &mut Found) {
    let Some(binary) = open_program(pid, found) else { return };
    found.save();
    while !Path::new("/stop").exists() && overwrite(&binary, found).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A container whose program is the attacker, running; `more` capabilities than the usual ones.
pub(crate) fn attacker(sandbox: &std::sync::Arc<Sandbox>, mode: &str, more: &[&str]) -> Container {
    let helper = ["/helper", "--ignored", "--exact", "attacker::helper_attacker", "--nocapture"];
    let host = sandbox.mkdir("host");
    fs::write(host.join("marker"), "host-marker\n").unwrap();
    let root = fs::metadata("/").unwrap();
    let c = Container::within(sandbox, &helper).edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            let caps = config["process"]["capabilities"][set].as_array_mut().unwrap();
            caps.extend(more.iter().map(|cap| json!(cap)));
        }
        config["process"]["env"].as_array_mut().unwrap().extend([
            json!(format!("ATTACK={mode}")),
            json!(format!("HOST_MARKER={}", host.join("marker").display())),
            json!(format!("HOST_ROOT={}:{}", root.dev(), root.ino())),
            json!(format!("HOST_MNT={}", fs::read_link("/proc/self/ns/mnt").unwrap().display())),
        ]);
        add_mount(config, bind(&std::env::current_exe().unwrap(), "/helper", &["ro"]));
    });
    let c = c.up();
    c.wait_file("/ready");
    c
}

/// Ends the attacker; what it has seen, with the number of times.
pub(crate) fn sightings(c: &Container) -> BTreeMap<String, usize> {
    fs::write(c.file("/stop"), "").unwrap();
    c.wait_status("stopped");
    let text = fs::read_to_string(c.file("/sightings")).unwrap();
    let line = |line: &str| {
        let (times, what) = line.split_once(' ').unwrap();
        (what.to_owned(), times.parse().unwrap())
    };
    text.lines().map(line).collect()
}

/// Nothing that a container must not see is among the sightings.
#[track_caller]
pub(crate) fn nothing_bad(found: &BTreeMap<String, usize>) {
    assert!(!found.keys().any(|what| what.starts_with("BAD")), "{found:#?}");
}
