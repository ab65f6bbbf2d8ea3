//! Archives and layouts that this file writes: correct ones in every form, and hostile ones.

use std::os::unix::fs::symlink;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::fixture::{Fixture, MANIFEST, describe, gzip, noise, tar_of};
use crate::{corm, images, stored};
use test_support::{Out, Sandbox};

/// Returns the entries of an archive of the fixture as `docker save` writes it; with `old`, with a directory for each
/// layer and links between them.
fn docker_archive(fixture: &Fixture, old: bool) -> Vec<(String, Entry)> {
    let mut files = Vec::new();
    let mut layers = Vec::new();
    for (at, digest) in fixture.layers.iter().enumerate() {
        let mut tar = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&fixture.blobs[digest][..]), &mut tar).unwrap();
        let name = if old { format!("{at}/layer.tar") } else { format!("{at}.tar") };
        if old {
            let real = format!("real{at}/layer.tar");
            files.push((name.clone(), Entry::Link(format!("../{real}"))));
            files.push((real, Entry::File(tar)));
        } else {
            files.push((name.clone(), Entry::File(tar)));
        }
        layers.push(name);
    }
    let config = format!("{}.json", fixture.id());
    files.push((config.clone(), Entry::File(fixture.blobs[&fixture.config].clone())));
    let manifest = json!([{ "Config": config, "RepoTags": ["web:v1", "r.io/web:v2"], "Layers": layers }]);
    files.push(("manifest.json".to_owned(), Entry::File(manifest.to_string().into_bytes())));
    files
}

#[derive(Clone)]
enum Entry {
    File(Vec<u8>),
    Link(String),
    Hard(String),
    Fifo,
}

fn tar(files: &[(String, Entry)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, entry) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        // writes the bytes itself, because set_path refuses the names that are tested
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        let (kind, data, link): (_, &[u8], &str) = match entry {
            Entry::File(data) => (tar::EntryType::Regular, data, ""),
            Entry::Link(to) => (tar::EntryType::Symlink, b"", to),
            Entry::Hard(to) => (tar::EntryType::Link, b"", to),
            Entry::Fifo => (tar::EntryType::Fifo, b"", ""),
        };
        header.set_entry_type(kind);
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_size(data.len() as u64);
        header.set_cksum();
        tar.append(&header, data).unwrap();
    }
    tar.into_inner().unwrap()
}

fn load(sandbox: &Arc<Sandbox>, archive: &[u8], more: &[&str]) -> Out {
    let file = sandbox.write("archive.tar", archive);
    corm(sandbox, &[&["load", file.to_str().unwrap()], more].concat()).out()
}

#[test]
fn docker_archives_old_and_new_plain_and_packed() {
    let fixture = Fixture::new();
    for old in [false, true] {
        let plain = tar(&docker_archive(&fixture, old));
        for archive in [gzip(&plain), plain] {
            let sandbox = Sandbox::new();
            assert_eq!(load(&sandbox, &archive, &[]).ok().stdout, "web:v1\nr.io/web:v2\n");
            let images = images(&sandbox);
            assert_eq!(images.len(), 1, "{images:?}");
            // the configuration is not changed, so the id is that of the saved image
            assert!(stored(&sandbox, "blobs/sha256").contains(&fixture.id().to_owned()));
            corm(&sandbox, &["fsck"]).out().ok();
        }
    }
    let sandbox = Sandbox::new();
    assert_eq!(
        load(&sandbox, &tar(&docker_archive(&fixture, false)), &["--name", "other"]).ok().stdout,
        "other:latest\n"
    );
    let stdin = corm(&Sandbox::new(), &["load", "-"]).stdin(tar(&docker_archive(&fixture, true))).out().ok();
    assert_eq!(stdin.stdout, "web:v1\nr.io/web:v2\n");
}

