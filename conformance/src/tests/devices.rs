//! Devices and /dev (checklist part 8).

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::Test;
use crate::container::Container;
use crate::harness::Harness;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test {
        id: "DV-1",
        title: "configured devices have their type, numbers, mode in spite of the umask, and owner",
        run: dv_1,
    },
    Test {
        id: "DV-1",
        title: "an impossible device is an error: unknown type, no numbers, mode above 0777",
        run: dv_1_bad,
    },
    Test { id: "DV-2", title: "a file that is already there and is another one is an error", run: dv_2 },
    Test { id: "DV-4", title: "the default devices are there, with mode 0666", run: dv_4 },
    Test { id: "DV-5", title: "/dev/fd, stdin, stdout, stderr and ptmx are links", run: dv_5 },
    Test { id: "DV-6", title: "the access list is in force", run: dv_6 },
];

fn dv_1(b: &Harness) -> Result<()> {
    let mut c = Container::script(b, "stat -c '%n %F %t:%T %a %u:%g' /dev/one /dev/two /dev/three /dir/four")?;
    c.config["linux"]["devices"] = json!([
        {"path": "/dev/one", "type": "c", "major": 10, "minor": 666, "fileMode": 0o666, "uid": 5, "gid": 6},
        {"path": "/dev/two", "type": "b", "major": 8, "minor": 666, "fileMode": 0o660},
        {"path": "/dev/three", "type": "p", "fileMode": 0o622},
        {"path": "/dir/four", "type": "u", "major": 1, "minor": 3, "fileMode": 0o777},
    ]);
    let out = c.run()?;
    let wanted = "/dev/one character special file a:29a 666 5:6\n/dev/two block special file 8:29a 660 0:0\n\
                  /dev/three fifo 0:0 622 0:0\n/dir/four character special file 1:3 777 0:0\n";
    ensure!(out == wanted, "it printed {out:?}");
    Ok(())
}

fn dv_1_bad(b: &Harness) -> Result<()> {
    for device in [
        json!({"path": "/dev/x", "type": "z", "major": 1, "minor": 3}),
        json!({"path": "/dev/x", "type": "c"}),
        json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o4755}),
        json!({"type": "c", "major": 1, "minor": 3}),
    ] {
        let mut c = Container::new(b)?;
        c.config["linux"]["devices"] = json!([device.clone()]);
        c.must_be_refused().with_context(|| device.to_string())?;
    }
    Ok(())
}

fn dv_2(b: &Harness) -> Result<()> {
    for name in ["file", "directory"] {
        let mut c = Container::new(b)?;
        match name {
            "file" => fs::write(c.path("/node"), "")?,
            _ => fs::create_dir(c.path("/node"))?,
        }
        c.config["linux"]["devices"] = json!([{"path": "/node", "type": "c", "major": 1, "minor": 3}]);
        c.must_be_refused().context(name)?;
    }
    Ok(())
}

fn dv_4(b: &Harness) -> Result<()> {
    let mut c =
        Container::script(b, "cd /dev; stat -c '%n %t:%T %a' null zero full random urandom tty; head -c 1 zero >null")?;
    // a umask of the caller must not affect the modes
    c.config["process"]["user"]["umask"] = json!(0o77);
    let out = c.run()?;
    let wanted = "null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\ntty 5:0 666\n";
    ensure!(out == wanted, "it printed {out:?}");
    Ok(())
}

fn dv_5(b: &Harness) -> Result<()> {
    let c = Container::script(
        b,
        "for f in fd stdin stdout stderr ptmx; do echo $f $(readlink /dev/$f); done; ls -d /dev/ptmx",
    )?;
    let out = c.run()?;
    let links = "fd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2\n";
    ensure!(out.starts_with(links), "it printed {out:?}");
    // ptmx is a link or a bind mount
    ensure!(
        out.contains("ptmx pts/ptmx") || out.contains("ptmx /dev/pts/ptmx") || out.ends_with("/dev/ptmx\n"),
        "{out:?}"
    );
    Ok(())
}

fn dv_6(b: &Harness) -> Result<()> {
    // a device without a driver: where the list allows it, opening fails later, because there is no driver
    for (allow, words) in [(false, "Operation not permitted"), (true, "No such device or address")] {
        let mut c = Container::script(b, "cat /dev/mine; head -c 1 /dev/zero >/dev/null && echo zero")?;
        c.config["linux"]["devices"] =
            json!([{"path": "/dev/mine", "type": "c", "major": 240, "minor": 7, "fileMode": 0o666}]);
        c.config["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}]);
        if allow {
            let rule = json!({"allow": true, "type": "c", "major": 240, "minor": 7, "access": "rm"});
            c.push(&["linux", "resources", "devices"], rule);
        }
        let out = c.run()?;
        ensure!(out.contains(words) && out.contains("zero\n"), "allow {allow}: it printed {out:?}");
    }
    Ok(())
}
