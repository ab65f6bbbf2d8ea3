//! Without root: an ordinary user with subordinate ids, in a user namespace that corm creates.

use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use nix::mount::MsFlags;
use nix::sys::stat::{Mode, SFlag};

use crate::network::installed;
use crate::tar::Tar;
use crate::umoci::Layout;
use crate::user::User;
use test_support::{bundle, wait_for, wait_until};
use test_support::{need_root, skip};

#[test]
fn an_ordinary_user_runs_containers() {
    need_root!();
    let Some(user) = User::new() else { skip!("no user has subordinate ids") };
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("image"));
    let mark = format!("CROCI_TEST={}", user.sandbox.token);
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    // the container has root and other ids
    let out = user
        .corm(&["run", "--rm", "base", "sh", "-c", "id -u; echo x > /own; chown 33:44 /own; stat -c %u:%g /own"])
        .out()
        .ok();
    assert_eq!(out.stdout, "0\n33:44\n");
    assert_eq!(user.corm(&["run", "--rm", "-u", "user", "base", "id", "-u"]).out().ok().text(), "1000");
    assert_eq!(user.corm(&["run", "--rm", "base", "sh", "-c", "exit 6"]).out().code, Some(6));

    let run = user.corm(&["run", "-d", "--name", "n", "-e", &mark, "base", "sleep", "1000"]).out().ok();
    let id = run.text().to_owned();
    let shown = user.corm(&["ps"]).out().ok();
    assert!(shown.stdout.contains(&id[..12]) && shown.stdout.contains(" Up "), "{shown:?}");
    assert_eq!(user.corm(&["exec", "n", "sh", "-c", "echo in > /tmp/f; cat /tmp/f"]).out().ok().text(), "in");
    user.corm(&["commit", "n", "changed"]).out().ok();
    assert_eq!(user.corm(&["run", "--rm", "changed", "cat", "/tmp/f"]).out().ok().text(), "in");
    for (args, status) in [(&["no-such-program"][..], 127), (&["/etc/passwd"], 126), (&["sh", "-c", "exit 3"], 3)] {
        assert_eq!(user.corm(&[&["exec", "n"], args].concat()).out().code, Some(status), "{args:?}");
    }
    let state = user.corm(&["inspect", "n"]).out().ok().json()[0]["State"].clone();
    assert!(state["Status"] == "running" && state["OOMKilled"] == false, "{state}");
    let out = user.corm(&["run", "--rm", "-v", "/dev/null:/f", "base", "sh", "-c", "echo x > /f; stat -c %t:%T /f"]);
    assert_eq!(out.out().ok().text(), "1:3");
    let both = ["kept1", "kept2"].map(|image| user.corm(&["commit", "-c", "USER 1000", "n", image]).spawn());
    both.into_iter().for_each(|commit| drop(commit.wait().ok()));
    assert_eq!(user.corm(&["run", "--rm", "kept2", "id", "-u"]).out().ok().text(), "1000");
    for _ in 0..3 {
        user.corm(&["run", "-d", "--rm", "--name", "again", "-e", &mark, "base", "sleep", "1000"]).out().ok();
        user.corm(&["kill", "again"]).out().ok();
    }
    let other = user.corm(&["run", "-d", "-e", &mark, "-u", "1000", "base", "sleep", "1000"]).out().ok();
    user.corm(&["rm", "-f", "n", other.text()]).out().ok();
    assert_eq!(user.corm(&["ps", "-aq"]).out().ok().stdout, "");
    let trees = user.sandbox.path("home/.local/share/corm/trees");
    wait_for("nothing left", || std::fs::read_dir(&trees).unwrap().next().is_none());
    user.sandbox.nothing_left();
}

