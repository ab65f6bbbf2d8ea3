//! Compression of layers, and layers that are compressed to do harm (item 9 of the malicious layers).

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};

use corm::layer;
use corm::layer::Applied;
use corm::layer::Compression;
use corm::layer::Limits;
use corm::layer::Target;
use corm::model::digest::Digest;
use corm::model::layer::WhiteoutFormat;

use crate::fixture::{StoreFixture, fact, over_all};
use crate::store_fixture::{Disk, Place};
use crate::tar::{BLOCK, Header, Tar};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn tar() -> Vec<u8> {
    Tar::new().file("a", "text").file("b", vec![b'x'; 100_000]).end()
}

fn unpacked(fixture: &StoreFixture, blob: &[u8], how: Compression, tar: &[u8]) -> Result<(), String> {
    let layers = [fixture.blob(blob, how, &Digest::of(tar))];
    fixture.unpack(&layers)?;
    fixture.look(&layers, |root| {
        assert_eq!(fact(root, "a"), "file text");
        assert_eq!(fact(root, "b"), "file of 100000");
    });
    Ok(())
}

#[test]
fn packed_in_every_way_that_is_used() {
    let tar = tar();
    let (first, second) = tar.split_at(700);
    let mut skipped = b"\x50\x2a\x4d\x18\x05\0\0\0hello".to_vec();
    skipped.extend(zstd(first));
    skipped.extend(b"\x5f\x2a\x4d\x18\0\0\0\0");
    skipped.extend(zstd(second));
    let padded = [tar.clone(), vec![0; 20 * BLOCK]].concat();
    let junk = [tar.clone(), vec![7; 3000]].concat();
    let unmarked = tar[..tar.len() - 2 * BLOCK].to_vec();
    over_all(|fixture| {
        for (what, blob, how, tar) in [
            ("plain", tar.clone(), Compression::None, &tar),
            ("gzip", gzip(&tar), Compression::Gzip, &tar),
            ("several members", [gzip(first), gzip(b""), gzip(second)].concat(), Compression::Gzip, &tar),
            ("zeros after gzip", [gzip(&tar), vec![0; 4096]].concat(), Compression::Gzip, &tar),
            ("zstd", zstd(&tar), Compression::Zstd, &tar),
            ("several frames, and skipped ones", skipped.clone(), Compression::Zstd, &tar),
            ("padded archive", gzip(&padded), Compression::Gzip, &padded),
            ("junk after the end of the archive", gzip(&junk), Compression::Gzip, &junk),
            ("no end marker", gzip(&unmarked), Compression::Gzip, &unmarked),
            ("says gzip, is plain", tar.clone(), Compression::Gzip, &tar),
            ("says gzip, is zstd", zstd(&tar), Compression::Gzip, &tar),
            ("says plain, is gzip", gzip(&tar), Compression::None, &tar),
            ("says plain, is zstd", zstd(&tar), Compression::None, &tar),
            ("says zstd, is gzip", gzip(&tar), Compression::Zstd, &tar),
            ("says zstd, is plain", tar.clone(), Compression::Zstd, &tar),
        ] {
            unpacked(fixture, &blob, how, tar).unwrap_or_else(|err| panic!("{what}: {err}"));
        }
    });
}

#[test]
fn a_damaged_blob_or_one_with_another_digest_is_refused() {
    let tar = tar();
    let (packed, framed) = (gzip(&tar), zstd(&tar));
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x20;
        bytes
    };
    let other = Tar::new().file("a", "other").end();
    over_all(|fixture| {
        for (what, blob, how, wanted) in [
            ("bzip2", b"BZh9junk".to_vec(), Compression::None, "bzip2"),
            ("empty", Vec::new(), Compression::Gzip, "its image has"),
            ("gzip cut", packed[..packed.len() / 2].to_vec(), Compression::Gzip, ""),
            ("gzip without its checksum", packed[..packed.len() - 8].to_vec(), Compression::Gzip, ""),
            ("zstd cut", framed[..framed.len() - 3].to_vec(), Compression::Zstd, ""),
            ("wrong checksum", flipped(&packed, packed.len() - 6), Compression::Gzip, ""),
            ("junk after gzip", [&packed[..], b"junk"].concat(), Compression::Gzip, ""),
            ("junk after zeros", [&packed[..], b"\0\0\0junk"].concat(), Compression::Gzip, "junk after the end"),
            ("junk after zstd", [&framed[..], b"junk"].concat(), Compression::Zstd, ""),
            ("another diff id", gzip(&other), Compression::Gzip, "its image has"),
            ("plain, cut in data", tar[..600].to_vec(), Compression::None, ""),
        ] {
            let text = unpacked(fixture, &blob, how, &tar).expect_err(what);
            assert!(text.contains(wanted), "{what}: {text}");
        }
    });
}

