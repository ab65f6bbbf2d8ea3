//! pasta and slirp4netns: programs that forward the traffic of a namespace through sockets of the user.

use base::coded;
use base::error::{Code, Coding as _};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use super::Made;
use super::programs::{self, PASTA, SLIRP};
use crate::config::network::Port;
use crate::container::run_dir::RunDir;
use crate::container::userns;
use linux::process;

/// Address that pasta takes for a name server of the host's loopback interface.
const PASTA_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));

/// slirp4netns' name server and the address of the container, its defaults.
const SLIRP_DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 3));
const SLIRP_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 2, 100));

/// Time limit for the start of a program, in milliseconds.
const START_MS: u16 = 10_000;

/// Starts pasta, which goes to the background when the network is ready and ends with the namespace's path.
///
/// # Errors
/// pasta's.
pub(super) fn pasta(run: &RunDir, id: &str, made: &mut Made) -> Result<()> {
    let path = programs::find(&PASTA)?;
    let mut command = Command::new(&path);
    command.args(["--config-net", "--quiet", "--no-map-gw", "--dns-forward", &PASTA_DNS.to_string()]);
    if !userns::unprivileged() {
        // as another user, its default for root, it cannot enter the namespace
        command.args(["--runas", "0"]);
    }
    // no port in any direction but the published ones
    command.args(["-T", "none", "-U", "none"]);
    for (flag, protocol) in [("-t", "tcp"), ("-u", "udp")] {
        let ports: Vec<&Port> = made.ports.iter().filter(|port| port.protocol.to_string() == protocol).collect();
        for port in &ports {
            command.arg(flag).arg(pasta_port(port));
        }
        if ports.is_empty() {
            command.arg(flag).arg("none");
        }
    }
    command.arg("--pid").arg(run.network_pid(id)).arg("--netns").arg(run.netns(id));
    programs::call(&path, command, b"")?;
    made.name_servers.push(PASTA_DNS);
    Ok(())
}

/// Formats a port as pasta takes it: `ADDRESS/FIRST-LAST:FIRST-LAST`.
fn pasta_port(port: &Port) -> String {
    let range = |first: u16| match port.count {
        1 => first.to_string(),
        count => format!("{first}-{}", u32::from(first) + u32::from(count) - 1),
    };
    let ip = port.ip.map(|ip| format!("{ip}/")).unwrap_or_default();
    format!("{ip}{}:{}", range(port.host), range(port.container))
}

/// Ends the pasta of a container, if it has not ended with the namespace.
///
/// # Errors
/// The process cannot be signalled.
pub(super) fn end_pasta(run: &RunDir, id: &str) -> Result<()> {
    let path = run.network_pid(id);
    let text = match std::fs::read_to_string(&path) {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        text => text.with_context(|| format!("read {path:?}"))?,
    };
    let Ok(pid) = text.trim().parse::<i32>() else { return Ok(()) };
    let pidfd = match process::pidfd_open(pid) {
        Err(err) if err.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
        pidfd => pidfd.with_code(Code::NetworkFailed, || format!("pasta, process {pid}"))?,
    };
    // the pid may have been reused: the command line has the path of this namespace
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let netns = run.netns(id);
    if !words.split(|&byte| byte == 0).any(|word| word == netns.as_os_str().as_encoded_bytes()) {
        return Ok(());
    }
    match process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
        Err(err) if err.raw_os_error() != Some(libc::ESRCH) => Err(err).code(Code::NetworkFailed, "end pasta"),
        _ => Ok(()),
    }
}

