//! Networks by netavark, pasta and slirp4netns, in a network namespace of the test, so that the host's is not changed.
//!
//! The programs are those of the machine, or in the directory of `CONTAINERS_HELPER_BINARY_DIR`; a test whose program is
//! missing is skipped.

use std::path::PathBuf;
use std::process::{Child, Command};

use crate::fixture::{CormFixture, over_one};
use test_support::{Cmd, need_root, skip, wait_for, wait_until};

/// A network namespace with an interface that has a default route, held by a process.
struct Net(Child);

impl Net {
    fn new() -> Net {
        let net = Net(Command::new("unshare").args(["-n", "sleep", "1000"]).spawn().unwrap());
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        wait_for("a namespace", || std::fs::read_link(net.path()).is_ok_and(|other| other != own));
        for words in [
            "ip link set lo up",
            "ip link add out type veth peer name far",
            "ip addr add 192.0.2.10/24 dev out",
            "ip addr add 2001:db8::1/64 dev out nodad",
            "ip link set out up",
            "ip link set far up",
            "ip route add default via 192.0.2.1",
        ] {
            assert!(net.run(words).status().unwrap().success(), "{words}");
        }
        net
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.0.id()).into()
    }

    /// Returns a command of words in the namespace.
    fn run(&self, words: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).args(words.split(' '));
        command
    }

    fn output(&self, words: &str) -> String {
        String::from_utf8(self.run(words).output().unwrap().stdout).unwrap()
    }

    /// Returns a command of corm in the namespace.
    fn corm(&self, fixture: &CormFixture, args: &[&str]) -> Cmd {
        let nsenter = Cmd::new("nsenter", &fixture.sandbox.dir, &fixture.sandbox.token);
        let nsenter = nsenter.arg(format!("--net={}", self.path().display())).arg(test_support::corm());
        let nsenter = match std::env::var_os("CONTAINERS_HELPER_BINARY_DIR") {
            Some(dir) => nsenter.env("CONTAINERS_HELPER_BINARY_DIR", dir),
            None => nsenter,
        };
        nsenter.env("CORM_ROOT", fixture.root()).args(["--driver", fixture.kind.name()]).args(args)
    }

    /// Starts a container that answers each connection to its port 80, detached.
    #[track_caller]
    fn serve(&self, fixture: &CormFixture, name: &str, flags: &[&str]) {
        let mark = format!("CROCI_TEST={}", fixture.sandbox.token);
        let script = format!("while :; do nc -l -p 80 -e echo {name}; done");
        let start = ["run", "-d", "-e", &mark, "--name", name];
        self.corm(fixture, &[&start, flags, &["base", "sh", "-c", &script]].concat()).out().ok();
    }

    /// Waits until a connection to an address and port is answered by `text`.
    #[track_caller]
    fn answers(&self, address: &str, port: u16, text: &str) {
        let words = format!("busybox timeout 2 busybox nc {address} {port}");
        wait_until("an answer", || (self.output(&words) == format!("{text}\n")).then_some(()));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns whether a program is where corm looks for it.
pub(crate) fn installed(name: &str) -> bool {
    let own = std::env::var_os("CONTAINERS_HELPER_BINARY_DIR").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = ["/usr/libexec/podman", "/usr/lib/podman"].map(PathBuf::from);
    own.into_iter().chain(dirs).chain(std::env::split_paths(&path)).any(|dir| dir.join(name).exists())
}

/// Checks that nothing of the networks is left: no namespace, no interface, no redirection.
#[track_caller]
fn nothing_left(net: &Net) {
    let interfaces = net.output("ip -o link");
    assert!(!interfaces.contains("veth") && !interfaces.contains("corm"), "{interfaces}");
    let rules = net.output("iptables -t nat -S");
    assert!(!rules.contains("10.87.") && !rules.contains("8080"), "{rules}");
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
    assert!(!mounts.contains("/netns "), "{mounts}");
    let files = Command::new("find").args(["/run/corm", "-name", "net*.json"]).output().unwrap();
    assert!(files.stdout.is_empty(), "{files:?}");
}

/// Runs a test of bridges in a network of its own, with an image `base`, and checks that nothing is left. Skips it without
/// netavark.
fn over_bridge(test: fn(&CormFixture, &Net)) {
    if !installed("netavark") {
        skip!("netavark is not installed");
    }
    over_one(move |fixture| {
        let net = Net::new();
        fixture.image("base");
        test(fixture, &net);
        nothing_left(&net);
        fixture.no_container_left();
    });
}

#[test]
fn a_missing_program_is_an_error_that_names_the_package() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let empty = fixture.sandbox.mkdir("empty");
        for (mode, package) in [("pasta", "package passt"), ("slirp4netns", "package slirp4netns")] {
            let run = fixture.corm(["run", "--network", mode, "base", "true"]);
            let run = run.env("PATH", &empty).env("CONTAINERS_HELPER_BINARY_DIR", "");
            let out = run.out().exits(125).one_line().stderr_contains(package);
            assert!(out.stderr.contains(&format!("--network {mode}")), "{out:?}");
        }
        if !installed("netavark") {
            let out = fixture.corm(["run", "--network", "bridge", "base", "true"]).out().exits(125).one_line();
            assert!(out.stderr.contains("install Debian's package netavark"), "{out:?}");
        }
        for (flags, want) in [
            (&["-p", "80"][..], "--publish: not with --network none"),
            (&["--network", "container:nobody"], "No container named"),
            (&["--network", "nothing"], "No network named 'nothing' exists"),
            (&["--network", "a b"], "--network"),
            (&["--network", "host", "--ip", "10.87.0.9"], "--ip: only with"),
            (&["--network", "pasta", "-p", "99999"], "--publish \"99999\""),
        ] {
            let out = fixture.run(flags, "base", &["true"]).out().exits(125).no_panic();
            assert!(out.stderr.contains(want), "{flags:?}: {out:?}");
        }
        fixture.no_container_left();
    });
}

