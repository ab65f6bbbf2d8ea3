//! `corm network`: lists, creates, shows and removes networks.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Context, for_each, port, print};
use crate::cli::args::NetworkVerb;
use crate::config::short_id;
use crate::container::network::networks;
use crate::view::listing::{Format, Listing};
use crate::view::template::Template;
use base::error::escape;

/// Does what the arguments name.
///
/// # Errors
/// A network does not exist, exists already, or is in use.
pub(super) fn run(context: &Context, verb: &NetworkVerb) -> Result<u8> {
    let store = context.store()?;
    match verb {
        NetworkVerb::List { quiet, format } => {
            let all = networks::all(&store)?;
            if *quiet {
                all.iter().try_for_each(|network| print::line(&network.name))?;
                return Ok(0);
            }
            let row = |network: &networks::Description| {
                let id = short_id(&network.id);
                json!({"ID": id, "Id": id, "Name": network.name, "Driver": network.driver, "Created": network.created,
                    "Internal": network.internal, "DNSEnabled": network.dns_enabled})
            };
            let rows: Vec<Value> = all.iter().map(row).collect();
            let own = "{{.ID}}\t{{.Name}}\t{{.Driver}}";
            let headings = [("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER")];
            let listing = Listing { format, own, noheading: false, headings: &headings };
            print::write(listing.text(&rows, || json!(all))?.as_bytes())?;
        }
        NetworkVerb::Create { name, subnet, internal, disable_dns } => {
            print::line(networks::create(&store, name, subnet.as_deref(), *internal, !disable_dns)?.name)?;
        }
        NetworkVerb::Inspect { names, format } => {
            let found: Vec<_> = names.iter().map(|name| networks::find(&store, name)).collect::<Result<_>>()?;
            match format {
                Format::Default | Format::Json => print::json(&found)?,
                Format::Rows(text) | Format::Table(text) => {
                    let template = Template::parse(text).context("--format")?;
                    for network in &found {
                        let text = template.render_line(&json!(network)).context("--format")?;
                        print::write(escape::output(&text).as_bytes())?;
                    }
                }
            }
        }
        NetworkVerb::Remove(names) => {
            return for_each(context, names, |name| {
                networks::remove(&store, name)?;
                print::line(name)
            });
        }
        NetworkVerb::Port { container, port } => return port::run(context, container, port.as_deref()),
    }
    Ok(0)
}
