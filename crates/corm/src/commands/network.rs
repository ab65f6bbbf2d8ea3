//! `corm network`: lists, creates, shows and removes networks, and connects containers.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Context, exists, for_each, port, print, prune};
use crate::cli::args::NetworkVerb;
use crate::config::network::DEFAULT_NETWORK;
use crate::config::short_id;
use crate::container::cleanup;
use crate::container::network::{connection, networks};
use crate::container::run_dir::RunDir;
use crate::view;
use crate::view::listing::Listing;

/// Does what the arguments name.
///
/// # Errors
/// A network does not exist, exists already, or is in use.
pub(super) fn run(context: &Context, verb: &NetworkVerb) -> Result<u8> {
    let store = context.store()?;
    match verb {
        NetworkVerb::List { quiet, noheading, no_trunc, filters, format } => {
            let all = view::networks::that_fit(&store, filters)?;
            if *quiet {
                all.iter().try_for_each(|network| print::line(&network.name))?;
                return Ok(0);
            }
            let row = |network: &networks::Description| {
                let id = if *no_trunc { network.id.as_str() } else { short_id(&network.id) };
                json!({"ID": id, "Id": id, "Name": network.name, "Driver": network.driver, "Created": network.created,
                    "Internal": network.internal, "DNSEnabled": network.dns_enabled,
                    "IPv6Enabled": network.ipv6_enabled, "Labels": network.labels})
            };
            let rows: Vec<Value> = all.iter().map(row).collect();
            let own = "{{.ID}}\t{{.Name}}\t{{.Driver}}";
            let headings = [("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER")];
            let listing = Listing { format, own, noheading: *noheading, headings: &headings };
            print::write(listing.text(&rows, || json!(all))?.as_bytes())?;
        }
        NetworkVerb::Create(name, wanted) => print::line(networks::create(&store, name, wanted)?.name)?,
        NetworkVerb::Connect { container, place } => {
            let record = store.find_container(container)?;
            connection::connect(&store, &RunDir::of(store.root())?, &record, place)?;
        }
        NetworkVerb::Disconnect { network, container } => {
            let record = store.find_container(container)?;
            let name = if network == "bridge" { DEFAULT_NETWORK } else { network };
            connection::disconnect(&store, &RunDir::of(store.root())?, &record, name)?;
        }
        NetworkVerb::Exists(name) => return exists::run(networks::find(&store, name)),
        NetworkVerb::Prune { force, filters } => return prune::networks(context, *force, filters),
        NetworkVerb::Inspect { names, format } => {
            let found: Vec<Value> =
                names.iter().map(|name| Ok(json!(networks::find(&store, name)?))).collect::<Result<_>>()?;
            print::documents(format, &found)?;
        }
        NetworkVerb::Remove { names, force } => {
            let run = RunDir::of(store.root())?;
            return for_each(context, names, |name| {
                for record in networks::users(&store, name)?.into_iter().filter(|_| *force) {
                    cleanup::remove_running(&store, &run, &record)?;
                }
                networks::remove(&store, name)?;
                print::line(name)
            });
        }
        NetworkVerb::Port { container, port } => return port::run(context, container, port.as_deref()),
    }
    Ok(0)
}