#[test]
fn layouts_as_directory_and_as_tar() {
    let (fixture, sandbox) = (Fixture::new(), Sandbox::new());
    let layout = sandbox.path("web");
    fixture.write_layout(&layout, "v1");
    assert_eq!(corm(&sandbox, &["load", layout.to_str().unwrap()]).out().ok().stdout, "web:v1\n");
    sandbox
        .program("tar")
        .args(["-C", layout.to_str().unwrap(), "-czf"])
        .arg(sandbox.path("Web.tar.gz"))
        .arg(".")
        .out()
        .ok();
    let packed = sandbox.path("Web.tar.gz");
    assert_eq!(corm(&sandbox, &["load", packed.to_str().unwrap()]).out().ok().stdout, "web:v1\n");
    assert_eq!(images(&sandbox).len(), 1);
    let record: Value = images(&sandbox).remove(0);
    assert!(record.to_string().contains(fixture.id()), "{record}");
}

#[test]
fn what_is_saved_is_loaded_the_same() {
    let (fixture, sandbox) = (Fixture::new(), Sandbox::new());
    let layout = sandbox.path("web");
    fixture.write_layout(&layout, "v1");
    corm(&sandbox, &["load", layout.to_str().unwrap()]).out().ok();
    let wanted = stored(&sandbox, "blobs/sha256");
    for format in ["oci-archive", "oci-dir", "docker-archive"] {
        let saved = sandbox.path(format);
        let save = || corm(&sandbox, &["save", "web:v1", "--format", format, "-o", saved.to_str().unwrap()]).out();
        assert_eq!(save().ok().stdout, "");
        let other = Sandbox::new();
        assert_eq!(corm(&other, &["load", saved.to_str().unwrap()]).out().ok().stdout, "web:v1\n", "{format}");
        if format == "docker-archive" {
            assert!(stored(&other, "blobs/sha256").contains(&fixture.id().to_owned()));
        } else {
            assert_eq!(stored(&other, "blobs/sha256"), wanted, "{format}");
        }
        // a second save writes the same bytes; a directory is not replaced
        if format == "oci-dir" {
            assert!(save().exits(1).stderr.contains("already exists"));
        } else {
            let before = std::fs::read(&saved).unwrap();
            save().ok();
            assert_eq!(std::fs::read(&saved).unwrap(), before, "{format}");
        }
    }
    // no temporary file is left, and a path that is no regular file is not replaced
    let mut left: Vec<String> = std::fs::read_dir(&sandbox.dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.retain(|name| name.len() == 64);
    assert_eq!(left, [""; 0]);
    let out = corm(&sandbox, &["save", "web:v1", "-o", "/dev/null"]).out().exits(1);
    assert!(out.stderr.contains("not a regular file"), "{out:?}");
    let out = corm(&sandbox, &["save", "none", "-o", "/nowhere/x"]).out().exits(1);
    assert!(out.stderr.contains("No image named 'none' exists"), "{out:?}");
    corm(&sandbox, &["save", "web:v1", "-o", "/nowhere/x"]).out().exits(1);
    // a damaged image is not saved
    let blob = sandbox.path("store/blobs/sha256").join(&fixture.layers[0]["sha256:".len()..]);
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let target = sandbox.path("damaged.tar");
    corm(&sandbox, &["save", "web:v1", "-o", target.to_str().unwrap()]).out().exits(1);
    assert!(!target.exists());
}

#[track_caller]
fn refused(sandbox: &Arc<Sandbox>, out: Out, want: &str) {
    let out = out.exits(1);
    assert!(out.stderr.contains(want), "{want:?} is not in {out:?}");
    assert!(!out.stderr.contains("panicked"), "{out:?}");
    assert_eq!(images(sandbox).len(), 0, "{out:?}");
    assert_eq!(stored(sandbox, "tmp"), [""; 0], "{out:?}");
}

#[test]
fn hostile_archives_are_refused() {
    let fixture = Fixture::new();
    let good = docker_archive(&fixture, false);
    let with = |name: &str, entry: Entry| {
        let mut files = good.clone();
        files.retain(|(old, _)| old != name);
        files.push((name.to_owned(), entry));
        tar(&files)
    };
    let manifest = |text: &str| with("manifest.json", Entry::File(text.as_bytes().to_vec()));
    let named = |config: &str, layers: Value| manifest(&json!([{ "Config": config, "Layers": layers }]).to_string());
    let config = format!("{}.json", fixture.id());
    let mut twice = good.clone();
    twice.push(("0.tar".to_owned(), Entry::File(vec![])));
    let mut tagged = json!([{ "Config": config, "Layers": ["0.tar", "1.tar", "2.tar"], "RepoTags": ["../../etc"] }]);
    let bad_tag = manifest(&tagged.to_string());
    tagged[0]["RepoTags"] = json!("web");
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("up", with("../../etc/cron.d/x", Entry::File(b"x".to_vec())), "outside of the archive"),
        ("absolute", with("/etc/x", Entry::File(b"x".to_vec())), "an absolute path"),
        ("link up", with("0.tar", Entry::Link("../../../etc/passwd".to_owned())), "outside of the archive"),
        ("link out", with("0.tar", Entry::Link("/etc/passwd".to_owned())), "an absolute path"),
        ("hard link out", with("0.tar", Entry::Hard("../etc/passwd".to_owned())), "outside of the archive"),
        ("link to itself", with("0.tar", Entry::Link("0.tar".to_owned())), "more than 8 links"),
        ("link to nothing", with("0.tar", Entry::Link("nothing".to_owned())), "not in the archive"),
        ("fifo", with("0.tar", Entry::Fifo), "neither a file"),
        ("twice", tar(&twice), "duplicate name"),
        ("other layer", with("0.tar", Entry::File(tar_of(&[("x", b"x")]))), "the configuration has"),
        ("other packed layer", with("0.tar", Entry::File(gzip(&tar_of(&[("x", b"x")])))), "its image has"),
        ("no json", manifest("{"), "not valid JSON"),
        ("no list", manifest("{}"), "not a list of images"),
        ("empty", manifest("[]"), "no image in it"),
        ("no config", manifest("[{}]"), "Config"),
        ("no layers", named(&config, json!([])), "0 layers, 3 in the configuration"),
        ("layers", named(&config, json!([1, 2, 3])), "is no string"),
        ("config outside", named("../../../etc/passwd", json!([])), "not in the archive"),
        ("host's config", named("/etc/passwd", json!([])), "not in the archive"),
        ("tags", bad_tag, "RepoTags"),
        ("tag", manifest(&tagged.to_string()), "RepoTags: not a list"),
        ("nothing known", tar_of(&[("hello", b"x")]), "neither index.json nor manifest.json"),
        ("no tar", b"hello, world".repeat(100), ""),
        ("nothing", Vec::new(), "neither index.json nor manifest.json"),
        ("cut", tar(&good)[..2000].to_vec(), "ends within"),
        ("cut gzip", gzip(&tar(&good))[..5000].to_vec(), ""),
        ("bomb", gzip(&vec![0; 128 << 20]), ""),
    ];
    for (what, archive, want) in table {
        let sandbox = Sandbox::new();
        let out = load(&sandbox, &archive, &[]);
        assert_eq!(out.code, Some(1), "{what}: {out:?}");
        refused(&sandbox, out, want);
    }
    assert!(!std::path::Path::new("/etc/cron.d/x").exists());
}