#[test]
fn a_bridge_has_addresses_names_and_published_ports() {
    need_root!();
    over_bridge(|fixture, net| {
        let flags = ["--network", "bridge", "-p", "8080:80", "-p", "127.0.0.1::90/udp", "--hostname", "server"];
        net.serve(fixture, "web", &flags);
        net.answers("192.0.2.10", 8080, "web");
        net.answers("10.87.0.2", 80, "web");
        let shown = net.corm(fixture, &["ps", "--format", "{{.Ports}} {{.Networks}}"]).out().ok().stdout;
        assert!(shown.starts_with("0.0.0.0:8080->80/tcp, 127.0.0.1:") && shown.ends_with("->90/udp corm\n"), "{shown}");
        assert_eq!(net.corm(fixture, &["port", "web", "80"]).out().ok().stdout, "0.0.0.0:8080\n");
        let inspect = "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.Gateway}} {{.HostConfig.NetworkMode}} \
                       {{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}} {{.NetworkSettings.Networks.corm.IPAddress}}";
        let out = net.corm(fixture, &["inspect", "-f", inspect, "web"]).out().ok();
        assert_eq!(out.text(), "10.87.0.2 10.87.0.1 bridge 8080 10.87.0.2");
        let hosts = net.corm(fixture, &["exec", "web", "cat", "/etc/hosts"]).out().ok().stdout;
        assert!(hosts.contains("10.87.0.2\tserver web"), "{hosts}");
        // another container has another address and reaches the first; one in its network has the same
        let other = ["run", "--rm", "--network", "bridge", "base", "sh", "-c", "ip -o addr; timeout 2 nc 10.87.0.2 80"];
        let seen = net.corm(fixture, &other).out().stdout;
        assert!(seen.contains("10.87.0.3/16") && seen.ends_with("web\n"), "{seen}");
        let joined = ["run", "--rm", "--network", "container:web", "base", "ip", "-o", "addr"];
        assert!(net.corm(fixture, &joined).out().ok().stdout.contains("10.87.0.2/16"));
        let taken = ["run", "--rm", "--network", "bridge", "-p", "8080:80", "base", "true"];
        net.corm(fixture, &taken).out().exits(125).stderr_contains("in use");
        // a stop removes it, a start makes it again, and what a kill leaves is removed by the next verb
        net.corm(fixture, &["stop", "-t", "0", "web"]).out().ok();
        nothing_left(net);
        net.corm(fixture, &["start", "web"]).out().ok();
        net.answers("192.0.2.10", 8080, "web");
        let pid = fixture.pid("web");
        let parent = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let supervisor = parent.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
        for pid in [supervisor, pid.to_string()] {
            assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success(), "{pid}");
        }
        wait_for("its end", || fixture.status("web") == "exited");
        assert!(net.output("ip -o link").contains("corm0"), "the kill left it");
        net.corm(fixture, &["start", "web"]).out().ok();
        net.answers("192.0.2.10", 8080, "web");
        net.corm(fixture, &["rm", "-f", "web"]).out().ok();
    });
}

