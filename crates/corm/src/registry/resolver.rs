//! Names of hosts to addresses, with a time limit.
//!
//! As ureq's own resolver, whose thread ends the program where the kernel has none to give.

use std::io;
use std::net::IpAddr;
use std::sync::mpsc::sync_channel;
use std::thread;

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;

/// The resolver of the C library, in a thread of its own where there is a limit.
#[derive(Debug)]
pub(super) struct TimedResolver;

impl Resolver for TimedResolver {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let (limit, reason) = (timeout.after, timeout.reason);
        let unlimited = NextTimeout { after: Duration::NotHappening, ..timeout };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        if limit.is_not_happening() || host.parse::<IpAddr>().is_ok() {
            return DefaultResolver::default().resolve(uri, config, unlimited);
        }
        let (uri, config) = (uri.clone(), config.clone());
        let (result, found) = sync_channel(1);
        thread::Builder::new()
            .name("resolve".to_owned())
            .spawn(move || drop(result.send(DefaultResolver::default().resolve(&uri, &config, unlimited))))
            .map_err(|err| io::Error::new(err.kind(), format!("start a thread: {err}")))?;
        found.recv_timeout(*limit).unwrap_or(Err(Error::Timeout(reason)))
    }
}
