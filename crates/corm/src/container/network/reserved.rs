//! Ports of the host, held by sockets while the container runs: a port that another program has is an error, and no other
//! program can take one that netavark redirects.

use base::error::{Code, Coding as _};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use anyhow::Result;

use crate::config::network::{Port, Protocol};

/// Binds the ports; those without a number get free ones.
///
/// # Errors
/// A port is in use, or needs a privilege.
pub(super) fn reserve(ports: &[Port]) -> Result<(Vec<Port>, Vec<OwnedFd>)> {
    let (mut chosen, mut sockets) = (Vec::new(), Vec::new());
    for port in ports {
        if port.host > 0 {
            for step in 0..port.count {
                let (_, socket) = bind(port, port.host.saturating_add(step))?;
                sockets.push(socket);
            }
            chosen.push(port.clone());
            continue;
        }
        // free ports are not next to each other
        for step in 0..port.count {
            let (host, socket) = bind(port, 0)?;
            sockets.push(socket);
            chosen.push(Port { host, container: port.container.saturating_add(step), count: 1, ..port.clone() });
        }
    }
    Ok((chosen, sockets))
}

fn bind(port: &Port, number: u16) -> Result<(u16, OwnedFd)> {
    let address = SocketAddr::new(port.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), number);
    let bound: io::Result<(SocketAddr, OwnedFd)> = match port.protocol {
        Protocol::Tcp => TcpListener::bind(address).and_then(|socket| Ok((socket.local_addr()?, socket.into()))),
        Protocol::Udp => UdpSocket::bind(address).and_then(|socket| Ok((socket.local_addr()?, socket.into()))),
    };
    let (address, socket) =
        bound.with_code(Code::UsageValue, || format!("--publish: {}: {address}", port.describe()))?;
    Ok((address.port(), socket))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_port_in_use_is_an_error() {
        let free = Port::parse("127.0.0.1::80-81").unwrap();
        let (chosen, sockets) = reserve(&[free]).unwrap();
        assert_eq!((chosen.len(), sockets.len(), chosen[1].container), (2, 2, 81));
        let taken = format!("{:#}", reserve(&chosen).unwrap_err());
        assert!(taken.starts_with("--publish: 127.0.0.1:") && taken.contains("in use"), "{taken}");
        drop(sockets);
        reserve(&chosen).unwrap();
    }
}