#[test]
fn networks_are_created_with_podmans_files() {
    need_root!();
    over_one(|fixture| {
        let net = Net::new();
        fixture.image("base");
        let corm = |args: &[&str]| net.corm(fixture, args).out();
        assert_eq!(corm(&["network", "ls", "-q"]).ok().stdout, "corm\n");
        corm(&["network", "create", "--subnet", "10.99.0.0/24", "--disable-dns", "mine"]).ok();
        corm(&["network", "create", "--disable-dns", "other"]).ok();
        assert_eq!(
            corm(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]).ok().stdout,
            "corm bridge\nmine bridge\nother bridge\n"
        );
        let file = std::fs::read_to_string(fixture.root().join("networks/mine.json")).unwrap();
        let file: test_support::Value = serde_json::from_str(&file).unwrap();
        assert_eq!(file["subnets"][0]["gateway"], "10.99.0.1");
        for key in [
            "name",
            "id",
            "driver",
            "network_interface",
            "created",
            "ipv6_enabled",
            "internal",
            "dns_enabled",
            "ipam_options",
        ] {
            assert!(!file[key].is_null(), "{key} in {file}");
        }
        assert_eq!(corm(&["network", "inspect", "-f", "{{.network_interface}}", "mine"]).ok().text(), "corm1");
        for (args, want) in [
            (&["create", "mine"][..], "exists already"),
            (&["create", "bridge"], "is a mode"),
            (&["create", "../x"], "not the name"),
            (&["create", "--subnet", "10.99.0.0/16", "more"], "another network"),
            (&["create", "--subnet", "fd00::/127", "more"], "IPv6"),
            (&["create", "--gateway", "10.1.0.1", "more"], "--gateway"),
            (&["create", "--ip-range", "10.1.0.0/24", "more"], "--ip-range"),
            (&["create", "--driver", "macvlan", "more"], "--driver"),
            (&["inspect", "none"], "No network named"),
            (&["rm", "corm"], "always there"),
        ] {
            let out = corm(&[&["network"], args].concat()).exits(1).no_panic();
            assert!(out.stderr.contains(want), "{args:?}: {out:?}");
        }
        if installed("netavark") {
            joins_a_created_network(fixture, &net);
        }
        assert_eq!(corm(&["network", "rm", "mine", "other"]).ok().stdout, "mine\nother\n");
        assert_eq!(corm(&["network", "ls", "-q"]).ok().stdout, "corm\n");
        nothing_left(&net);
        fixture.no_container_left();
    });
}

#[test]
fn exposed_ports_are_published_when_all_are_and_else_only_shown() {
    need_root!();
    over_bridge(|fixture, net| {
        let corm = |args: &[&str]| net.corm(fixture, args).out();
        net.serve(fixture, "web", &["--network", "bridge", "--expose", "80", "--publish-all"]);
        let port = corm(&["port", "web", "80"]).ok().text().rsplit(':').next().unwrap().parse().unwrap();
        net.answers("192.0.2.10", port, "web");
        // exposed alone it is shown and not published
        net.serve(fixture, "quiet", &["--network", "bridge", "--expose", "80"]);
        assert_eq!(corm(&["port", "quiet"]).stdout, "");
        assert_eq!(corm(&["ps", "-f", "name=quiet", "--format", "{{.Ports}}"]).ok().text(), "80/tcp");
        corm(&["rm", "-f", "web", "quiet"]).ok();
    });
}

