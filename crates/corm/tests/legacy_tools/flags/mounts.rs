//! File systems in memory, `--mount`, volumes of other containers.

use super::{prints, refused};
use crate::fixture::over_one;
use test_support::need_root;

/// Returns the options of the mount at a path.
fn options_at(path: &str) -> String {
    format!("grep ' {path} ' /proc/self/mountinfo")
}

#[test]
fn a_tmpfs_has_its_options_and_the_images_content() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let seen = prints(fixture, &["--tmpfs", "/etc"], &format!("ls /etc/passwd; {}", options_at("/etc")));
        assert!(seen.starts_with("/etc/passwd") && seen.contains("- tmpfs "), "{seen}");
        assert!(["nosuid", "nodev", "noexec"].iter().all(|option| seen.contains(option)), "{seen}");
        let seen = prints(fixture, &["--tmpfs", "/t:exec,size=1m,mode=1770,notmpcopyup"], &options_at("/t"));
        assert!(seen.contains("size=1024k") && seen.contains("mode=1770") && !seen.contains("noexec"), "{seen}");
        let seen =
            prints(fixture, &["--mount", "type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=700,ro"], &options_at("/t"));
        assert!(seen.contains("size=2048k") && seen.contains(" /t ro,") && seen.contains("mode=700"), "{seen}");
        refused(fixture, &["--tmpfs", "/t:nothing"], "--tmpfs");
        refused(fixture, &["--tmpfs", "/proc"], "--tmpfs");
        fixture.no_container_left();
    });
}

#[test]
fn a_tmpfs_that_a_symlink_of_the_image_leads_to_proc_is_refused() {
    need_root!();
    over_one(|fixture| {
        let rootfs = fixture.busybox_dir("hostile");
        std::os::unix::fs::symlink("/proc", rootfs.join("link")).unwrap();
        fixture.corm(["init"]).arg(&rootfs).arg("base").out().ok();
        refused(fixture, &["--tmpfs", "/link"], "--tmpfs");
        refused(fixture, &["--mount", "type=tmpfs,dst=/link/sys"], "--tmpfs");
        fixture.no_container_left();
    });
}

#[test]
fn a_mount_by_keys_is_a_bind_mount() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let dir = fixture.place.mkdir("volume");
        std::fs::write(dir.join("file"), "text").unwrap();
        let mount = |keys: &str| format!("type=bind,source={},{keys}", dir.display());
        let read = "cat /v/file; touch /v/new 2>&1; true";
        assert!(prints(fixture, &["--mount", &mount("destination=/v,ro")], read).contains("textt"), "read-only");
        assert_eq!(prints(fixture, &["--mount", &mount("target=/v,readonly=false")], read), "text");
        let seen = prints(fixture, &["--mount", &mount("dst=/v,bind-propagation=rslave")], &options_at("/v"));
        assert!(seen.contains("master:") || seen.contains(" /v "), "{seen}");
        refused(fixture, &["--mount", &mount("dst=/v,what=ever")], "what");
        refused(fixture, &["--mount", "type=bind,src=/no/such/dir,dst=/v"], "/no/such/dir");
        refused(fixture, &["--mount", &mount("dst=/v"), "-v", "/tmp:/v"], "the destination of two");
        refused(fixture, &["--tmpfs", "/v", "-v", "/tmp:/v"], "the destination of two");
        fixture.no_container_left();
    });
}

#[test]
fn a_read_only_container_keeps_its_temporary_directories() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script = "for dir in /run /tmp /var/tmp /etc; do touch $dir/new 2>/dev/null && echo $dir; done; true";
        assert_eq!(prints(fixture, &["--read-only"], script), "/run\n/tmp\n/var/tmp");
        assert_eq!(prints(fixture, &["--read-only", "--read-only-tmpfs=false"], script), "");
        let dir = fixture.place.mkdir("volume");
        let volume = format!("{}:/tmp", dir.display());
        assert_eq!(prints(fixture, &["--read-only", "-v", &volume], script), "/run\n/tmp\n/var/tmp");
        assert!(dir.join("new").exists());
        // nothing of it is in a commit
        fixture.run(&["--name", "c", "--read-only"], "base", &["touch", "/tmp/left"]).out().ok();
        fixture.corm(["commit", "c", "kept"]).out().ok();
        fixture.run(&["--rm"], "kept", &["ls", "/tmp/left"]).out().fails();
        fixture.corm(["rm", "c"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn volumes_of_another_container_are_mounted_too() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let dir = fixture.place.mkdir("volume");
        std::fs::write(dir.join("file"), "text").unwrap();
        let volume = format!("{}:/v", dir.display());
        fixture.run(&["--name", "a", "-v", &volume], "base", &["true"]).out().ok();
        assert_eq!(prints(fixture, &["--volumes-from", "a"], "cat /v/file; touch /v/new"), "text");
        assert!(dir.join("new").exists());
        let seen = prints(fixture, &["--volumes-from", "a:ro"], "touch /v/other 2>&1; true");
        assert!(seen.contains("Read-only"), "{seen}");
        // what the caller gives comes first
        assert_eq!(prints(fixture, &["--volumes-from", "a", "-v", "/dev/null:/v"], "stat -c %t /v"), "1");
        refused(fixture, &["--volumes-from", "nothing"], "--volumes-from");
        refused(fixture, &["--volumes-from", "a:x"], "--volumes-from");
        fixture.corm(["rm", "a"]).out().ok();
        fixture.no_container_left();
    });
}

