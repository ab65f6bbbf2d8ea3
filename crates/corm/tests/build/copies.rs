//! `COPY`, `ADD` and ignore files.

use std::os::unix::fs::{PermissionsExt, chown, symlink};

use crate::fixture::{over_all, over_one};
use crate::{build, built, context, prints};
use test_support::need_root;

#[test]
fn copies_come_where_they_should() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let files = [("a", "A\n"), ("d/b", "B\n"), ("d/sub/c", "C\n"), ("w1.txt", "1\n"), ("w2.txt", "2\n")];
        let text = "FROM base\nRUN mkdir /dir /real && ln -s real /link && echo old > /real/a && echo k > /real/keep\n\
                    COPY a /file\nCOPY a /new/\nCOPY a /dir\nCOPY d /tree\nCOPY d/ /tree2/\nCOPY w*.txt /w/\nCOPY a d/b /both/\n\
                    COPY a /link/\nCOPY d /link/sub\nWORKDIR /wd\nCOPY a .\nCOPY a ./x/y\nCOPY . /all\n";
        built(fixture, text, &files, &[]).ok();
        let script = "cat /file /new/a /dir/a /tree/b /tree2/sub/c /w/w1.txt /w/w2.txt /both/a /both/b /real/a /real/keep /wd/a /wd/x/y; \
                      readlink /link; ls /real/sub /all; stat -c '%a %u:%g' /new /wd/x /tree";
        let wanted = "A\nA\nA\nB\nC\n1\n2\nA\nB\nA\nk\nA\nA\nreal\n/all:\nContainerfile\na\nd\nw1.txt\nw2.txt\n\n/real/sub:\nb\nsub\n\
                      755 0:0\n755 0:0\n755 0:0";
        assert_eq!(prints(fixture, script), wanted);
        for bad in ["COPY a d /file\n", "COPY a /etc/passwd/x\n", "COPY w*.txt /f\nCOPY a /f/b/\nCOPY d /etc/passwd\n"]
        {
            built(fixture, &format!("FROM base\n{bad}"), &files, &[]).fails();
        }
        fixture.no_container_left();
    });
}

#[test]
fn owners_modes_times_links_and_kinds_are_kept_or_set() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let files = [("a", "A\n"), ("d/x", "x\n"), ("Containerfile", "")];
        context(fixture, &files);
        let dir = fixture.sandbox.path("context");
        chown(dir.join("a"), Some(7), Some(8)).unwrap();
        std::fs::set_permissions(dir.join("a"), PermissionsExt::from_mode(0o4751)).unwrap();
        std::fs::set_permissions(dir.join("d"), PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::set_permissions(dir.join("d/x"), PermissionsExt::from_mode(0o600)).unwrap();
        symlink("x", dir.join("d/link")).unwrap();
        std::fs::hard_link(dir.join("d/x"), dir.join("d/hard")).unwrap();
        std::fs::File::open(dir.join("d/x"))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000))
            .unwrap();
        let text = "FROM base\nRUN echo 'u:x:70:71::/:' >> /etc/passwd; echo 'g:x:72:' >> /etc/group\nCOPY a /plain\nCOPY --chown=1:2 a /c1\n\
                    COPY --chown=u a /c2\nCOPY --chown=u:g --chmod=604 a /c3\nCOPY --chown=9 d /c4\nCOPY --chmod=u+x,go=rX d /c5\nCOPY --link --chown=5:6 a /l/a\nCOPY none* d /t\n";
        std::fs::write(dir.join("Containerfile"), text).unwrap();
        build(fixture, &["-t", "x"]).out().ok();
        let script = "stat -c '%n %u:%g %a' /plain /c1 /c2 /c3 /c4 /c4/x /c5/x /l/a /t/x; stat -c '%h %Y' /t/x; readlink /t/link";
        let wanted = "/plain 0:0 4751\n/c1 1:2 4751\n/c2 70:71 4751\n/c3 70:72 604\n/c4 9:9 755\n/c4/x 9:9 600\n/c5/x 0:0 755\n/l/a 5:6 4751\n/t/x 0:0 600\n2 1000000\nx";
        assert_eq!(prints(fixture, script), wanted);
    });
}

#[test]
fn stages_give_files_with_their_owners() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let text = "FROM base AS s\nRUN mkdir -p /o/in && echo x > /o/in/f && chown 3:4 /o/in/f && ln -s /o/in/f /ln\n\
                    FROM base\nCOPY --from=s /o/in /got\nCOPY --from=s /ln /followed\nCOPY --from=s --chown=1 /o/in/f /own\n";
        built(fixture, text, &[], &[]).ok();
        assert_eq!(prints(fixture, "stat -c %u:%g /got/f /followed /own; cat /followed"), "3:4\n3:4\n1:1\nx");
    });
}