#[test]
fn an_internal_network_has_no_way_out_and_a_place_in_it_can_be_chosen() {
    need_root!();
    over_bridge(|fixture, net| {
        let corm = |args: &[&str]| net.corm(fixture, args).out();
        let create = ["network", "create", "--internal", "--ipv6", "--subnet", "10.95.1.0/24", "--subnet", "fd95::/64"];
        assert_eq!(corm(&[&create[..], &["inside"]].concat()).ok().text(), "inside");
        corm(&[&create[..], &["inside"]].concat()).fails().stderr_contains("inside");
        assert_eq!(corm(&["network", "create", "--ignore", "inside"]).ok().text(), "inside");
        let routes = |network: &str| corm(&["run", "--rm", "--network", network, "base", "ip", "route"]).ok().stdout;
        assert!(routes("bridge").contains("default via"));
        let inside = routes("inside");
        assert!(inside.contains("10.95.1.0/24") && !inside.contains("default"), "{inside}");
        net.serve(fixture, "web", &["--network", "bridge"]);
        let place = ["--ip", "10.95.1.9", "--ip6", "fd95::9", "--mac-address", "02:00:00:00:00:09"];
        corm(&[&["network", "connect"], &place[..], &["inside", "web"]].concat()).ok();
        let shown = corm(&["exec", "web", "ip", "addr"]).ok().stdout;
        for word in ["10.95.1.9/24", "fd95::9/64", "02:00:00:00:00:09"] {
            assert!(shown.contains(word), "{word}: {shown}");
        }
        corm(&["rm", "-f", "web"]).ok();
        corm(&["network", "rm", "inside"]).ok();
    });
}

/// Runs a container in the network `mine` with an address of its own.
fn joins_a_created_network(fixture: &CormFixture, net: &Net) {
    let corm = |args: &[&str]| net.corm(fixture, args).out();
    let flags =
        ["--network", "mine", "--ip", "10.99.0.7", "--mac-address", "02:00:00:00:00:07", "--network-alias", "db"];
    net.serve(fixture, "data", &flags);
    net.answers("10.99.0.7", 80, "data");
    let shown = corm(&["exec", "data", "sh", "-c", "ip link show eth0; cat /etc/hosts"]).ok().stdout;
    assert!(shown.contains("02:00:00:00:00:07") && shown.contains(" data db"), "{shown}");
    corm(&["run", "--network", "mine", "--ip", "10.99.0.7", "base", "true"]).exits(125).stderr_contains("in use");
    corm(&["run", "--network", "mine", "--ip", "10.98.0.7", "base", "true"]).exits(125).stderr_contains("--ip");
    corm(&["network", "rm", "mine"]).exits(1).stderr_contains("in use by data");
    corm(&["rm", "-f", "data"]).ok();
}

#[test]
fn slirp4netns_and_pasta_forward_ports() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        for mode in ["slirp4netns", "pasta"] {
            if !installed(mode) {
                continue;
            }
            let net = Net::new();
            net.serve(fixture, mode, &["--network", mode, "-p", "8080:80"]);
            net.answers("127.0.0.1", 8080, mode);
            let first = net.corm(fixture, &["exec", mode, "head", "-n1", "/etc/resolv.conf"]).out().ok();
            assert!(first.text() == "nameserver 10.0.2.3" || first.text() == "nameserver 169.254.1.1", "{first:?}");
            let running = || {
                let pattern = format!("{mode} .*{}", fixture.shown(mode)["Id"].as_str().unwrap());
                let found = Command::new("pgrep").args(["-f", &pattern]).output();
                found.is_ok_and(|out| !out.stdout.is_empty())
            };
            assert!(running(), "{mode}");
            net.corm(fixture, &["stop", "-t", "0", mode]).out().ok();
            wait_for("the end of the program", || !running());
            // the port is free again
            net.corm(fixture, &["start", mode]).out().ok();
            net.answers("127.0.0.1", 8080, mode);
            net.corm(fixture, &["rm", "-f", mode]).out().ok();
            nothing_left(&net);
        }
        fixture.no_container_left();
    });
}

