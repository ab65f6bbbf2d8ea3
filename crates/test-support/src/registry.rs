//! Debian's docker-registry on loopback.

use super::{Proc, Sandbox, wait_for};
use std::path::Path;
use std::time::Duration;

/// Starts a registry on a free port, with its data in a directory; returns it and its `HOST:PORT`.
#[track_caller]
pub fn start(sandbox: &Sandbox, data: &Path) -> (Proc, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {free}\n",
        data.display()
    );
    let config = sandbox.write("registry.yml", config);
    let limit = Duration::from_secs(100_000);
    let server = sandbox.program("docker-registry").arg("serve").arg(config).limit(limit).spawn();
    wait_for("the registry answers", || std::net::TcpStream::connect(free).is_ok());
    (server, free.to_string())
}