#[test]
fn item_11_layouts_with_symlinks_fifos_and_wrong_data_are_refused() {
    let fixture = Fixture::new();
    let path = |digest: &str| format!("blobs/sha256/{}", &digest["sha256:".len()..]);
    type Change = Box<dyn Fn(&std::path::Path)>;
    let replace = |name: String, make: fn(&std::path::Path)| -> Change {
        Box::new(move |dir| {
            std::fs::remove_file(dir.join(&name)).unwrap();
            make(&dir.join(&name));
        })
    };
    let index = |value: Value| -> Change {
        Box::new(move |dir| std::fs::write(dir.join("index.json"), value.to_string()).unwrap())
    };
    let mut outside = describe(MANIFEST, &fixture.blobs[&fixture.manifest]);
    outside["digest"] = json!("sha256:../../../../etc/passwd");
    let mut small = describe(MANIFEST, &fixture.blobs[&fixture.manifest]);
    small["size"] = json!(3);
    let passwd = |at: &std::path::Path| symlink("/etc/passwd", at).unwrap();
    let fifo = |at: &std::path::Path| nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let table: Vec<(&str, Change)> = vec![
        ("a symlink", replace(path(&fixture.layers[0]), passwd)),
        ("not a regular file", replace(path(&fixture.layers[0]), fifo)),
        ("not a regular file", replace(path(&fixture.config), fifo)),
        ("a symlink", replace(path(&fixture.manifest), passwd)),
        ("no OCI layout", replace("index.json".to_owned(), passwd)),
        ("oci-layout", replace("oci-layout".to_owned(), fifo)),
        ("no such file", replace(path(&fixture.layers[1]), |_| ())),
        ("were announced", replace(path(&fixture.layers[1]), |at| std::fs::write(at, "short").unwrap())),
        ("instead of", replace(path(&fixture.manifest), |at| std::fs::write(at, "{}").unwrap())),
        ("digest", index(json!({ "schemaVersion": 2, "manifests": [outside] }))),
        ("instead of 3", index(json!({ "schemaVersion": 2, "manifests": [small] }))),
        ("no image in it", index(json!({ "schemaVersion": 2, "manifests": [] }))),
        ("manifest", index(json!({ "manifests": [] }))),
        ("both a manifest and an index", index(json!({ "schemaVersion": 2, "manifests": [], "layers": [] }))),
    ];
    for (want, change) in table {
        let sandbox = Sandbox::new();
        let dir = sandbox.path("layout");
        fixture.write_layout(&dir, "v1");
        change(&dir);
        refused(&sandbox, corm(&sandbox, &["load", dir.to_str().unwrap()]).out(), want);
    }
}