#[test]
fn a_network_has_addresses_of_ipv6_and_published_ports_there() {
    need_root!();
    over_bridge(|fixture, net| {
        let corm = |args: &[&str]| net.corm(fixture, args).out();
        let range = "10.97.0.128-10.97.0.200";
        let create =
            ["network", "create", "--ipv6", "--subnet", "10.97.0.0/24", "--ip-range", range, "--disable-dns", "six"];
        corm(&create).ok();
        let subnet = corm(&["network", "inspect", "-f", "{{(index .subnets 1).subnet}}", "six"]).ok().stdout;
        let prefix = subnet.trim().strip_suffix("/64").unwrap();
        net.serve(fixture, "web", &["--network", "six", "-p", "8080:80", "-p", "[2001:db8::1]:8081:80"]);
        let inspect = "{{.NetworkSettings.IPAddress}} {{.NetworkSettings.GlobalIPv6Address}}";
        let found = corm(&["inspect", "-f", inspect, "web"]).ok().stdout;
        assert_eq!(found, format!("10.97.0.128 {prefix}2\n"));
        let inside = corm(&["exec", "web", "ip", "-o", "addr"]).ok().stdout;
        assert!(inside.contains(&format!("{prefix}2/64")), "{inside}");
        net.answers(&format!("{prefix}2"), 80, "web");
        net.answers("192.0.2.10", 8080, "web");
        net.answers("2001:db8::1", 8081, "web");
        let other = ["run", "--rm", "--network", "six", "--ip6", &format!("{prefix}77"), "base", "ip", "-o", "addr"];
        assert!(corm(&other).ok().stdout.contains(&format!("{prefix}77/64")));
        let wrong = ["run", "--rm", "--network", "six", "--ip6", "fd99::5", "base", "true"];
        corm(&wrong).exits(125).stderr_contains("fd99::5");
        corm(&["rm", "-f", "web"]).ok();
        corm(&["network", "rm", "six"]).ok();
    });
}

#[test]
fn a_container_has_several_networks_and_they_come_and_go_while_it_runs() {
    need_root!();
    over_bridge(|fixture, net| {
        let corm = |args: &[&str]| net.corm(fixture, args).out();
        for (name, third) in [("one", "1"), ("two", "2"), ("three", "3")] {
            let subnet = format!("10.96.{third}.0/24");
            corm(&["network", "create", "--subnet", &subnet, "--disable-dns", "--label", "of=test", name]).ok();
        }
        assert_eq!(corm(&["network", "ls", "-q", "-f", "label=of=test"]).ok().stdout, "one\nthree\ntwo\n");
        let flags = ["--network", "one", "--network", "two:ip=10.96.2.9,alias=second,interface_name=own0"];
        net.serve(fixture, "web", &flags);
        net.answers("10.96.1.2", 80, "web");
        net.answers("10.96.2.9", 80, "web");
        let addresses = || corm(&["exec", "web", "ip", "-o", "-4", "addr"]).ok().stdout;
        assert!(addresses().contains("own0"), "{}", addresses());
        corm(&["network", "connect", "--ip", "10.96.3.7", "--alias", "third", "three", "web"]).ok();
        net.answers("10.96.3.7", 80, "web");
        let hosts = corm(&["exec", "web", "cat", "/etc/hosts"]).ok().stdout;
        assert!(hosts.contains("10.96.3.7") && hosts.contains("third"), "{hosts}");
        corm(&["network", "connect", "three", "web"]).exits(1).stderr_contains("already");
        let networks = corm(&["ps", "--format", "{{.Networks}}"]).ok().stdout;
        assert_eq!(networks, "one,two,three\n");
        corm(&["network", "rm", "three"]).exits(1).stderr_contains("in use by web");
        corm(&["network", "disconnect", "two", "web"]).ok();
        assert!(!addresses().contains("10.96.2.9") && addresses().contains("10.96.1.2"), "{}", addresses());
        corm(&["network", "disconnect", "two", "web"]).exits(1).stderr_contains("not in the network");
        // kept over a restart
        corm(&["restart", "-t", "0", "web"]).ok();
        net.answers("10.96.3.7", 80, "web");
        net.answers("10.96.1.2", 80, "web");
        assert!(!addresses().contains("10.96.2."), "{}", addresses());
        corm(&["network", "exists", "two"]).ok();
        corm(&["network", "exists", "none-such"]).exits(1);
        corm(&["run", "--network", "one", "--network", "host", "base", "true"]).exits(125).stderr_contains("--network");
        corm(&["run", "--network", "one:x=1", "base", "true"]).exits(125).stderr_contains("--network");
        assert_eq!(corm(&["network", "prune", "-f"]).ok().stdout, "two\n");
        assert_eq!(corm(&["network", "rm", "-f", "one", "three"]).ok().stdout, "one\nthree\n");
    });
}