/// Starts slirp4netns and publishes the ports; it ends when the returned descriptor is closed, also by a kill of corm.
///
/// # Errors
/// slirp4netns' own.
pub(super) fn slirp(run: &RunDir, id: &str, made: &mut Made) -> Result<OwnedFd> {
    let path = programs::find(&SLIRP)?;
    let cloexec = nix::fcntl::OFlag::O_CLOEXEC;
    let ((ready, tell_ready), (wait_exit, exit)) = (nix::unistd::pipe2(cloexec)?, nix::unistd::pipe2(cloexec)?);
    let (api, log) = (run.network_socket(id), run.network_log(id));
    let mut command = Command::new(&path);
    command.args(["--configure", "--mtu=65520", "--disable-host-loopback", "--enable-seccomp", "--netns-type=path"]);
    let number = |flag: &str, fd: &OwnedFd| OsString::from(format!("--{flag}={}", fd.as_raw_fd()));
    command.arg(number("ready-fd", &tell_ready)).arg(number("exit-fd", &wait_exit));
    command.arg("--api-socket").arg(&api).arg(run.netns(id)).arg("tap0");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(File::create(&log).with_context(|| format!("{log:?}"))?);
    // inherited by this child only: every other one is started when they are closed
    for fd in [&tell_ready, &wait_exit] {
        process::clear_cloexec(fd.as_raw_fd()).code(Code::NetworkFailed, "descriptors of slirp4netns")?;
    }
    command.spawn().with_context(|| format!("{path:?}"))?;
    drop((tell_ready, wait_exit));
    if !is_ready(ready)? {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("ended without a message");
        bail!(coded!(NetworkFailed, "{path:?}: {last}"));
    }
    for port in &made.ports {
        for step in 0..port.count {
            publish(&api, port, step).with_code(Code::UsageValue, || format!("--publish: {}", port.describe()))?;
        }
    }
    made.addresses.push(SLIRP_ADDRESS);
    made.name_servers.push(SLIRP_DNS);
    Ok(exit)
}

/// Waits for the byte by which slirp4netns tells that the network is ready; false when it has ended.
fn is_ready(ready: OwnedFd) -> Result<bool> {
    let end = Instant::now() + Duration::from_millis(START_MS.into());
    loop {
        let polled = poll(&mut [PollFd::new(ready.as_fd(), PollFlags::POLLIN)], PollTimeout::from(START_MS));
        match polled {
            Err(nix::errno::Errno::EINTR) if Instant::now() < end => {}
            Ok(0) | Err(nix::errno::Errno::EINTR) => {
                bail!(coded!(NetworkFailed, "slirp4netns: is not ready within {START_MS} ms"))
            }
            other => {
                other.context("poll")?;
                return Ok(File::from(ready).read(&mut [0]).code(Code::NetworkFailed, "read from slirp4netns")? == 1);
            }
        }
    }
}

/// Asks slirp4netns over its socket to forward a port.
fn publish(api: &std::path::Path, port: &Port, step: u16) -> Result<()> {
    let host = port.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let request = json!({"execute": "add_hostfwd", "arguments": {
        "proto": port.protocol.to_string(), "host_addr": host, "host_port": port.host.saturating_add(step),
        "guest_addr": SLIRP_ADDRESS, "guest_port": port.container.saturating_add(step)}});
    let mut socket = UnixStream::connect(api).with_context(|| format!("{api:?}"))?;
    socket.set_read_timeout(Some(Duration::from_millis(START_MS.into())))?;
    socket.write_all(request.to_string().as_bytes())?;
    socket.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    socket.take(1 << 16).read_to_end(&mut answer)?;
    let answer: Value = serde_json::from_slice(&answer).code(Code::NetworkFailed, "the answer of slirp4netns")?;
    let error = answer.pointer("/error/desc").and_then(Value::as_str);
    ensure!(answer.get("error").is_none(), coded!(NetworkFailed, "slirp4netns: {}", error.unwrap_or("refused")));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn ports_have_pastas_form() {
        for (text, want) in [
            ("8080:80", "8080:80"),
            ("127.0.0.1:8080:80", "127.0.0.1/8080:80"),
            ("8000-8010:9000-9010", "8000-8010:9000-9010"),
            ("[::1]:8080:80", "::1/8080:80"),
        ] {
            assert_eq!(pasta_port(&Port::parse(text).unwrap()), want);
        }
    }
}
