//! The verbs on networks, and the flags of `run` about them.

use super::common::{ANY, VerbSpec, verb};
use crate::cli::convert::network;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flags of `run` about the network.
pub(super) const RUN: &[Flag] = &[
    one(
        "network",
        None,
        "MODE",
        "Network: none, host, bridge, pasta, slirp4netns, container:NAME, ns:PATH or a network's name [default: none]",
    ),
    many("publish", Some('p'), "[[IP:][HOST]:]PORT", "Publish a port or range of the container (repeatable)"),
    switch("publish-all", Some('P'), "Publish every exposed port at a free port of the host"),
    many("expose", None, "PORT", "Expose a port or range (repeatable)"),
    one("ip", None, "ADDRESS", "Address in the network"),
    one("mac-address", None, "ADDRESS", "Hardware address in the network"),
    many("network-alias", None, "NAME", "Further name in the network (repeatable)"),
];

/// `--format` of `network ls` and `inspect`.
const FORMAT: Flag = one("format", Some('f'), "FORMAT", "Output format: json, or a template of Go");

/// Flags of `network create`.
const CREATE: &[Flag] = &[
    one("subnet", None, "ADDRESS/BITS", "Subnet [default: one that is free]"),
    switch("internal", None, "Without a way out"),
    switch("disable-dns", None, "Do not resolve the names of containers"),
];

/// The verbs, in the order of the help.
pub(super) const VERBS: &[VerbSpec] = &[
    verb("port", "List published ports of a container", "CONTAINER [PORT[/PROTOCOL]]", (1, 2), &[HELP], network::port),
    verb(
        "network ls",
        "List networks",
        "",
        (0, 0),
        &[&[switch("quiet", Some('q'), "Print only names"), FORMAT], HELP],
        network::list,
    ),
    verb("network create", "Create a network", "NAME", (1, 1), &[CREATE, HELP], network::create),
    verb("network inspect", "Show networks as JSON", "NAME...", (1, ANY), &[&[FORMAT], HELP], network::inspect),
    verb("network rm", "Remove networks", "NAME...", (1, ANY), &[HELP], network::remove),
];