/// Returns an archive as new versions of Docker write it: an OCI layout and a docker archive in one.
pub(crate) fn both(index_of: &Fixture, docker: &Fixture, index_tag: &str) -> Vec<u8> {
    let sandbox = Sandbox::new();
    let layout = sandbox.path("layout");
    index_of.write_layout(&layout, index_tag);
    let mut files = docker_archive(docker, false);
    for name in ["oci-layout", "index.json"] {
        files.push((name.to_owned(), Entry::File(std::fs::read(layout.join(name)).unwrap())));
    }
    for (digest, bytes) in &index_of.blobs {
        files.push((format!("blobs/sha256/{}", &digest["sha256:".len()..]), Entry::File(bytes.clone())));
    }
    tar(&files)
}

#[test]
fn index_json_and_manifest_json_are_joined_and_none_is_lost() {
    let one = Fixture::new();
    let other = Fixture::of_layers(&[tar_of(&[("other", b"x")])], &json!({ "Cmd": ["other"] }));
    // one image in both, with names in both
    let sandbox = Sandbox::new();
    let out = load(&sandbox, &both(&one, &one, "r.io/web:v2"), &[]).ok();
    assert_eq!(out.stdout, "r.io/web:v2\nweb:v1\n");
    assert_eq!(images(&sandbox).len(), 1);
    // another in each
    let sandbox = Sandbox::new();
    let out = load(&sandbox, &both(&one, &other, "r.io/one:v2"), &[]).ok();
    assert_eq!(out.stdout, "r.io/one:v2\nweb:v1\nr.io/web:v2\n");
    assert_eq!(images(&sandbox).len(), 2);
    corm(&sandbox, &["fsck"]).out().ok();
    // one name for two images: tools would differ
    let sandbox = Sandbox::new();
    let out = load(&sandbox, &both(&one, &other, "docker.io/library/web:v1"), &[]).exits(1).one_line();
    assert!(out.stderr.contains("disagree") && images(&sandbox).is_empty(), "{out:?}");
}

