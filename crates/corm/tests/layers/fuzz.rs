//! Archives changed at random: unpacking them neither hangs, nor panics, nor changes anything outside.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::time::Instant;

use corm::layer;
use corm::layer::Compression;
use corm::layer::Limits;
use corm::layer::Target;
use corm::model::digest::Digest;
use corm::model::layer::WhiteoutFormat;

use crate::fixture::{Outside, StoreFixture};
use crate::store_fixture::{Disk, Place};
use crate::tar::{BLOCK, Header, Tar};
use test_support::tree;

const ARCHIVES: u64 = 2000;

/// A sequence of pseudorandom numbers that is the same in each run (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Returns an archive with an entry of every form, with names and targets outside.
fn seed() -> Vec<u8> {
    let outside = StoreFixture::outside();
    let outside = outside.to_str().unwrap();
    Tar::new()
        .entry(Header::new(b'5', "./").mode(0o755), "")
        .dir(&outside[1..])
        .dir("d")
        .file("d/f", "content")
        .symlink("out", outside)
        .symlink("d/up", format!("{}{outside}", "../".repeat(30)))
        .file("out/pwned", "x")
        .link("d/l", "d/f")
        .long(b'L', "long/".repeat(30) + "name")
        .file("short", vec![b'y'; 1500])
        .long(b'K', "target".repeat(30))
        .symlink("k", "s")
        .pax(&[("path", b"pax/name"), ("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"v"), ("uid", b"7")])
        .file("p", "pax")
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"s"),
            ("GNU.sparse.realsize", b"5000"),
        ])
        .file("s0", [b"1\n4000\n4\n".to_vec(), vec![0; BLOCK - 9], b"data".to_vec()].concat())
        .pax(&[("GNU.sparse.size", b"600"), ("GNU.sparse.map", b"0,2,500,2")])
        .file("s1", "abcd")
        .entry(Header::new(b'3', "null").device(1, 3), "")
        .entry(Header::new(b'6', "fifo"), "")
        .file(".wh.d2", "")
        .file("d/.wh..wh..opq", "")
        .file("d/.wh.f", "")
        .file("d/last", "last")
        .end()
}

/// Returns the archive with some bytes changed and blocks copied, moved or left out. Checksums are often corrected,
/// because unpacking stops at a wrong one.
fn mutated(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut tar = seed.to_vec();
    for _ in 0..=random.below(4) {
        let blocks = tar.len() / BLOCK;
        let (from, to) = (random.below(blocks) * BLOCK, random.below(blocks) * BLOCK);
        match random.below(8) {
            0 => tar.truncate(random.below(tar.len())),
            1 => drop(tar.drain(from..from + BLOCK)),
            2 => tar.copy_within(from..from + BLOCK, to),
            3 => {
                // copies a name or target over another
                let (from, to) = (from + [0, 157][random.below(2)], to + [0, 157][random.below(2)]);
                tar.copy_within(from..from + 100, to);
            }
            _ => {
                for _ in 0..=random.below(6) {
                    // changes fields of a header, because these have the most effect
                    let at = from + [random.below(BLOCK), 100 + random.below(60), 156][random.below(3)];
                    tar[at] =
                        [random.next() as u8, b'0' + random.below(8) as u8, 0xff, 0x80, 0, b'/', b'.'][random.below(7)];
                }
            }
        }
        if tar.len() < 2 * BLOCK {
            break;
        }
    }
    if random.below(4) > 0 {
        fix_checksums(&mut tar);
    }
    tar
}

fn fix_checksums(tar: &mut [u8]) {
    for block in tar.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        let header = Header(block.to_vec().try_into().unwrap());
        block.copy_from_slice(&header.done());
    }
}

#[test]
fn two_thousand_broken_archives_do_no_harm() {
    let outside = Outside::new();
    let before = outside.read();
    let work = || {
        let place = Place::new(Disk::Tmpfs);
        let seed = seed();
        let (mut applied, mut refused) = (0, 0);
        for number in 1..=ARCHIVES {
            let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let tar = mutated(&seed, &mut random);
            let ways = [
                WhiteoutFormat::Delete,
                WhiteoutFormat::OverlayDevice,
                WhiteoutFormat::OverlayXattr,
                WhiteoutFormat::Aufs,
            ];
            let started = Instant::now();
            match apply(&place, &tar, ways[random.below(4)]) {
                Ok(()) => applied += 1,
                Err(text) => {
                    assert!(!text.is_empty() && !text.contains('\n'), "{number}: {text:?}");
                    refused += 1;
                }
            }
            assert!(started.elapsed() < test_support::patience(), "{number}: {:?}", started.elapsed());
            let names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert!(names.iter().all(|name| name == "root" || name == "blob"), "{number}: {names:?}");
            fs::remove_dir_all(place.path().join("root")).unwrap();
        }
        // many of each, because otherwise the changes have tested nothing
        assert!(applied > 100 && refused > 100, "{applied} applied, {refused} refused");
    };
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
    tree::assert_same(&before, &outside.read());
}

fn apply(place: &Place, tar: &[u8], whiteouts: WhiteoutFormat) -> Result<(), String> {
    let root = place.mkdir("root");
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/below"), "below").unwrap();
    fs::write(root.join("d2"), "below").unwrap();
    fs::write(place.path().join("blob"), tar).unwrap();
    let target = Target { root: OwnedFd::from(File::open(&root).unwrap()), whiteouts, unprivileged: false };
    let blob = File::open(place.path().join("blob")).unwrap();
    let media_type = Compression::None.media_type();
    // a gzip magic at the start would contradict the media type; all else is read as a tar
    layer::unpack(blob, media_type, &Digest::of(tar), &target, &Limits::default(), &|_| {})
        .map(drop)
        .map_err(|err| base::error::describe(&err))
}
