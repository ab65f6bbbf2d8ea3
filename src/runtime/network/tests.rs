//! Moves of interfaces by the kernel, in new namespaces.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use base::error::describe;
use linux::net::testing::in_new_namespaces;
use linux::net::testing::route_in;

const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_IFALIAS: u16 = 20;
const NODAD: u32 = 0x02;
const LINK_SCOPE: u8 = 253;

fn device(host: &str, name: &str) -> Device {
    Device { host: host.to_owned(), name: name.to_owned() }
}

fn four(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 1, 0, last).into()
}

fn six() -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into()
}

#[test]
fn nd_3_permanent_addresses_of_global_scope_are_moved() {
    const PERMANENT: u32 = 0x80;
    const NOPREFIXROUTE: u32 = 0x200;
    const IFA_TARGET_NETNSID: u16 = 10;
    for (flags, scope, is_kept) in [
        (PERMANENT, 0, true),
        (PERMANENT | NOPREFIXROUTE, 0, true),
        // dynamic
        (NOPREFIXROUTE, 0, false),
        (0, 0, false),
        // site, link, host
        (PERMANENT, 200, false),
        (PERMANENT, LINK_SCOPE, false),
        (PERMANENT, 254, false),
    ] {
        let label = (IFA_LABEL, &b"eth0\0"[..]);
        let before = Address::new(four(1), 24, scope, flags, &[label, (IFA_TARGET_NETNSID, &[1, 0, 0, 0])]);
        let wanted = Address::new(four(1), 24, scope, flags & !PERMANENT, &[label]);
        assert_eq!(to_move(vec![before]), if is_kept { vec![wanted] } else { vec![] }, "{flags:#x} {scope}");
    }
}

/// Creates an interface with an address of every kind and sets it up.
fn create_interface(route: &mut RtNetlink, name: &str) -> u32 {
    let mac = [2, 0, 0, 1, 2, 3];
    route.make(name, &[(IFLA_MTU, &1400u32.to_ne_bytes()), (IFLA_ADDRESS, &mac)]).unwrap();
    let index = route.link(name).unwrap().unwrap().index;
    route.change(index, IFLA_IFALIAS, b"for c1").unwrap();
    let label = format!("{name}:web\0");
    let lifetime: Vec<u8> = [600u32, 600, 0, 0].iter().flat_map(|number| number.to_ne_bytes()).collect();
    for address in [
        Address::new(four(1), 24, 0, 0, &[(IFA_LABEL, label.as_bytes()), (IFA_BROADCAST, &[10, 1, 0, 255])]),
        Address::new(four(2), 24, 0, 0, &[]),
        Address::new([10, 9, 0, 1].into(), 32, 0, 0, &[(IFA_ADDRESS, &[10, 9, 0, 2])]),
        Address::new(six(), 64, 0, NODAD, &[]),
        // not moved: link scope, and a limited lifetime
        Address::new([169, 254, 1, 1].into(), 16, LINK_SCOPE, 0, &[]),
        Address::new(four(3), 24, 0, 0, &[(IFA_CACHEINFO, &lifetime)]),
    ] {
        route.add_address(index, &address).unwrap();
    }
    route.set_up(index).unwrap();
    index
}

fn shown(route: &mut RtNetlink, name: &str) -> Vec<String> {
    let index = route.link(name).unwrap().unwrap().index;
    to_move(route.addresses(index).unwrap()).iter().map(Address::shown).collect()
}

fn wanted(name: &str) -> Vec<String> {
    vec![
        format!("10.1.0.1/24 peer 10.1.0.1 brd 10.1.0.255 label {name}:web"),
        format!("10.9.0.1/32 peer 10.9.0.2 label {name}"),
        format!("10.1.0.2/24 peer 10.1.0.2 label {name}"),
        "fd00::1/64".to_owned(),
    ]
}

fn names(route: &mut RtNetlink, names: &[&str]) -> Vec<bool> {
    names.iter().map(|name| route.link(name).unwrap().is_some()).collect()
}