#[test]
fn what_is_left_out_of_an_index_is_told() {
    let fixture = Fixture::new();
    let sandbox = Sandbox::new();
    let layout = sandbox.path("web");
    fixture.write_layout(&layout, "v1");
    let mut index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let (mut unnamed, mut foreign) = (index["manifests"][0].clone(), index["manifests"][0].clone());
    unnamed.as_object_mut().unwrap().remove("annotations");
    foreign["digest"] = json!(format!("sha512:{}", "ab".repeat(64)));
    index["manifests"].as_array_mut().unwrap().extend([unnamed, foreign]);
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    let out = corm(&sandbox, &["load", layout.to_str().unwrap()]).out().ok();
    assert_eq!(out.stdout, "web:v1\n");
    assert_eq!(out.stderr.matches("is left out").count(), 2, "{out:?}");
    assert!(out.stderr.contains("sha512:"), "{out:?}");
}

/// Compresses bytes with a program.
fn packed_by(sandbox: &Arc<Sandbox>, program: &[&str], bytes: &[u8]) -> Vec<u8> {
    let file = sandbox.write("to-pack", bytes);
    let [program, args @ ..] = program else { panic!("no program") };
    sandbox.program(program).args(args).arg("-kf").arg(&file).out().ok();
    let suffix = if *program == "xz" { "xz" } else { "bz2" };
    std::fs::read(file.with_extension(suffix)).unwrap()
}

#[test]
fn archives_and_tars_packed_with_xz_or_bzip2_are_read() {
    let fixture = Fixture::of_layers(&[tar_of(&[("data/noise", &noise(200_000))])], &json!({ "Cmd": ["sh"] }));
    let sandbox = Sandbox::new();
    let plain = tar(&docker_archive(&fixture, false));
    let rootfs = tar_of(&[("etc/hello", b"hello\n")]);
    for program in [&["xz"][..], &["xz", "-9e"], &["bzip2"]] {
        let archive = packed_by(&sandbox, program, &plain);
        assert_eq!(load(&Sandbox::new(), &archive, &[]).ok().stdout, "web:v1\nr.io/web:v2\n", "{program:?}");
        // several streams in one file, as parallel compressors write them
        let (first, second) = plain.split_at(plain.len() / 2);
        let streams = [packed_by(&sandbox, program, first), packed_by(&sandbox, program, second)].concat();
        load(&Sandbox::new(), &streams, &[]).ok();
        for end in [archive.len() / 2, archive.len() - 3] {
            load(&Sandbox::new(), &archive[..end], &[]).exits(1).one_line();
        }
        let (packed, sandbox) = (packed_by(&sandbox, program, &rootfs), Sandbox::new());
        corm(&sandbox, &["import", "-", "fs"]).stdin(&packed).out().ok();
        let out = corm(&sandbox, &["export", "fs", "-o"]).arg(sandbox.path("out.tar")).out();
        out.ok();
        let exported = std::fs::read(sandbox.path("out.tar")).unwrap();
        assert!(exported.windows(6).any(|bytes| bytes == b"hello\n"), "{program:?}");
        // the layer is one that every tool reads
        let record = corm(&sandbox, &["inspect", "fs"]).out().ok().stdout;
        assert!(record.contains("tar+gzip"), "{record}");
        corm(&sandbox, &["import", "-", "cut"]).stdin(&packed[..packed.len() / 2]).out().exits(1).one_line();
    }
    // a header that asks for more memory than any archive needs
    let huge = packed_by(&sandbox, &["xz", "--lzma2=dict=1GiB"], &plain);
    load(&Sandbox::new(), &huge, &[]).exits(1).one_line().no_panic();
}
