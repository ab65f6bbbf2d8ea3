//! A hostile program: this test binary itself, run inside a container, where it waits for processes of the runtime.
//!
//! It inspects each process that appears until that process runs a program of the container, and writes its findings to
//! `/sightings`, a line each. Its modes are `watch`, `write`, `hold` and `stop`.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use test_support::bundle::{add_mount, bind};
use test_support::*;

/// A text by which a caller's environment and command line are recognised.
pub(crate) const SECRET: &str = "a-secret-of-the-caller";
/// The container's own programs.
const OWN: [&str; 2] = ["/bin/busybox", "/helper"];

/// Not a test: runs the attacker inside a container.
#[test]
#[ignore = "a helper that other tests run inside of containers"]
fn helper_attacker() {
    let mode = std::env::var("ATTACK").unwrap();
    let mut known: BTreeSet<i32> = pids();
    let mut found = Found::default();
    fs::write("/ready", "ready\n").unwrap();
    while !Path::new("/stop").exists() {
        // does not inspect processes that appear meanwhile
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

/// Returns the program of a process. Fails where the process has ended or may not be inspected.
fn program(pid: i32) -> std::io::Result<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe"))
}

fn is_own(path: &Path) -> bool {
    OWN.iter().any(|own| path == Path::new(own))
}

/// Returns whether the open file is a program of the container.
fn is_own_file(file: &fs::File) -> bool {
    let open = file.metadata().unwrap();
    OWN.iter().any(|own| fs::metadata(own).is_ok_and(|own| (own.dev(), own.ino()) == (open.dev(), open.ino())))
}

/// Inspects a process repeatedly until it runs a program of the container.
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
        inspect(pid, found);
    }
}

fn inspect(pid: i32, found: &mut Found) {
    let marker = std::env::var("HOST_MARKER").unwrap();
    for name in ["root", "cwd"] {
        let dir = format!("/proc/{pid}/{name}");
        // also above it: a process that has changed its root alone is below that of its mount namespace
        for above in ["", "/..", "/../../../../../../../../../.."] {
            if fs::metadata(dir.clone() + above)
                .is_ok_and(|meta| format!("{}:{}", meta.dev(), meta.ino()) == host_root())
            {
                found.add(format!("BAD {name}{above} of the host"));
            }
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
        // opens the file itself, because the process may close the descriptor at any moment; sockets cannot be opened
        let held = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(entry.path());
        if !standard {
            found.add("descriptor");
            if let Ok(held) = held {
                inspect_descriptor(pid, &held, found);
            }
        }
    }
}

/// Records a descriptor of a file that is not below the process's own root. The two fifos by which a created container
/// is started are not recorded, because they give no access to the host.
fn inspect_descriptor(pid: i32, held: &fs::File, found: &mut Found) {
    let link = fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).unwrap();
    let meta = held.metadata().unwrap();
    let fifo = meta.mode() & libc::S_IFMT == libc::S_IFIFO;
    let Ok(inside) = fs::metadata(format!("/proc/{pid}/root{}", link.display())) else {
        // the process has ended, or there is no such file in its root
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

/// The last bytes of the copy of the runtime that the attack may damage.
pub(crate) const EXPENDABLE: &[u8] = b"a copy that an attack may damage";

/// Returns whether the open program is the copy that a test has made, or a copy of that by the runtime. Nothing else is ever
/// written to, because a fault of the runtime would otherwise cost the machine a program.
fn is_expendable(file: &fs::File) -> bool {
    let mut end = [0; EXPENDABLE.len()];
    let length = file.metadata().map_or(0, |meta| meta.len());
    let start = length.checked_sub(EXPENDABLE.len() as u64);
    start.is_some_and(|start| file.read_exact_at(&mut end, start).is_ok()) && end == *EXPENDABLE
}

/// Opens the program of a process, `None` where it is a program of the container or cannot be opened.
fn open_program(pid: i32, found: &mut Found) -> Option<fs::File> {
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        match program(pid) {
            Ok(path) if is_own(&path) => return None,
            Ok(_) => match fs::File::open(format!("/proc/{pid}/exe")) {
                // the process has executed a program of the container since its name was read
                Ok(file) if is_own_file(&file) => return None,
                Ok(file) if is_expendable(&file) => {
                    found.add("target");
                    return Some(file);
                }
                Ok(_) => {
                    let name = program(pid).map_or_else(|err| err.to_string(), |path| path.display().to_string());
                    found.add(format!("BAD program that is not the runtime's: {name}"));
                    return None;
                }
                Err(_) => found.add("denied"),
            },
            Err(err) if err.raw_os_error() == Some(libc::EACCES) => found.add("denied"),
            Err(_) => return None,
        }
    }
    None
}

/// Writes to the open program. Returns the error number where it cannot be opened for writing.
fn overwrite(binary: &fs::File, found: &mut Found) -> Result<(), Option<i32>> {
    let path = format!("/proc/self/fd/{}", binary.as_raw_fd());
    let mut file = fs::OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path);
    let file = file.as_mut().map_err(|err| err.raw_os_error())?;
    // a sealed memfd can be opened, but not changed
    let changed = std::io::Write::write_all(file, b"overwritten").is_ok() || file.set_len(0).is_ok();
    found.add(if changed { "BAD written" } else { "refused: sealed" });
    Ok(())
}

/// Writes to the runtime's program that a process runs, as soon as no process executes it (ETXTBSY).
fn write(pid: i32, found: &mut Found) {
    let Some(binary) = open_program(pid, found) else { return };
    let end = Instant::now() + Duration::from_secs(5);
    while Instant::now() < end {
        match overwrite(&binary, found) {
            Ok(()) => return,
            // a process still executes it
            Err(Some(libc::ETXTBSY)) => {}
            Err(err) => return found.add(format!("refused: {err:?}")),
        }
    }
    found.add("always busy");
}

/// Holds the runtime's program that a process runs open, and tries to write to it until the attack is over.
fn hold(pid: i32, found: &mut Found) {
    let Some(binary) = open_program(pid, found) else { return };
    found.save();
    while !Path::new("/stop").exists() && overwrite(&binary, found).is_err() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Starts a container whose program is the attacker, with the capabilities `more` beside the usual ones.
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

/// Ends the attacker, and returns its findings with the count of each.
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

/// Checks that the findings have nothing that a container must not see.
#[track_caller]
pub(crate) fn nothing_bad(found: &BTreeMap<String, usize>) {
    assert!(!found.keys().any(|what| what.starts_with("BAD")), "{found:#?}");
}