#[test]
fn trees_of_an_ordinary_user_have_the_modes_and_names_of_roots() {
    need_root!();
    let Some(user) = User::new() else { skip!("no user has subordinate ids") };
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("image"));
    for dir in ["ro", "d/sub"] {
        std::fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    for (name, mode) in [("ro/x", 0o400), ("ro/all", 0), ("d/sub/z", 0o644), ("ro", 0o555)] {
        let path = rootfs.join(name);
        if !path.exists() {
            std::fs::write(&path, "x").unwrap();
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
    let tar = user.sandbox.path("image.tar");
    let pack = user.sandbox.program("tar").arg("-C").arg(&rootfs).arg("-cf").arg(&tar);
    pack.args(["--owner=0", "--group=0", "."]).out().ok();
    for driver in ["overlay", "copy"] {
        let root = user.sandbox.path("home").join(driver);
        let corm = |args: &[&str]| {
            let to: &[&str] = &["--root", root.to_str().unwrap(), "--driver", driver];
            user.corm(&[to, args].concat()).out().ok().stdout
        };
        let modes = "stat -c '%a %n' /ro /ro/x /ro/all";
        let wanted = "555 /ro\n400 /ro/x\n0 /ro/all\n";
        corm(&["import", tar.to_str().unwrap(), "base"]);
        let script = format!("{modes}; echo new > /ro/new; chmod 555 /ro; rm -rf /d; mkdir -p /d/sub");
        assert_eq!(corm(&["run", "--name", "n", "base", "sh", "-c", &script]), wanted, "{driver}");
        let wanted_changes = ["C /d", "C /d/sub", "D /d/sub/z", "C /ro", "A /ro/new"];
        let changes = corm(&["diff", "n"]);
        // the runtime makes its mount points in the root and in /etc
        let of_points = |line: &&str| ["C /", "C /etc"].contains(line);
        assert_eq!(changes.lines().filter(|line| !of_points(line)).collect::<Vec<_>>(), wanted_changes, "{driver}");
        corm(&["commit", "n", "k2"]);
        let script = format!("{modes}; find /d");
        let found = corm(&["run", "--rm", "k2", "sh", "-c", &script]);
        assert_eq!(found, format!("{wanted}/d\n/d/sub\n"), "{driver}");
        let out = user.sandbox.path("home").join(format!("{driver}.tar"));
        corm(&["export", "k2", "-o", out.to_str().unwrap()]);
        let list = user.sandbox.program("tar").arg("-tvf").arg(&out).args(["ro", "d"]).out().ok().stdout;
        let shown: Vec<String> = list
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("{} {} {}", words[0], words[1], words[words.len() - 1])
            })
            .collect();
        let wanted = [
            "drwxr-xr-x 0/0 d/",
            "drwxr-xr-x 0/0 d/sub/",
            "dr-xr-xr-x 0/0 ro/",
            "---------- 0/0 ro/all",
            "-rw-r--r-- 0/0 ro/new",
            "-r-------- 0/0 ro/x",
        ];
        assert_eq!(shown, wanted, "{driver}");
        corm(&["rm", "n"]);
    }
    user.sandbox.nothing_left();
}

#[test]
fn a_tree_decided_by_lower_layers_is_the_same_for_an_ordinary_user() {
    need_root!();
    let Some(user) = User::new() else { skip!("no user has subordinate ids") };
    let below = Tar::new().file("top", "top").dir("d").file("d/f", "f").dir("d/e").file("d/e/g", "g").symlink("s", "d");
    let second =
        Tar::new().file("s/new", "x").file(".wh.top", "").file("s/.wh.e", "").file("s/e/h", "h").link("l", "d/f");
    let third = Tar::new().dir("n").file("n/.wh.gone", "").file("n/f", "");
    let layout = Layout::new(&[below.end(), second.end(), third.end()]);
    for driver in ["overlay", "copy"] {
        let root = user.sandbox.path("home").join(driver);
        let corm = |args: &[&str]| {
            let to: &[&str] = &["--root", root.to_str().unwrap(), "--driver", driver];
            user.corm(&[to, args].concat()).out().ok().stdout
        };
        corm(&["load", layout.0.to_str().unwrap(), "--name", "it"]);
        let out = user.sandbox.path("home").join(format!("{driver}.tar"));
        corm(&["export", "it", "-o", out.to_str().unwrap()]);
        let list = user.sandbox.program("tar").arg("-tf").arg(&out).out().ok().stdout;
        let wanted = ["./", "d/", "d/e/", "d/e/h", "d/f", "d/new", "l", "n/", "n/f", "s"];
        assert_eq!(list.lines().collect::<Vec<_>>(), wanted, "{driver}");
    }
    user.sandbox.nothing_left();
}

