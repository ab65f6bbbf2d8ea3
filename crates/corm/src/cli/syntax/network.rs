//! The verbs on networks, and the flags of `run` about them.

use super::common::{ANY, PRUNE_FILTER, VerbSpec, verb};
use crate::cli::convert::network;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::LATEST;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flags of `run` about the network.
pub(super) const RUN: &[Flag] = &[
    many(
        "network",
        None,
        "MODE",
        "Network: none, host, bridge, pasta, slirp4netns, container:NAME, ns:PATH or NAME[:ip=ADDRESS,...] of a network \
         (repeatable) [default: none]",
    ),
    many("publish", Some('p'), "[[IP:][HOST]:]PORT", "Publish a port or range of the container (repeatable)"),
    switch("publish-all", Some('P'), "Publish every exposed port at a free port of the host"),
    many("expose", None, "PORT", "Expose a port or range (repeatable)"),
    one("ip", None, "ADDRESS", "Address in the network"),
    one("ip6", None, "ADDRESS", "Address of IPv6 in the network"),
    one("mac-address", None, "ADDRESS", "Hardware address in the network"),
    many("network-alias", None, "NAME", "Further name in the network (repeatable)"),
];

/// `--format` of `network inspect`.
const FORMAT: Flag = one("format", Some('f'), "FORMAT", "Output format: json, or a template of Go");

/// Flags of `network create`.
const CREATE: &[Flag] = &[
    many("subnet", None, "ADDRESS/BITS", "Subnet [default: one that is free] (repeatable)"),
    many("gateway", None, "ADDRESS", "Address of the bridge [default: the first of the subnet] (repeatable)"),
    many("ip-range", None, "RANGE", "Subnet or FIRST-LAST, from which addresses are given (repeatable)"),
    switch("ipv6", None, "With a subnet of IPv6"),
    switch("internal", None, "Without a way out"),
    switch("disable-dns", None, "Do not resolve the names of containers"),
    switch("ignore", None, "An existing network of this name is no error"),
    one("driver", Some('d'), "NAME", "Driver: bridge"),
    many("label", None, "K=V", "Set a label (repeatable)"),
    many("opt", Some('o'), "K=V", "Set an option of the driver: mtu, vlan, isolate (repeatable)"),
];

/// Flags of `network ls`.
const LIST: &[Flag] = &[
    switch("quiet", Some('q'), "Print only names"),
    switch("noheading", Some('n'), "Without the line of headings"),
    switch("no-trunc", None, "Print whole IDs"),
    // -f is that of the filter here, as in Podman
    many("filter", Some('f'), "NAME=VALUE", "Only networks that fit: name, id, driver, label, until (repeatable)"),
    one("format", None, "FORMAT", "Output format: json, or a template of Go"),
];

/// Flags of `network connect`.
const CONNECT: &[Flag] = &[
    many("alias", None, "NAME", "Further name in the network (repeatable)"),
    one("ip", None, "ADDRESS", "Address in the network"),
    one("ip6", None, "ADDRESS", "Address of IPv6 in the network"),
    one("mac-address", None, "ADDRESS", "Hardware address in the network"),
];

/// Asks no question, or removes containers.
const fn force(help: &'static str) -> Flag {
    switch("force", Some('f'), help)
}

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb(
        "port",
        "List published ports of a container",
        "CONTAINER [PORT[/PROTOCOL]]",
        (1, 2),
        &[&[LATEST], HELP],
        network::port,
    ),
    verb("network ls", "List networks", "", (0, 0), &[LIST, HELP], network::list),
    verb("network create", "Create a network", "NAME", (1, 1), &[CREATE, HELP], network::create),
    verb("network inspect", "Show networks as JSON", "NAME...", (1, ANY), &[&[FORMAT], HELP], network::inspect),
    verb(
        "network rm",
        "Remove networks",
        "NAME...",
        (1, ANY),
        &[&[force("Remove the containers that use it, too")], HELP],
        network::remove,
    ),
    verb(
        "network prune",
        "Remove networks that no container uses",
        "",
        (0, 0),
        &[&[force("Do not ask"), PRUNE_FILTER], HELP],
        network::prune,
    ),
    verb("network exists", "Check whether a network exists", "NAME", (1, 1), &[HELP], network::exists),
    verb(
        "network connect",
        "Add a network to a container",
        "NETWORK CONTAINER",
        (2, 2),
        &[CONNECT, HELP],
        network::connect,
    ),
    verb(
        "network disconnect",
        "Take a network from a container",
        "NETWORK CONTAINER",
        (2, 2),
        &[&[force("Without an effect, as in Podman")], HELP],
        network::disconnect,
    ),
];
