//! What `network create` asks of a new network.

use std::collections::BTreeMap;

/// What the caller asks of a new network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewNetwork {
    /// Subnets; none: a free one.
    pub subnets: Vec<String>,
    /// Address of the bridge in each.
    pub gateways: Vec<String>,
    /// Part of each whose addresses are given to containers: a subnet, or `FIRST-LAST`.
    pub ranges: Vec<String>,
    /// Whether it has a subnet of IPv6, too.
    pub ipv6: bool,
    /// Whether there is no way out.
    pub internal: bool,
    /// Whether names of containers are not resolved.
    pub disable_dns: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Whether an existing network of this name is no error.
    pub ignore: bool,
}