#[test]
fn an_archive_that_ends_early_names_its_entry() {
    let whole = Tar::new().file("a", "text").file("b/long", vec![b'x'; 5000]).end();
    over_all(|fixture| {
        for (length, wanted) in
            [(3 * BLOCK + 100, "\"b/long\": the archive ends within"), (BLOCK + 5, "\"a\""), (300, "within a header")]
        {
            let cut = &whole[..length];
            let text = fixture.unpack(&[fixture.layer(cut)]).unwrap_err();
            assert!(text.contains(wanted), "{length}: {text}");
        }
    });
}

/// Applies a blob to a directory on a tmpfs, with limits. The caller checks peak memory.
fn applied(blob: &[u8], how: Compression, limits: &Limits) -> Result<Applied, String> {
    let (blob, limits) = (blob.to_vec(), limits.clone());
    let work = move || {
        let place = Place::new(Disk::Tmpfs);
        let root = OwnedFd::from(File::open(place.mkdir("root")).unwrap());
        std::fs::write(place.path().join("blob"), &blob).unwrap();
        let target = Target { root, whiteouts: WhiteoutFormat::Delete, unprivileged: false };
        let file = File::open(place.path().join("blob")).unwrap();
        layer::unpack(file, how.media_type(), &Digest::of(b""), &target, &limits, &|_| {})
            .map_err(|err| base::error::describe(&err))
    };
    std::thread::spawn(work).join().unwrap()
}

/// Returns an entry of zeros, compressed with `pack`.
fn bomb(pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let start = Header::new(b'0', "zeros").size(1 << 33).done();
    [pack(&start), pack(&vec![0; 32 << 20])].concat()
}

#[test]
fn a_bomb_is_stopped_by_its_ratio() {
    let limits = Limits { ratio_from: 8 << 20, ratio: 200, ..Limits::default() };
    for (blob, how) in [(bomb(gzip), Compression::Gzip), (bomb(zstd), Compression::Zstd)] {
        let text = applied(&blob, how, &limits).unwrap_err();
        assert!(text.contains("over 200 times"), "{how:?}: {text}");
    }
    // the default is far beyond what deflate reaches
    let text = applied(&bomb(gzip), Compression::Gzip, &Limits { ratio_from: 8 << 20, ..Limits::default() });
    assert!(text.unwrap_err().contains("ends within its data"));
    let text = applied(&bomb(zstd), Compression::Zstd, &Limits { ratio_from: 8 << 20, ..Limits::default() });
    assert!(text.unwrap_err().contains("over 2000 times"));
}

#[test]
fn content_that_people_have_is_no_bomb() {
    let line = b"2026-11-29T12:00:00Z INFO  request served in 3 ms\n";
    let log = line.repeat((90 << 20) / line.len());
    let tar = Tar::new().file("zeros", vec![0; 70 << 20]).file("log", &log).end();
    let text = applied(&zstd(&tar), Compression::Zstd, &Limits::default()).unwrap_err();
    assert!(text.contains("its image has"), "{text}");
    let packed = gzip(&tar);
    over_all(|fixture| {
        let layers = [fixture.blob(&packed, Compression::Gzip, &Digest::of(&tar))];
        fixture.unpack(&layers).unwrap();
        fixture.look(&layers, |root| {
            assert_eq!(fact(root, "zeros?size"), (70 << 20).to_string());
            assert_eq!(fact(root, "log?size"), log.len().to_string());
        });
    });
}

