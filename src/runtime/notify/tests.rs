//! The notify socket of systemd: the messages that croci forwards, and their sender.
#![allow(clippy::unwrap_used)]

use super::*;

/// A state directory, and a service manager that listens beside it.
struct NotifyFixture {
    dir: PathBuf,
    manager: UnixDatagram,
}

impl NotifyFixture {
    fn new(name: &str) -> NotifyFixture {
        let dir = std::env::temp_dir().join(format!("croci-notify-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let manager = UnixDatagram::bind(dir.join("manager")).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        NotifyFixture { dir, manager }
    }

    fn bind(&self) -> Option<Notify> {
        let manager = Manager::parse(self.dir.join("manager").as_os_str()).unwrap().unwrap();
        let fd = nix::fcntl::open(&self.dir, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        Notify::bind(fd.as_fd(), manager, 4711).unwrap()
    }

    /// Sends a message as the program in the container does.
    fn send(&self, message: &[u8]) {
        UnixDatagram::unbound().unwrap().send_to(message, self.dir.join("notify/notify.sock")).unwrap();
    }

    /// Receives a message as the manager; a barrier's descriptor is closed, because recv(2) has no control buffer.
    fn receive(&self) -> String {
        let mut buffer = [0u8; 256];
        let length = self.manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

impl Drop for NotifyFixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn cl_11_forms_of_the_variable() {
    for (value, known) in [("", false), ("/run/systemd/notify", true), ("@name", true)] {
        assert_eq!(Manager::parse(OsStr::new(value)).unwrap().is_some(), known, "{value}");
    }
    let long = format!("/{}", "x".repeat(200));
    for value in ["vsock:2:1234", "relative", "@", &long] {
        let err = Manager::parse(OsStr::new(value)).unwrap_err().to_string();
        assert!(err.starts_with("NOTIFY_SOCKET: "), "{err}");
    }
}

#[test]
fn cl_11_only_a_whole_line_is_ready() {
    for (message, ready) in [
        ("READY=1", true),
        ("READY=1\n", true),
        ("STATUS=x\nREADY=1\nMAINPID=1", true),
        ("STATUS=not READY=1", false),
        ("READY=10", false),
        ("READY=0", false),
        ("READY", false),
        ("", false),
    ] {
        assert_eq!(is_ready(message.as_bytes()), ready, "{message:?}");
    }
}

#[test]
fn cl_11_the_configuration_gets_a_mount_and_the_variable() {
    let text = r#"{"ociVersion":"1.3.0","mounts":[{"destination":"/run"}],"process":{"user":{"uid":0,"gid":0},
        "args":["a"],"cwd":"/","env":["NOTIFY_SOCKET=/other","NOTIFY_SOCKETS=2","A=NOTIFY_SOCKET"]}}"#;
    let mut spec: Spec = serde_json::from_str(text).unwrap();
    add_to(&mut spec, Path::new("/run/croci/c1")).unwrap();
    let mounts = spec.mounts().as_ref().unwrap();
    // last, because the configuration may mount on /run
    assert_eq!(mounts[1].destination(), Path::new("/run/notify"));
    assert_eq!(mounts[1].source().as_deref(), Some(Path::new("/run/croci/c1/notify")));
    assert!(mounts[1].options().as_ref().unwrap().iter().any(|option| option == "ro"));
    let env = spec.process().as_ref().unwrap().env().as_ref().unwrap();
    assert_eq!(env, &["NOTIFY_SOCKETS=2", "A=NOTIFY_SOCKET", "NOTIFY_SOCKET=/run/notify/notify.sock"]);
}

#[test]
fn cl_11_ready_is_forwarded_with_main_pid_and_barrier() {
    let scene = NotifyFixture::new("ready");
    make_dir(&scene.dir).unwrap();
    let mut notify = scene.bind().unwrap();
    notify.forward().unwrap();
    scene.send(b"STATUS=loading\nMAINPID=1");
    notify.forward().unwrap();
    assert!(notify.fd().is_some(), "not ready yet");
    scene.send(b"READY=1\nMAINPID=1\nSTATUS=up");
    notify.forward().unwrap();
    assert!(notify.fd().is_none(), "an unread socket would block the program");
    // only READY=1 of the container's message, because its MAINPID is a pid of another namespace
    assert_eq!(scene.receive(), "READY=1\nMAINPID=4711\n");
    let mut buffer = [0u8; 64];
    let (length, barrier) = linux::socket::receive(scene.manager.as_fd(), &mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"BARRIER=1");
    std::thread::scope(|scope| {
        let finished = scope.spawn(|| notify.finish());
        // read, but not yet processed; only a delay can show that croci still waits
        std::thread::sleep(Duration::from_millis(100));
        assert!(!finished.is_finished());
        drop(barrier);
        finished.join().unwrap();
    });
}

#[test]
fn cl_11_any_user_of_the_container_may_write_and_none_outside_may_pass() {
    let scene = NotifyFixture::new("modes");
    make_dir(&scene.dir).unwrap();
    let _notify = scene.bind().unwrap();
    let mode = |path: &str| std::fs::metadata(scene.dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("notify"), mode("notify/notify.sock")), (0o755, 0o777));
}

#[test]
fn cl_11_nothing_prepared_nothing_bound_and_a_stale_socket_is_replaced() {
    let scene = NotifyFixture::new("stale");
    assert!(scene.bind().is_none());
    make_dir(&scene.dir).unwrap();
    drop(scene.bind().unwrap());
    assert!(scene.bind().is_some());
}

#[test]
fn cl_11_a_long_state_path_is_no_obstacle() {
    let mut scene = NotifyFixture::new("long");
    let outer = scene.dir.clone();
    let manager = Manager::parse(outer.join("manager").as_os_str()).unwrap().unwrap();
    scene.dir = outer.join("x".repeat(200));
    std::fs::create_dir(&scene.dir).unwrap();
    make_dir(&scene.dir).unwrap();
    let fd = nix::fcntl::open(&scene.dir, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    assert!(Notify::bind(fd.as_fd(), manager, 1).unwrap().is_some());
    scene.dir = outer;
}

#[test]
fn cl_11_start_waits_for_ready_or_the_end() {
    let scene = NotifyFixture::new("wait");
    make_dir(&scene.dir).unwrap();
    // in place of a pidfd, which is readable when its process has ended, a pipe whose writer is closed
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let notify = scene.bind().unwrap();
    drop(writer);
    notify.wait(reader.as_fd()).unwrap();
    // a message before the end is forwarded
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let notify = scene.bind().unwrap();
    scene.send(b"READY=1");
    drop(writer);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| notify.wait(reader.as_fd()).unwrap());
        assert_eq!((scene.receive(), scene.receive()), ("READY=1\nMAINPID=4711\n".to_owned(), "BARRIER=1".to_owned()));
        waiting.join().unwrap();
    });
}

#[test]
fn cl_11_a_barrier_of_the_program_is_answered() {
    let scene = NotifyFixture::new("barrier");
    make_dir(&scene.dir).unwrap();
    let mut notify = scene.bind().unwrap();
    let program = UnixDatagram::unbound().unwrap();
    program.connect(scene.dir.join("notify/notify.sock")).unwrap();
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    linux::socket::send(program.as_fd(), b"BARRIER=1", &[writer.as_fd()]).unwrap();
    drop(writer);
    notify.forward().unwrap();
    let mut set = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    wait_any(&mut set, Some(Instant::now() + Duration::from_secs(10))).unwrap();
    assert_eq!(set[0].revents(), Some(PollFlags::POLLHUP));
}

#[test]
fn cl_11_a_manager_that_is_gone_is_an_error_that_names_the_variable() {
    let scene = NotifyFixture::new("gone");
    make_dir(&scene.dir).unwrap();
    let mut notify = scene.bind().unwrap();
    std::fs::remove_file(scene.dir.join("manager")).unwrap();
    scene.send(b"READY=1");
    let text = base::error::describe(&notify.forward().unwrap_err());
    assert_eq!(text, "send READY=1 to NOTIFY_SOCKET: no process listens there any more");
}