#[test]
fn parents_excludes_and_documents() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let files = [("a/b/c.txt", "C\n"), ("a/b/d.o", "O\n"), ("a/e/f.txt", "F\n"), ("top", "T\n")];
        let text = "FROM base\nENV v=val\nCOPY --parents a/b/c.txt top /p/\nCOPY --parents ./a/./b/c.txt /q/\nCOPY --parents a/*/*.txt /r/\n\
                    COPY --exclude=**/*.o --exclude=e a /x\nCOPY <<one <<\"two\" /doc/\nhi $v \"q\"\none\nlo $v\ntwo\n\
                    COPY <<-three /doc/named\n\ttabs\n\tthree\n";
        built(fixture, text, &files, &[]).ok();
        let found = prints(fixture, "cd /; find p q r x doc -type f | sort; cat /doc/one /doc/two /doc/named");
        let wanted = "doc/named\ndoc/one\ndoc/two\np/a/b/c.txt\np/top\nq/b/c.txt\nr/a/b/c.txt\nr/a/e/f.txt\nx/b/c.txt\nhi val \"q\"\nlo $v\ntabs";
        assert_eq!(found, wanted);
    });
}

#[test]
fn archives_are_unpacked_by_add_alone() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        context(fixture, &[("in/sub/f", "F\n"), ("no.tar", "not a tar\n"), ("plain", "P\n")]);
        let dir = fixture.sandbox.path("context");
        chown(dir.join("in/sub/f"), Some(33), Some(44)).unwrap();
        symlink("sub/f", dir.join("in/ln")).unwrap();
        std::fs::hard_link(dir.join("in/sub/f"), dir.join("in/hard")).unwrap();
        for (flag, name) in [("-cf", "a.tar"), ("-czf", "a.tgz"), ("-cJf", "a.tar.xz"), ("-cjf", "a.tbz")] {
            fixture
                .sandbox
                .program("tar")
                .args(["-C"])
                .arg(dir.join("in"))
                .arg(flag)
                .arg(dir.join(name))
                .arg(".")
                .out()
                .ok();
        }
        let text = "FROM base\nADD a.tar /t\nADD a.tgz a.tar.xz a.tbz /z/\nADD no.tar plain /n/\nCOPY a.tar /c/\nADD --chown=1:2 a.tar /o/\nADD --unpack=false a.tgz /raw/\n";
        std::fs::write(dir.join("Containerfile"), text).unwrap();
        build(fixture, &["-t", "x"]).out().ok();
        let script =
            "stat -c '%u:%g %h' /t/sub/f /o/sub/f; readlink /t/ln; cat /z/sub/f /n/no.tar /n/plain; ls /c /raw";
        assert_eq!(prints(fixture, script), "33:44 2\n33:44 2\nsub/f\nF\nnot a tar\nP\n/c:\na.tar\n\n/raw:\na.tgz");
    });
}

#[test]
fn ignored_files_are_not_there() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let files = [
            (".dockerignore", "# c\n*.o\n**/secret\n!keep.o\ndir\n!dir/in\n"),
            ("a.o", "x"),
            ("keep.o", "x"),
            ("s/secret", "x"),
            ("s/open", "x"),
            ("dir/in", "x"),
            ("dir/out", "x"),
        ];
        built(fixture, "FROM base\nCOPY . /c\n", &files, &[]).ok();
        let script = "cd /c; find . -type f | sort";
        assert_eq!(prints(fixture, script), "./.dockerignore\n./Containerfile\n./dir/in\n./keep.o\n./s/open");
        let out = built(fixture, "FROM base\nCOPY a.o /\n", &files, &[]).fails();
        assert!(out.stderr.contains("the ignore file leaves it out"), "{out:?}");
        // one that is named for the file precedes it, and a flag precedes both
        let more = [&files[..], &[("Containerfile.dockerignore", "s\nkeep.o\n")]].concat();
        built(fixture, "FROM base\nCOPY . /c\n", &more, &[]).ok();
        assert!(prints(fixture, script).contains("./a.o"));
        std::fs::write(fixture.sandbox.path("ignore"), "*\n!a.o\n").unwrap();
        let flag = fixture.sandbox.path("ignore");
        built(fixture, "FROM base\nCOPY . /c\n", &more, &["--ignorefile", flag.to_str().unwrap()]).ok();
        assert_eq!(prints(fixture, script), "./a.o");
    });
}

#[test]
fn sources_with_parents_may_be_deep_and_may_be_none() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let files = [("x/a/one.txt", "1\n"), ("x/a/b/two.txt", "2\n"), ("x/three.txt", "3\n"), ("x/a/b/no.md", "n\n")];
        let text = "FROM base\nCOPY --parents x/**/*.txt /all/\nCOPY --parents ./x/./a/**/two.* /part/\nCOPY --parents x/a/** /end/\n\
                    COPY --parents none/**/*.txt no* /empty/\n";
        built(fixture, text, &files, &[]).ok();
        let script = "for d in all part end; do cd /$d; find . -type f | sort; done; ls -A /empty | wc -l";
        let wanted = "./x/a/b/two.txt\n./x/a/one.txt\n./x/three.txt\n./a/b/two.txt\n\
                      ./x/a/b/no.md\n./x/a/b/two.txt\n./x/a/one.txt\n0";
        assert_eq!(prints(fixture, script), wanted);
        built(fixture, "FROM base\nCOPY none* /empty/\n", &files, &[]).fails();
    });
}