#[test]
fn an_ordinary_user_copies_images_and_reads_files_of_its_own() {
    need_root!();
    let Some(user) = User::new() else { skip!("no user has subordinate ids") };
    // inside of its namespace the user is root, whose files it may not read
    let bundle = bundle::make_rootfs(&user.sandbox.mkdir("busybox"));
    let tar = user.sandbox.path("fs.tar");
    user.sandbox.program("tar").arg("-cf").arg(&tar).arg("-C").arg(&bundle).arg(".").out().ok();
    user.corm(&["--driver", "copy", "import", tar.to_str().unwrap(), "web:v1"]).out().ok();
    let layout = format!("oci:{}:v1", user.sandbox.path("home/layout").display());
    user.corm(&["copy", "web:v1", &layout]).out().ok();
    user.corm(&["copy", "--compression-format", "zstd", &layout, "store:zstd:v1"]).out().ok();
    let dir = user.sandbox.path("home/dir").display().to_string();
    user.corm(&["save", "--compression-format", "zstd", "--format", "oci-dir", "-o", &dir, "web:v1"]).out().ok();
    let out = user.corm(&["pull", "none.invalid:x/y"]).out().exits(1);
    assert!(!out.stderr.contains("short-name-aliases"), "{out:?}");
    let alias = "[aliases]\n'app' = 'localhost/web'\n";
    let cache = user.sandbox.mkdir("home/.cache/containers");
    std::fs::write(cache.join("short-name-aliases.conf"), alias).unwrap();
    user.corm(&["tag", "web:v1", "localhost/web:v1"]).out().ok();
    user.corm(&["history", "app:v1"]).out().ok();
    user.sandbox.nothing_left();
}

#[test]
fn flags_of_an_ordinary_user_have_their_effect() {
    need_root!();
    let Some(user) = User::new() else { skip!("no user has subordinate ids") };
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("image"));
    let mark = format!("CROCI_TEST={}", user.sandbox.token);
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    let prints = |flags: &[&str], script: &str| {
        let words = [&["run", "--rm", "-e", &mark], flags, &["base", "sh", "-c", script]].concat();
        user.corm(&words).out().ok().text().to_owned()
    };
    let bounding = "sed -n 's/^CapBnd:\\t//p' /proc/self/status";
    assert_eq!(prints(&["--cap-drop", "ALL", "--cap-add", "CHOWN"], bounding), "0000000000000001");
    assert_eq!(prints(&["--privileged"], "sed -n 's/^Seccomp:\\t//p' /proc/self/status"), "0");
    assert_eq!(prints(&["--device", "/dev/null:/dev/x"], "stat -c %t:%T /dev/x; echo x > /dev/x"), "1:3");
    assert_eq!(prints(&["--tmpfs", "/t:size=1m"], "grep -c ' /t ' /proc/self/mountinfo"), "1");
    assert_eq!(prints(&["--read-only"], "touch /tmp/x && echo fine"), "fine");
    assert_eq!(prints(&["--group-add", "44"], "id -G"), "0 44");
    assert_eq!(prints(&["--ulimit", "core=0", "--umask", "027"], "ulimit -c; umask"), "0\n0027");
    assert_eq!(prints(&["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward"), "1");
    assert!(
        prints(&["--add-host", "db:10.0.0.7", "--dns", "192.0.2.1"], "cat /etc/hosts /etc/resolv.conf")
            .contains("10.0.0.7\tdb")
    );
    for kind in ["pid", "ipc", "uts"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let seen = prints(&[&format!("--{kind}"), "host"], &format!("readlink /proc/self/ns/{kind}"));
        assert_eq!(std::path::Path::new(&seen), own, "{kind}");
    }
    let volume = user.sandbox.path("home/volume");
    std::fs::create_dir(&volume).unwrap();
    chown(&volume, Some(user.id), Some(user.id)).unwrap();
    let of = |option: &str| format!("{}:/v:{option}", volume.display());
    assert_eq!(prints(&["-v", &of("O")], "touch /v/new; ls /v"), "new");
    assert!(volume.read_dir().unwrap().next().is_none());
    assert_eq!(prints(&["-v", &of("U"), "-u", "1000"], "stat -c %u /v; touch /v/new"), "1000");
    // another container's namespaces are those of its user namespace
    user.corm(&["run", "-d", "--name", "a", "-e", &mark, "--hostname", "first", "base", "sleep", "1000"]).out().ok();
    assert_eq!(prints(&["--pid", "container:a", "--uts", "container:a"], "cat /proc/1/comm; hostname"), "sleep\nfirst");
    let old = user.corm(&["ps", "-q"]).out().ok().text().to_owned();
    user.corm(&["run", "-d", "--replace", "--name", "a", "-e", &mark, "base", "sleep", "1000"]).out().ok();
    assert_ne!(user.corm(&["ps", "-q"]).out().ok().text(), old);
    user.corm(&["rm", "-f", "a"]).out().ok();
    let trees = user.sandbox.path("home/.local/share/corm/trees");
    wait_for("nothing left", || std::fs::read_dir(&trees).unwrap().next().is_none());
    user.sandbox.nothing_left();
}

