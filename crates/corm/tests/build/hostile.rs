//! Hostile contexts, images, archives and files: they reach nothing of the host.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::fixture::{over_all, over_one};
use crate::{build, built, context, prints};
use test_support::need_root;

#[test]
fn symlinks_of_a_context_lead_to_the_context() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        fixture.sandbox.write("outside", "host\n");
        context(fixture, &[("inside", "in\n"), ("d/f", "f\n")]);
        let dir = fixture.sandbox.path("context");
        symlink("../outside", dir.join("up")).unwrap();
        symlink("/etc/shadow", dir.join("abs")).unwrap();
        symlink("/inside", dir.join("own")).unwrap();
        symlink("/", dir.join("root")).unwrap();
        symlink("../../../..", dir.join("d/top")).unwrap();
        for source in ["up", "abs", "root/etc/shadow", "d/top/etc/shadow", "../outside", "d/../../outside"] {
            std::fs::write(dir.join("Containerfile"), format!("FROM base\nCOPY {source} /got\n")).unwrap();
            let out = build(fixture, &[]).out().fails();
            assert!(out.stderr.contains("no such file or directory in the context"), "{source}: {out:?}");
        }
        std::fs::write(
            dir.join("Containerfile"),
            "FROM base\nCOPY own /own\nCOPY d /d\nRUN --mount=target=/m,source=root test -f /m/inside\n",
        )
        .unwrap();
        build(fixture, &["-t", "x"]).out().ok();
        assert_eq!(prints(fixture, "cat /own; readlink /d/top"), "in\n../../../..");
    });
}

#[test]
fn symlinks_of_an_image_lead_to_the_image() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let victim = fixture.sandbox.mkdir("victim");
        let text = format!(
            "FROM base AS evil\nRUN ln -s {0} /out && ln -s ../../../../../../../..{0} /up && mkdir /real && ln -s /real /good\n\
             FROM evil\nCOPY a /out/\nCOPY a /up/\nWORKDIR /out/w\nADD a.tar /out\nCOPY a /good/\nRUN --mount=target=/out/m true\n",
            victim.display()
        );
        context(fixture, &[("a", "A\n"), ("in/f", "F\n"), ("Containerfile", &text)]);
        let dir = fixture.sandbox.path("context");
        fixture
            .sandbox
            .program("tar")
            .arg("-C")
            .arg(dir.join("in"))
            .arg("-cf")
            .arg(dir.join("a.tar"))
            .arg("f")
            .out()
            .ok();
        build(fixture, &["-t", "x"]).out().ok();
        assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0, "nothing is written on the host");
        assert_eq!(prints(fixture, &format!("cat /real/a; ls {}", victim.display())), "A\na\nf\nw");
    });
}

#[test]
fn archives_stay_in_their_destination() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        context(fixture, &[("Containerfile", "FROM base\nADD a.tar /in/\n")]);
        let dir = fixture.sandbox.path("context");
        let script = "import tarfile,io,sys\n\
                      t=tarfile.open(sys.argv[1],'w')\n\
                      def add(n,k=tarfile.REGTYPE,l='',d=b'x'):\n i=tarfile.TarInfo(n); i.type=k; i.linkname=l; i.size=len(d) if k==tarfile.REGTYPE else 0; t.addfile(i,io.BytesIO(d))\n\
                      [add(*a) for a in eval(sys.argv[2])]\nt.close()\n";
        let make = |entries: &str| {
            fixture.sandbox.program("python3").args(["-c", script]).arg(dir.join("a.tar")).arg(entries).out().ok();
            build(fixture, &["-t", "x"]).out()
        };
        for (entries, wanted) in [
            ("[('../evil',)]", "`..`"),
            ("[('ok',),('h',tarfile.LNKTYPE,'../../etc/passwd')]", "`..`"),
            ("[('.wh.etc',)]", ".wh."),
            ("[('d/.wh..wh..opq',)]", ".wh."),
        ] {
            let out = make(entries).fails();
            assert!(out.stderr.contains(wanted), "{entries}: {out:?}");
        }
        make("[('/abs',),('l',tarfile.SYMTYPE,'/etc'),('l/written',)]").ok();
        assert_eq!(prints(fixture, "ls /etc/written /in 2>&1"), "/etc/written\n\n/in:\nabs\nl");
        fixture.no_container_left();
    });
}

#[test]
fn a_variable_that_grows_is_an_error() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = format!("FROM base\nENV a=xxxxxxxx\n{}", "ENV a=$a$a$a$a\n".repeat(20));
        let out = built(fixture, &text, &[], &[]).fails();
        assert!(out.stderr.contains("expand to more than"), "{out:?}");
    });
}

