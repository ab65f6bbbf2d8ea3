//! Verbs of volumes, networks, registries and the store.

use super::*;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "volume create",
        command: |s| s.corm(&["volume", "create", "vol"]),
        done: |s, _| s.corm(&["volume", "exists", "vol"]).out().code == Some(0),
        ..IMAGE
    },
    Case {
        name: "volume rm",
        prepare: |s| drop(s.corm(&["volume", "create", "vol"]).out().ok()),
        command: |s| s.corm(&["volume", "rm", "vol"]),
        done: |s, _| s.left().is_empty(),
        ..IMAGE
    },
    Case {
        name: "volume prune",
        prepare: |s| drop(s.corm(&["volume", "create", "vol"]).out().ok()),
        command: |s| s.corm(&["volume", "prune", "-f"]),
        done: |s, _| s.left().is_empty(),
        ..IMAGE
    },
    Case {
        name: "volume ls",
        prepare: |s| drop(s.corm(&["volume", "create", "vol"]).out().ok()),
        command: |s| s.corm(&["volume", "ls", "-q"]),
        done: |_, out| out.stdout == "vol\n",
        ..PRINTS
    },
    Case {
        name: "volume inspect",
        prepare: |s| drop(s.corm(&["volume", "create", "vol"]).out().ok()),
        command: |s| s.corm(&["volume", "inspect", "vol"]),
        ..PRINTS
    },
    Case {
        name: "network inspect",
        prepare: |s| drop(s.corm(&["network", "create", "net"]).out().ok()),
        command: |s| s.corm(&["network", "inspect", "net"]),
        ..PRINTS
    },
    Case {
        name: "network create",
        command: |s| s.corm(&["network", "create", "net"]),
        done: |s, _| s.corm(&["network", "inspect", "net"]).out().code == Some(0),
        ..IMAGE
    },
    Case {
        name: "network rm",
        prepare: |s| drop(s.corm(&["network", "create", "net"]).out().ok()),
        command: |s| s.corm(&["network", "rm", "net"]),
        done: |s, _| s.left().is_empty(),
        ..IMAGE
    },
    Case {
        name: "network ls",
        prepare: |s| drop(s.corm(&["network", "create", "net"]).out().ok()),
        command: |s| s.corm(&["network", "ls", "-q"]),
        done: |_, out| out.stdout.contains("net"),
        ..PRINTS
    },
    Case {
        name: "login",
        command: |s| {
            s.corm(&["login", "--tls-verify=false", "-u", "me", "-p", "secret", "--authfile", &s.auth(), &s.address])
        },
        done: |s, _| s.logged_in() && std::fs::remove_file(s.auth()).is_ok(),
        ..IMAGE
    },
    Case {
        name: "logout",
        prepare: |s| {
            let login =
                ["login", "--tls-verify=false", "-u", "me", "-p", "secret", "--authfile", &s.auth(), &s.address];
            s.corm(&login).out().ok();
        },
        command: |s| s.corm(&["logout", "--authfile", &s.auth(), &s.address]),
        done: |s, _| !s.logged_in(),
        ..IMAGE
    },
    Case { name: "system df", command: |s| s.corm(&["system", "df"]), ..PRINTS },
    Case { name: "info", command: |s| s.corm(&["info"]), ..PRINTS },
    Case {
        name: "system prune",
        prepare: |s| s.make_unnamed(),
        command: |s| s.corm(&["system", "prune"]),
        done: |_, out| out.stdout.contains("Removed 1 images"),
        ..IMAGE
    },
    Case {
        name: "fsck --repair",
        prepare: |s| s.make_new(),
        command: |s| s.corm(&["fsck", "--repair"]),
        done: |_, _| true,
        ..IMAGE
    },
];
