//! Hostile contexts, images, archives and files: they reach nothing of the host.

use std::os::unix::fs::symlink;

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