#[test]
fn a_name_that_is_swapped_with_a_link_during_the_copy_leads_nowhere() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let victim = fixture.sandbox.mkdir("victim");
        std::fs::write(victim.join("f"), "of-the-host\n").unwrap();
        context(fixture, &[("d/f", "inside\n"), ("g", "inside\n")]);
        let dir = fixture.sandbox.path("context");
        symlink(&victim, dir.join("link")).unwrap();
        symlink(victim.join("f"), dir.join("link2")).unwrap();
        let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
        let swap = || {
            while !stop.load(Ordering::Relaxed) {
                for (name, link) in [("d", "link"), ("g", "link2")] {
                    let (from, to) = (dir.join(name), dir.join(link));
                    renameat2(AT_FDCWD, &*from, AT_FDCWD, &*to, RenameFlags::RENAME_EXCHANGE).unwrap();
                }
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        };
        let dest = fixture.sandbox.path("out.tar");
        let output = format!("type=tar,dest={}", dest.display());
        let attack = || {
            let mut whole = 0;
            let lines =
                ["COPY . /all", "COPY d/f /one", "COPY d /two", "COPY g /three", "ADD . /all", "COPY d/ g /two/"];
            // all once, and then on until one has met no link
            for (number, line) in lines.iter().cycle().take(100).enumerate() {
                if number >= lines.len() && whole > 0 {
                    break;
                }
                std::fs::write(dir.join("Containerfile"), format!("FROM base\n{line}\n")).unwrap();
                let _ = std::fs::remove_file(&dest);
                // a link out of the context is an error
                let out = build(fixture, &["--no-cache", "-o", &output]).out();
                let tar = std::fs::read(&dest).unwrap_or_default();
                assert!(!tar.windows(11).any(|bytes| bytes == b"of-the-host"), "a file of the host is copied: {out:?}");
                whole += usize::from(out.code == Some(0));
            }
            assert!(whole > 0, "nothing was copied");
        };
        std::thread::scope(|scope| {
            scope.spawn(swap);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attack));
            stop.store(true, Ordering::Relaxed);
            ended.unwrap();
        });
        assert!(rounds.load(Ordering::Relaxed) > 100, "the attacker ran");
        fixture.no_container_left();
    });
}

#[test]
fn patterns_of_an_ignore_file_take_no_time() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let name = vec!["a".repeat(100); 8].join("/");
        let ignore =
            format!("{}b\n{}b\n{}b\n{}\n", "a*".repeat(200), "**/".repeat(500), "*a".repeat(100), "?".repeat(5000));
        let files = [(&*name, "x"), (".containerignore", &*ignore)];
        context(fixture, &files);
        std::fs::write(fixture.sandbox.path("context/Containerfile"), "FROM base\nCOPY . /all\n").unwrap();
        let out = build(fixture, &["-t", "x"]).limit(Duration::from_secs(120)).out().ok();
        assert!(out.took < Duration::from_secs(60), "{:?}", out.took);
        assert_eq!(prints(fixture, "find /all -type f | wc -l"), "3");
    });
}

#[test]
fn accounts_of_an_image_are_regular_files_of_it() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let victim = fixture.sandbox.write("passwd", "stranger:x:1234:1234::/:/bin/sh\n");
        let link = format!("ln -s {} /etc/passwd", victim.display());
        for (make, wanted) in [
            (&*link, "stranger"),
            ("mkfifo /etc/passwd", "fifo"),
            ("mknod /etc/passwd c 1 5", "regular file"),
            ("mkdir /etc/passwd", "/etc/passwd"),
        ] {
            for line in ["COPY --chown=stranger a /x", "USER stranger\nRUN true"] {
                let text = format!("FROM base\nRUN rm -f /etc/passwd; {make}\n{line}\n");
                context(fixture, &[("a", "A\n"), ("Containerfile", &text)]);
                let out = build(fixture, &[]).limit(Duration::from_secs(60)).out().fails();
                assert!(out.stderr.contains(wanted) && out.stderr.contains("stranger"), "{make}, {line}: {out:?}");
            }
        }
        fixture.no_container_left();
    });
}

#[test]
fn pipes_devices_and_sockets_of_a_context_are_read_by_nobody() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        context(fixture, &[("Containerfile", "FROM base\nCOPY . /all\n"), ("a", "A\n")]);
        let dir = fixture.sandbox.path("context");
        for (name, args) in [("fifo", &["p"][..]), ("zero", &["c", "1", "5"])] {
            fixture.sandbox.program("mknod").arg(dir.join(name)).args(args).out().ok();
        }
        let _listener = std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
        let out = build(fixture, &["-t", "x"]).limit(Duration::from_secs(60)).out().ok();
        assert!(out.stderr.contains("socket"), "it is left out with a word: {out:?}");
        assert_eq!(
            prints(fixture, "cd /all; ls; stat -c %F fifo zero"),
            "Containerfile\na\nfifo\nzero\nfifo\ncharacter special file"
        );
        // a pipe that the caller names is the caller's own wait, one in the context is none
        let zero = dir.join("zero");
        let out = build(fixture, &["-f", zero.to_str().unwrap()]).limit(Duration::from_secs(60)).out().fails();
        assert!(out.stderr.contains("zero"), "{out:?}");
        std::fs::rename(dir.join("fifo"), dir.join("Containerfile")).unwrap();
        let out = build(fixture, &[]).limit(Duration::from_secs(60)).out().fails();
        assert!(out.stderr.contains("Containerfile"), "{out:?}");
    });
}