#[test]
fn a_deep_tree_is_unpacked_read_and_copied() {
    let deep = "d/".repeat(1000);
    let tar = Tar::new().long(b'L', &deep).dir("short").end();
    over_all(|fixture| {
        let layers = [fixture.layer(&tar)];
        fixture.unpack(&layers).unwrap();
        let packed = fixture.look(&layers, |root| {
            let mut packed = Vec::new();
            corm::layer::pack::tree(File::open(root).unwrap().as_fd(), &mut packed).unwrap();
            packed
        });
        let again = [fixture.layer(&packed)];
        fixture.unpack(&again).unwrap();
        let deleted = [again[0].clone(), fixture.layer(&Tar::new().file(".wh.d", "").end())];
        fixture.unpack(&deleted).unwrap();
        fixture.look(&deleted, |root| assert_eq!(fact(root, "d"), "none"));
        let over = [again[0].clone(), fixture.layer(&Tar::new().file("d", "x").end())];
        fixture.unpack(&over).unwrap();
        fixture.look(&over, |root| assert_eq!(fact(root, "d"), "file x"));
    });
}

#[test]
fn a_layer_leaves_space_on_the_disk() {
    let tar = Tar::new().file("data", vec![b'x'; 100 << 20]).end();
    let limits = Limits { min_free: Some(1990 << 20), ..Limits::default() };
    let text = applied(&tar, Compression::None, &limits).unwrap_err();
    assert!(text.contains("bytes left") && text.contains("min-free"), "{text}");
    // zeros need no space
    let tar = Tar::new().file("zeros", vec![0; 100 << 20]).end();
    assert!(applied(&tar, Compression::None, &limits).unwrap_err().contains("its image has"));
}

#[test]
fn a_bomb_within_a_bomb_is_a_file() {
    // a blob that is compressed twice is decompressed once
    let inner = gzip(&vec![0; 1 << 20]);
    over_all(|fixture| {
        let tar = Tar::new().file("inner.gz", &inner).end();
        let layers = [fixture.blob(&gzip(&tar), Compression::Gzip, &Digest::of(&tar))];
        fixture.unpack(&layers).unwrap();
    });
}

#[test]
fn limits_are_named() {
    let many = (0..50).fold(Tar::new(), |tar, number| tar.file(format!("f{number}"), "")).end();
    let implied = (0..20).fold(Tar::new(), |tar, number| tar.file(format!("d{number}/x/f"), "")).end();
    let sparse =
        Tar::new().pax(&[("GNU.sparse.size", b"1000000"), ("GNU.sparse.map", b"0,1")]).file("sparse", "x").end();
    let text = |limits: Limits, tar: &[u8]| applied(tar, Compression::None, &limits).unwrap_err();
    let limits = Limits::default;
    assert!(text(Limits { entries: 40, ..limits() }, &many).contains("entry \"f40\": more than 40 entries"));
    assert!(text(Limits { entries: 40, ..limits() }, &implied).contains("more than 40 entries"));
    assert!(text(Limits { tar: 10_000, ..limits() }, &many).contains("more than 10000 bytes unpacked"));
    assert!(text(Limits { apparent: 999_999, ..limits() }, &sparse).contains("entry \"sparse\": files of more than"));
    assert!(text(Limits { depth: 1, ..limits() }, &implied).contains("3 directories deep"));
    // none of the archives exceeds the default limits
    for tar in [&many, &implied, &sparse] {
        assert!(text(limits(), tar).contains("its image has"));
    }
}

/// Returns the tar in a zstd frame with a window of this power of two.
fn framed(window: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.long_distance_matching(true).unwrap();
    encoder.window_log(window).unwrap();
    encoder.include_contentsize(false).unwrap();
    encoder.write_all(&tar()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn zstd_windows_up_to_those_of_long_are_read() {
    let text = applied(&framed(27), Compression::Zstd, &Limits::default()).unwrap_err();
    assert!(text.contains("its image has"), "{text}");
    let text = applied(&framed(28), Compression::Zstd, &Limits::default()).unwrap_err();
    assert!(!text.contains("its image has"), "{text}");
}