#[test]
fn nd_1_3_4_an_interface_moves_with_name_attributes_and_addresses_and_is_up() {
    in_new_namespaces(|container| {
        let mut host = RtNetlink::open().unwrap();
        create_interface(&mut host, "croci-d0");
        let before = open(OWN_NETNS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let moved = move_in(&[device("croci-d0", "eth0")], container.as_fd()).unwrap();
        let after = open(OWN_NETNS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        assert!(same_file(before.as_fd(), after.as_fd()).unwrap(), "croci is back in its own namespace");
        drop(moved);
        let mut in_container = route_in(&container);
        assert_eq!(names(&mut host, &["croci-d0", "eth0"]), [false, false]);
        assert_eq!(names(&mut in_container, &["croci-d0", "eth0"]), [false, true]);
        assert!(in_container.link("eth0").unwrap().unwrap().up);
        assert_eq!(shown(&mut in_container, "eth0"), wanted("eth0"));
        assert_eq!(in_container.link_attribute("eth0", IFLA_MTU), Some(1400u32.to_ne_bytes().to_vec()));
        assert_eq!(in_container.link_attribute("eth0", IFLA_ADDRESS), Some(vec![2, 0, 0, 1, 2, 3]));
        assert_eq!(in_container.link_attribute("eth0", IFLA_IFALIAS), Some(b"for c1\0".to_vec()));
    });
}

#[test]
fn nd_1_a_missing_interface_is_named_and_nothing_moves() {
    in_new_namespaces(|container| {
        let mut host = RtNetlink::open().unwrap();
        create_interface(&mut host, "croci-d0");
        let err = move_in(&[device("croci-d0", "a"), device("eth9", "eth9")], container.as_fd()).unwrap_err();
        assert_eq!(describe(&err), "linux.netDevices.eth9: no such network interface");
        assert_eq!(shown(&mut host, "croci-d0"), wanted("croci-d0"));
    });
}

#[test]
fn nd_1_the_runtimes_own_namespace_is_refused() {
    in_new_namespaces(|_container| {
        let own = open(OWN_NETNS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let err = move_in(&[device("probe", "probe")], own.as_fd()).unwrap_err();
        assert_eq!(describe(&err), "linux.netDevices: the container's network namespace is the runtime's own");
    });
}

#[test]
fn nd_2_a_name_that_is_taken_is_named_and_nothing_moves() {
    in_new_namespaces(|container| {
        let mut host = RtNetlink::open().unwrap();
        create_interface(&mut host, "croci-d0");
        host.make("croci-d1", &[]).unwrap();
        route_in(&container).make("eth0", &[]).unwrap();
        let devices = [device("croci-d0", "a"), device("croci-d1", "eth0")];
        let text = describe(&move_in(&devices, container.as_fd()).unwrap_err());
        let wanted_text = "a network interface \"eth0\" exists already in the container's network namespace";
        assert_eq!(text, format!("linux.netDevices.croci-d1: {wanted_text}"));
        assert_eq!(names(&mut host, &["croci-d0", "croci-d1"]), [true, true]);
        assert_eq!(shown(&mut host, "croci-d0"), wanted("croci-d0"));
        assert!(host.link("croci-d0").unwrap().unwrap().up);
    });
}

#[test]
fn nd_2_a_pattern_takes_the_first_free_number() {
    in_new_namespaces(|container| {
        let mut host = RtNetlink::open().unwrap();
        for name in ["eth0", "croci-d1", "croci-d2"] {
            host.make(name, &[]).unwrap();
        }
        let mut in_container = route_in(&container);
        in_container.make("eth1", &[]).unwrap();
        let devices = ["eth0", "croci-d1", "croci-d2"].map(|host| device(host, "eth%d"));
        drop(move_in(&devices, container.as_fd()).unwrap());
        assert_eq!(
            names(&mut in_container, &["eth0", "eth1", "eth2", "eth3", "eth4"]),
            [true, true, true, true, false]
        );
    });
}

#[test]
fn nd_5_op_3_undo_brings_everything_back_as_it_was() {
    in_new_namespaces(|container| {
        let mut host = RtNetlink::open().unwrap();
        create_interface(&mut host, "croci-d0");
        host.make("croci-d1", &[]).unwrap();
        let devices = [device("croci-d0", "eth0"), device("croci-d1", "eth%d")];
        let moved = move_in(&devices, container.as_fd()).unwrap();
        assert_eq!(names(&mut host, &["croci-d0", "croci-d1"]), [false, false]);
        moved.undo().unwrap();
        assert_eq!(names(&mut host, &["croci-d0", "croci-d1"]), [true, true]);
        assert_eq!(shown(&mut host, "croci-d0"), wanted("croci-d0"));
        assert!(host.link("croci-d0").unwrap().unwrap().up);
        assert!(!host.link("croci-d1").unwrap().unwrap().up, "it was down");
        assert_eq!(names(&mut route_in(&container), &["eth0", "eth1"]), [false, false]);
    });
}

#[test]
fn op_3_undo_works_when_the_containers_processes_are_gone() {
    in_new_namespaces(|container| {
        let mut host = RtNetlink::open().unwrap();
        create_interface(&mut host, "croci-d0");
        let moved = move_in(&[device("croci-d0", "eth0")], container.as_fd()).unwrap();
        // only `moved` keeps the namespace now
        drop(container);
        moved.undo().unwrap();
        assert_eq!(shown(&mut host, "croci-d0"), wanted("croci-d0"));
    });
}

#[test]
fn op_3_a_failure_half_way_moves_all_back() {
    in_new_namespaces(|container| {
        let mut host = RtNetlink::open().unwrap();
        host.make("croci-d0", &[]).unwrap();
        create_interface(&mut host, "croci-d1");
        let own = open(OWN_NETNS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        linux::process::setns(container.as_fd(), libc::CLONE_NEWNET).unwrap();
        // the file in procfs is that of the opener's namespace
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        linux::process::setns(own.as_fd(), libc::CLONE_NEWNET).unwrap();
        let devices = [device("croci-d0", "a"), device("croci-d1", "b")];
        let text = describe(&move_in(&devices, container.as_fd()).unwrap_err());
        assert!(text.starts_with("linux.netDevices.croci-d1: address fd00::1/64: "), "{text}");
        assert_eq!(names(&mut host, &["croci-d0", "croci-d1"]), [true, true]);
        assert_eq!(names(&mut route_in(&container), &["a", "b", "croci-d0", "croci-d1"]), [false; 4]);
        assert_eq!(shown(&mut host, "croci-d1"), wanted("croci-d1"));
        assert!(host.link("croci-d1").unwrap().unwrap().up);
    });
}

#[test]
fn op_3_a_name_taken_at_the_last_moment_leaves_nothing_behind() {
    in_new_namespaces(|container| {
        let own = open(OWN_NETNS, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
        let mut host = RtNetlink::open().unwrap();
        create_interface(&mut host, "croci-d0");
        let before = host.link("croci-d0").unwrap().unwrap();
        let addresses = to_move(host.addresses(before.index).unwrap());
        let mut in_container = route_in(&container);
        in_container.make("eth0", &[]).unwrap();
        let mut moved = Moved { own, host, container: in_container, links: Vec::new() };
        let device = device("croci-d0", "eth0");
        let text = describe(&moved.move_one(&device, before, addresses, container.as_fd()).unwrap_err());
        assert!(text.contains("eth0") && text.ends_with("file exists"), "{text}");
        moved.undo().unwrap();
        assert_eq!(shown(&mut RtNetlink::open().unwrap(), "croci-d0"), wanted("croci-d0"));
        assert_eq!(names(&mut route_in(&container), &["eth0", "croci-d0"]), [true, false]);
    });
}

#[test]
fn nd_1_what_cannot_move_is_refused_in_the_kernels_words() {
    in_new_namespaces(|container| {
        let text = describe(&move_in(&[device("lo", "lo9")], container.as_fd()).unwrap_err());
        assert!(text.starts_with("linux.netDevices.lo: move it to the container as \"lo9\": "), "{text}");
        assert!(text.ends_with("invalid argument"), "{text}");
    });
}

#[test]
fn nd_1_another_name_of_an_interface_is_told_apart() {
    in_new_namespaces(|container| {
        let mut host = RtNetlink::open().unwrap();
        host.make("croci-d0", &[]).unwrap();
        let index = host.link("croci-d0").unwrap().unwrap().index;
        host.other_name(index, "croci-other").unwrap();
        let text = describe(&move_in(&[device("croci-other", "eth0")], container.as_fd()).unwrap_err());
        assert_eq!(text, "linux.netDevices.croci-other: this is another name of \"croci-d0\": use that one");
    });
}
