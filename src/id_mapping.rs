//! ID mappings of user namespaces and mounts: lists of ranges, as user_namespaces(7) and `/proc/PID/uid_map` have them.

use std::fmt;

use oci_spec::runtime::LinuxIdMapping;

/// The number that is no ID, 2³²-1: system calls take it for "no change", and the kernel does not map it.
const NO_ID: u32 = u32::MAX;

/// One range of IDs, a line of `/proc/PID/uid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdMapping {
    /// The first ID in the container.
    pub container: u32,
    /// The first ID on the host.
    pub host: u32,
    /// Number of IDs.
    pub size: u32,
}

impl IdMapping {
    /// Maps `size` IDs of the container, from `first` on, to the host and returns the first. `None` where this range
    /// does not have all of them.
    fn range_to_host(&self, first: u32, size: u32) -> Option<u32> {
        let offset = first.checked_sub(self.container).filter(|offset| *offset < self.size)?;
        let host = self.host.checked_add(offset)?;
        host.checked_add(size.saturating_sub(1)).filter(|last| *last != NO_ID)?;
        (size <= self.size - offset).then_some(host)
    }
}

impl From<&LinuxIdMapping> for IdMapping {
    fn from(mapping: &LinuxIdMapping) -> Self {
        IdMapping { container: mapping.container_id(), host: mapping.host_id(), size: mapping.size() }
    }
}

/// The user or the group mappings of a user namespace; empty when they are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdMappings(Vec<IdMapping>);

impl IdMappings {
    /// Parses the text of `/proc/PID/uid_map`; skips lines of another form.
    pub(crate) fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse::<u32>().ok());
            Some(IdMapping { container: numbers.next()?, host: numbers.next()?, size: numbers.next()? })
        };
        text.lines().filter_map(line).collect()
    }

    /// Reports whether there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reports whether a single ID is mapped: the only mapping that the kernel lets an unprivileged process write.
    pub(crate) fn is_single_id(&self) -> bool {
        matches!(self.0.as_slice(), [IdMapping { size: 1, .. }])
    }

    /// The ranges in their order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, IdMapping> {
        self.0.iter()
    }

    /// Reports whether the container's `id` is mapped.
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.to_host(id).is_some()
    }

    /// Maps an ID of the container to the host.
    pub(crate) fn to_host(&self, id: u32) -> Option<u32> {
        self.range_to_host(id, 1)
    }

    /// Maps `size` IDs of the container, from `first` on, to the host and returns the first. `None` where no one range
    /// has all of them.
    pub(crate) fn range_to_host(&self, first: u32, size: u32) -> Option<u32> {
        self.0.iter().find_map(|mapping| mapping.range_to_host(first, size))
    }
}

/// The text of `/proc/PID/uid_map`: a line for each range.
impl fmt::Display for IdMappings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|range| writeln!(out, "{} {} {}", range.container, range.host, range.size))
    }
}

impl FromIterator<IdMapping> for IdMappings {
    fn from_iter<I: IntoIterator<Item = IdMapping>>(ranges: I) -> Self {
        IdMappings(ranges.into_iter().collect())
    }
}

/// Converts mappings of the configuration; an absent list becomes an empty one.
impl From<&Option<Vec<LinuxIdMapping>>> for IdMappings {
    fn from(mappings: &Option<Vec<LinuxIdMapping>>) -> Self {
        mappings.iter().flatten().map(IdMapping::from).collect()
    }
}

/// Builds mappings from (container, host, size).
#[cfg(test)]
impl<const N: usize> From<[(u32, u32, u32); N]> for IdMappings {
    fn from(ranges: [(u32, u32, u32); N]) -> Self {
        ranges.into_iter().map(|(container, host, size)| IdMapping { container, host, size }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_container_is_one_of_the_host() {
        // a gap at 1001..2000, one range that ends at the last ID, and two that the kernel would refuse
        let maps = IdMappings::from([
            (0, 100_000, 1000),
            (1000, 5000, 1),
            (2000, u32::MAX - 2, 2),
            (3000, u32::MAX - 1, 5),
            (u32::MAX - 5, 7, 5),
            (4000, 9, 0),
        ]);
        for (id, host) in [
            (0, Some(100_000)),
            (999, Some(100_999)),
            (1000, Some(5000)),
            (1001, None),
            (1999, None),
            (2000, Some(u32::MAX - 2)),
            (2001, Some(u32::MAX - 1)),
            (2002, None),
            (3000, Some(u32::MAX - 1)),
            (3001, None), // would be 2³²-1
            (3002, None), // would be beyond it
            (4000, None),
            (u32::MAX - 6, None),
            (u32::MAX - 5, Some(7)),
            (u32::MAX - 1, Some(11)),
            (u32::MAX, None),
        ] {
            assert_eq!(maps.to_host(id), host, "{id}");
            assert_eq!(maps.contains(id), host.is_some(), "{id}");
        }
        assert_eq!(IdMappings::default().to_host(0), None);
    }

    #[test]
    fn the_initial_user_namespace_maps_all_but_the_last_number() {
        let all = IdMappings::parse("         0          0 4294967295\n");
        assert_eq!(all.to_host(u32::MAX - 1), Some(u32::MAX - 1));
        assert_eq!(all.to_host(u32::MAX), None);
    }

    #[test]
    fn a_range_has_to_lie_in_one_range() {
        // the last one ends beyond the last ID
        let maps = IdMappings::from([(0, 1000, 10), (10, 1010, 10), (30, u32::MAX - 2, 5)]);
        for (first, size, host) in [
            (0, 10, Some(1000)),
            (5, 5, Some(1005)),
            (5, 6, None),
            (10, 10, Some(1010)),
            (20, 1, None),
            (30, 2, Some(u32::MAX - 2)),
            (30, 3, None),
            (30, 5, None),
        ] {
            assert_eq!(maps.range_to_host(first, size), host, "{first}+{size}");
        }
    }

    #[test]
    fn um_1_the_text_has_a_line_for_each_range() {
        let maps = IdMappings::from([(0, 1000, 1), (1, 100_000, 65_536)]);
        assert_eq!(maps.to_string(), "0 1000 1\n1 100000 65536\n");
        // as the kernel aligns it
        let text = "         0       1000          1\n         1     100000      65536\n";
        assert_eq!(IdMappings::parse(text), maps);
        assert_eq!(IdMappings::parse("0 1000\n-1 0 1\n0 4294967296 1\n\n0 1 2 3\n"), IdMappings::from([(0, 1, 2)]));
    }

    #[test]
    fn one_id_or_more() {
        assert!(IdMappings::from([(0, 1000, 1)]).is_single_id());
        for more in [IdMappings::default(), [(0, 1000, 2)].into(), [(0, 1000, 1), (1, 1001, 1)].into()] {
            assert!(!more.is_single_id(), "{more:?}");
        }
    }
}
