//! The cache, and reproducible images.

use crate::fixture::{over_all, over_one};
use crate::{build, built, prints};
use test_support::{Out, need_root};

/// Returns the number of steps that the cache had.
fn cached(out: &Out) -> usize {
    out.stderr.lines().filter(|line| line.ends_with("] cached")).count()
}

const TEXT: &str =
    "FROM base AS one\nRUN date +%N > /r\nCOPY a /a\nFROM base\nCOPY --from=one /r /r\nCOPY b /b\nRUN cat /b > /c\n";

#[test]
fn a_step_is_cached_as_long_as_it_depends_on_the_same() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let files = |a, b| [("a", a), ("b", b)];
        let first = built(fixture, TEXT, &files("1", "1"), &[]).ok();
        assert_eq!(cached(&first), 0);
        let again = built(fixture, TEXT, &files("1", "1"), &[]).ok();
        assert_eq!((cached(&again), again.text()), (5, first.text()), "the same image: {again:?}");
        let changed = built(fixture, TEXT, &files("1", "2"), &[]).ok();
        assert_eq!(cached(&changed), 3);
        assert_eq!(prints(fixture, "cat /b /c"), "22");
        // what no other stage copies changes nothing there
        let other = built(fixture, TEXT, &files("2", "2"), &[]).ok();
        assert_eq!(cached(&other), 4, "{other:?}");
        let none = built(fixture, TEXT, &files("1", "1"), &["--no-cache"]).ok();
        assert_eq!(cached(&none), 0);
        assert_ne!(none.text(), first.text());
        fixture.no_container_left();
    });
}

#[test]
fn arguments_environments_and_modes_are_part_of_a_key() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = "FROM base\nARG v\nRUN echo $v > /v\nARG w\nCOPY a /a\n";
        let files = [("a", "x")];
        built(fixture, text, &files, &["--build-arg", "v=1"]).ok();
        assert_eq!(cached(&built(fixture, text, &files, &["--build-arg", "v=1", "--build-arg", "w=2"]).ok()), 2);
        assert_eq!(cached(&built(fixture, text, &files, &["--build-arg", "v=2"]).ok()), 0);
        assert_eq!(prints(fixture, "cat /v"), "2");
        // a time is no change, a mode is one
        let path = fixture.sandbox.path("context/a");
        std::fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(cached(&build(fixture, &["--build-arg", "v=2"]).out().ok()), 2);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(cached(&build(fixture, &["--build-arg", "v=2"]).out().ok()), 1);
    });
}

#[test]
fn a_linked_copy_is_the_same_on_another_base() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let text = |word: &str| format!("FROM base\nRUN echo {word} > /w\nCOPY --link a /d/a\n");
        built(fixture, &text("one"), &[("a", "A")], &[]).ok();
        assert_eq!(cached(&built(fixture, &text("two"), &[("a", "A")], &[]).ok()), 1);
        assert_eq!(prints(fixture, "cat /w /d/a"), "two\nA");
        fixture.corm(["fsck"]).out().ok();
    });
}

#[test]
fn the_cache_survives_removals_until_it_is_pruned() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let files = [("a", "1"), ("b", "1")];
        built(fixture, TEXT, &files, &[]).ok();
        fixture.corm(["rmi", "x"]).out().ok();
        assert_eq!(cached(&built(fixture, TEXT, &files, &[]).ok()), 5);
        fixture.corm(["fsck"]).out().ok();
        fixture.corm(["rmi", "x"]).out().ok();
        fixture.corm(["system", "prune"]).out().ok();
        assert_eq!(fixture.entries("build-cache"), Vec::<String>::new());
        assert_eq!(cached(&built(fixture, TEXT, &files, &[]).ok()), 0);
    });
}

#[test]
fn equal_builds_are_equal_images() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let text = "FROM base\nRUN mkdir -p /d/e && date > /dev/null && echo x > /d/e/f\nCOPY a /new/place/\nWORKDIR /other\nENV A=1\n";
        let once = || {
            crate::context(fixture, &[("a", "x"), ("Containerfile", text)]);
            build(fixture, &["--no-cache"]).env("SOURCE_DATE_EPOCH", "1000000000").out().ok().text().to_owned()
        };
        let first = once();
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert_eq!(once(), first);
        let created = fixture.inspected(&first)["Created"].clone();
        assert!(created.as_str().unwrap().starts_with("2001-09-09T01:46:40"), "{created}");
    });
}

#[test]
fn a_cache_goes_to_another_store_by_a_layout() {
    need_root!();
    over_all(|fixture| {
        fixture.image("base");
        let files = [("a", "1"), ("b", "1")];
        let layout = format!("type=local,dest={}", fixture.sandbox.path("cache").display());
        let from = layout.replace("dest", "src");
        let none = built(fixture, TEXT, &files, &["--cache-from", &from]).ok();
        assert!(none.stderr.contains("warning: --cache-from"), "{none:?}");
        built(fixture, TEXT, &files, &["--cache-to", &layout]).ok();
        let images = fixture.corm(["images", "-aq"]).out().ok().lines().len();
        assert_eq!(images, 2, "the image of the cache is not kept");
        fixture.corm(["rmi", "x"]).out().ok();
        fixture.corm(["system", "prune"]).out().ok();
        let again = built(fixture, TEXT, &files, &["--cache-from", &from]).ok();
        assert_eq!(cached(&again), 5, "{again:?}");
        assert_eq!(prints(fixture, "cat /b /c"), "11");
        fixture.corm(["fsck"]).out().ok();
        built(fixture, TEXT, &files, &["--cache-to", "type=x"]).fails();
        fixture.no_container_left();
    });
}

#[test]
fn a_cache_goes_to_another_store_by_a_registry() {
    need_root!();
    over_one(|fixture| {
        fixture.image("base");
        let (server, address) = test_support::registry::start(&fixture.sandbox, &fixture.sandbox.mkdir("registry"));
        let files = [("a", "1"), ("b", "1")];
        let place = format!("docker://{address}/web:cache");
        let with = |flag| built(fixture, TEXT, &files, &["--tls-verify=false", flag, &place]);
        with("--cache-to").ok();
        fixture.corm(["rmi", "x"]).out().ok();
        fixture.corm(["system", "prune"]).out().ok();
        let again = with("--cache-from").ok();
        assert_eq!(cached(&again), 5, "{again:?}");
        assert_eq!(prints(fixture, "cat /b /c"), "11");
        server.signal(libc::SIGKILL);
        let gone = with("--cache-from").ok();
        assert!(gone.stderr.contains("warning: --cache-from"), "{gone:?}");
        with("--cache-to").fails();
    });
}