#[test]
fn a_volume_may_be_given_to_the_user_or_keep_its_content() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let dir = fixture.place.mkdir("volume");
        std::fs::create_dir(dir.join("sub")).unwrap();
        std::fs::write(dir.join("sub/file"), "text").unwrap();
        let other = fixture.sandbox.write("other", "");
        std::os::unix::fs::symlink(&other, dir.join("link")).unwrap();
        let volume = |options: &str| format!("{}:/v:{options}", dir.display());
        let script = "echo new > /v/sub/file; rm -r /v/link; cat /v/sub/file; ls /v";
        assert_eq!(prints(fixture, &["-v", &volume("O")], script), "new\nsub");
        assert_eq!(std::fs::read_to_string(dir.join("sub/file")).unwrap(), "text");
        // the changes end with the run
        let again = "ls /v; touch /v/new";
        fixture.run(&["--name", "c", "-v", &volume("O")], "base", &["sh", "-c", again]).out().ok();
        fixture.corm(["start", "c"]).out().ok();
        fixture.corm(["wait", "c"]).out().ok();
        assert_eq!(fixture.corm(["logs", "c"]).out().ok().text(), "link\nsub\nlink\nsub");
        fixture.corm(["rm", "c"]).out().ok();
        let owners = "stat -c %u:%g /v /v/sub /v/sub/file; stat -c %u:%g /v/link";
        assert_eq!(prints(fixture, &["-u", "33:44", "-v", &volume("U")], owners), ["33:44"; 4].join("\n"));
        // not the file that a symlink leads to
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&other.metadata().unwrap()), 0);
        refused(fixture, &["-u", "33", "-v", "/usr:/v:U"], "directory of the machine");
        refused(fixture, &["-v", "/etc/passwd:/v:O"], "is no directory");
        fixture.no_container_left();
    });
}

#[test]
fn volumes_of_the_store_have_the_keys_and_options_of_mounts() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let script =
            "test -e /etc/passwd && echo copied; stat -c %u:%g /etc; touch /etc/new 2>/dev/null && echo new; true";
        let mount = |keys: &str, more: &[&str]| prints(fixture, &[&["--mount", keys], more].concat(), script);
        assert_eq!(mount("type=volume,src=v,dst=/etc", &[]), "copied\n0:0\nnew");
        assert_eq!(mount("src=v,dst=/etc,ro", &[]), "copied\n0:0");
        assert_eq!(mount("src=e,dst=/etc,volume-nocopy", &[]), "0:0\nnew");
        assert_eq!(fixture.corm(["volume", "ls", "-q"]).out().ok().lines(), ["e", "v"]);
        // without a name, of the container alone
        let read_only = "touch /bin/new 2>/dev/null || test -x /bin/sh && echo copied";
        assert_eq!(prints(fixture, &["--mount", "dst=/bin,ro"], read_only), "copied");
        assert_eq!(mount("dst=/etc,U", &["-u", "33:44"]), "copied\n33:44\nnew");
        assert_eq!(prints(fixture, &["-v", "v:/v:O"], "rm /v/new; touch /v/over; ls /v/over"), "/v/over");
        assert_eq!(prints(fixture, &["-v", "v:/v"], "ls /v/new; ls /v/over 2>/dev/null; true"), "/v/new");
        fixture.run(&["--name", "a", "-v", "v:/v"], "base", &["true"]).out().ok();
        fixture.run(&["--name", "b", "--volumes-from", "a:ro"], "base", &["ls", "/v/new"]).out().ok();
        fixture.corm(["rm", "a"]).out().ok();
        let used = fixture.corm(["volume", "rm", "v"]).out().fails();
        assert!(used.stderr.contains("is being used by"), "{used:?}");
        fixture.corm(["rm", "b"]).out().ok();
        refused(fixture, &["-v", "v:/v", "--mount", "type=tmpfs,dst=/v"], "the destination of two");
        refused(fixture, &["-v", "/v", "--mount", "src=v,dst=/v"], "the destination of two");
        refused(fixture, &["--mount", "type=volume,src=/tmp,dst=/v"], "--mount");
        fixture.corm(["volume", "rm", "v", "e"]).out().ok();
        fixture.no_container_left();
    });
}
