//! Interfaces, addresses and routes in network namespaces of their own.
#![allow(clippy::unwrap_used)]

use super::testing::in_new_namespaces;
use super::*;

/// `RTM_NEWADDR` as the kernel writes it.
fn newaddr(owner: u32, short: u8, long: Option<u32>, scope: u8) -> Vec<u8> {
    let mut bytes = vec![2, 24, short, scope];
    bytes.extend_from_slice(&owner.to_ne_bytes());
    bytes.extend_from_slice(&[8, 0, 2, 0, 10, 0, 0, 1]);
    // IFA_TARGET_NETNSID
    bytes.extend_from_slice(&[8, 0, 10, 0, 1, 0, 0, 0]);
    if let Some(flags) = long {
        bytes.extend_from_slice(&[8, 0, 8, 0]);
        bytes.extend_from_slice(&flags.to_ne_bytes());
    }
    bytes
}

#[test]
fn an_address_is_read_with_its_flags() {
    for (owner, short, long, scope, wanted) in [
        (7, 0x80, None, 0, Some((true, true))),
        (7, 0x80, Some(0x280), 0, Some((true, true))),
        // the long flags count
        (7, 0, Some(0x80), 0, Some((true, true))),
        (7, 0, Some(0x200), 0, Some((false, true))),
        (7, 0x80, Some(0), 0, Some((false, true))),
        // site, link, host
        (7, 0x80, None, 200, Some((true, false))),
        (7, 0x80, None, 253, Some((true, false))),
        (7, 0x80, None, 254, Some((true, false))),
        // an old kernel dumps all interfaces
        (8, 0x80, None, 0, None),
    ] {
        let found = parse_address(&newaddr(owner, short, long, scope), 7).unwrap();
        let got = found.as_ref().map(|found| (found.is_permanent(), found.is_global()));
        assert_eq!(got, wanted, "{owner} {short:#x} {long:?} {scope}");
        if let Some(found) = found {
            assert_eq!((found.to_string().as_str(), found.attributes.len()), ("10.0.0.1/24", 2));
            let only = found.only(0x200, &[IFA_LOCAL]);
            assert_eq!((only.flags, only.attributes.len()), (long.unwrap_or(0) & 0x200, 1));
        }
    }
    assert!(parse_address(&[2, 24, 0x80], 7).is_err());
    assert!(parse_address(&[2, 24, 0x80, 0, 7, 0, 0, 0, 9], 7).is_err());
}

#[test]
fn nd_3_labels_follow_the_name() {
    for (label, new, wanted) in [
        ("eth9", "eth0", "eth0"),
        ("eth9:web", "eth0", "eth0:web"),
        ("eth99", "eth0", "eth99"),
        ("other", "eth0", "other"),
        ("eth9:ten-bytes", "a-longer-name", "eth9:ten-bytes"),
    ] {
        let label = format!("{label}\0");
        let mut address =
            Address::new([10, 0, 0, 1].into(), 24, 0, 0, &[(IFA_LABEL, label.as_bytes()), (IFA_BROADCAST, b"eth9")]);
        address.relabel("eth9", new);
        assert_eq!(String::from_utf8_lossy(&address.attributes[1].1), format!("{wanted}\0"));
        assert_eq!(address.attributes[2].1, b"eth9", "only the label is a name");
    }
}

#[test]
fn links_are_found_by_name_and_refusals_have_words() {
    in_new_namespaces(|_container| {
        let mut route = RtNetlink::open().unwrap();
        assert_eq!(route.link("croci-none").unwrap(), None);
        route.make("croci-d0", &[]).unwrap();
        let link = route.link("croci-d0").unwrap().unwrap();
        assert_eq!((link.name.as_str(), link.up), ("croci-d0", false));
        route.set_up(link.index).unwrap();
        assert!(route.link("croci-d0").unwrap().unwrap().up);
        assert_eq!(errno(&route.make("croci-d0", &[]).unwrap_err()), Some(libc::EEXIST));
        assert_eq!(errno(&route.set_up(99_999).unwrap_err()), Some(libc::ENODEV));
        // the conversation goes on after a refusal
        assert!(route.addresses(link.index).is_ok());
        let text = route.link("a-name-of-more-than-15-bytes").unwrap_err().to_string();
        assert!(!text.contains("os error"), "the kernel's own words: {text}");
    });
}

#[test]
fn nd_3_many_addresses_are_read_whole() {
    in_new_namespaces(|_container| {
        let mut route = RtNetlink::open().unwrap();
        route.make("croci-d0", &[]).unwrap();
        let index = route.link("croci-d0").unwrap().unwrap().index;
        // several datagrams of a dump
        for number in 0..2000u32 {
            let local = Ipv4Addr::from(0x0a00_0000 + number * 256 + 1);
            route.add_address(index, &Address::new(local.into(), 24, 0, 0, &[])).unwrap();
        }
        assert_eq!(route.addresses(index).unwrap().len(), 2000);
    });
}