#[test]
fn an_ordinary_user_has_networks_with_published_ports() {
    need_root!();
    let Some(user) = User::new() else { skip!("no user has subordinate ids") };
    if !Path::new("/dev/net/tun").exists() {
        skip!("this machine has no /dev/net/tun");
    }
    // everyone may use it on most machines
    test_support::user::unshare_mounts();
    let tun = user.sandbox.path("tun");
    let number = nix::sys::stat::makedev(10, 200);
    nix::sys::stat::mknod(&tun, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), number).unwrap();
    std::fs::set_permissions(&tun, PermissionsExt::from_mode(0o666)).unwrap();
    nix::mount::mount(Some(&tun), "/dev/net/tun", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let rootfs = bundle::make_rootfs(&user.sandbox.mkdir("image"));
    let mark = format!("CROCI_TEST={}", user.sandbox.token);
    user.corm(&["init", rootfs.to_str().unwrap(), "base"]).out().ok();
    for mode in ["pasta", "slirp4netns"] {
        if !installed(mode) {
            continue;
        }
        let script = format!("while :; do nc -l -p 80 -e echo {mode}; done");
        let run = ["run", "-d", "--name", mode, "-e", &mark, "--network", mode, "-p", "127.0.0.1::80", "base"];
        user.corm(&[&run[..], &["sh", "-c", &script]].concat()).out().ok();
        let address = user.corm(&["port", mode, "80"]).out().ok().text().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        let answer = || {
            let mut text = String::new();
            let mut stream = TcpStream::connect(&address).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            stream.read_to_string(&mut text).ok().filter(|_| !text.is_empty()).map(|_| text)
        };
        assert_eq!(wait_until("an answer", answer), format!("{mode}\n"));
        let inside = user.corm(&["exec", mode, "ip", "-o", "-4", "addr"]).out().ok().stdout;
        assert!(inside.lines().any(|line| !line.contains(" lo ")), "{mode}: {inside}");
        // the namespace has another network than the host
        let own = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
        let other = user.corm(&["exec", mode, "readlink", "/proc/self/ns/net"]).out().ok();
        assert_ne!(other.text(), own);
        user.corm(&["stop", "-t", "0", mode]).out().ok();
        assert!(wait_until("its end", || TcpStream::connect(&address).is_err().then_some(true)), "{mode}");
        user.corm(&["rm", mode]).out().ok();
    }
    let out = user.corm(&["run", "--network", "bridge", "base", "true"]).out().exits(125);
    assert!(out.stderr.contains("root"), "{out:?}");
    for userns in ["auto", "keep-id"] {
        let out = user.corm(&["run", "--userns", userns, "base", "true"]).out().exits(125);
        assert!(out.stderr.contains("--userns"), "{out:?}");
    }
    user.sandbox.nothing_left();
}
