//! The same images unpacked by umoci, whose trees are the measure: one image is one tree, whatever the driver.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use corm::driver::DriverKind;
use corm::model::digest::Digest;
use serde_json::json;
use test_support::tree::{self, Tree};

/// A layout with one image and the bundle that umoci unpacks it to; removed on drop.
pub(crate) struct Layout(pub PathBuf);

impl Drop for Layout {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Layout {
    /// Creates the layout.
    pub(crate) fn new(layers: &[Vec<u8>]) -> Layout {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("corm-umoci-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let layout = Layout(std::env::temp_dir().join(name));
        fs::create_dir_all(layout.0.join("blobs/sha256")).unwrap();
        fs::write(layout.0.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let diff_ids: Vec<String> = layers.iter().map(|tar| Digest::of(tar).to_string()).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let layers: Vec<_> =
            layers.iter().map(|tar| layout.put("application/vnd.oci.image.layer.v1.tar", tar)).collect();
        let config = layout.put("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        let mut manifest = layout.put("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": "it"});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(layout.0.join("index.json"), index.to_string()).unwrap();
        layout
    }

    /// Stores a blob and returns its descriptor.
    fn put(&self, media_type: &str, bytes: &[u8]) -> serde_json::Value {
        let digest = Digest::of(bytes);
        fs::write(self.0.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    }
}

/// Returns whether umoci is installed; without it nothing is compared.
pub(crate) fn is_installed() -> bool {
    let there = Command::new("umoci").arg("--version").output().is_ok_and(|out| out.status.success());
    if !there {
        test_support::report_skip("umoci is not installed");
    }
    there
}

/// Returns umoci's tree of an image, or its message.
pub(crate) fn tree_of(layers: &[Vec<u8>]) -> Result<Tree, String> {
    let layout = Layout::new(layers);
    let bundle = layout.0.join("bundle");
    let image = format!("{}:it", layout.0.display());
    let out = Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle).output().unwrap();
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).trim().to_owned());
    }
    Ok(tree::read(&bundle.join("rootfs")))
}

/// Fails unless the tree at `root` is umoci's. Not compared are times that are of the unpacking itself, of directories
/// without an entry, and the files of aufs itself, which umoci unpacks and corm and Docker leave out. Of a tree that aufs has
/// joined neither the times of directories that the last layer changes below, nor which names are one file.
#[track_caller]
pub(crate) fn assert_same(name: &str, umoci: &Tree, root: &Path, driver: DriverKind) {
    let mut ours = tree::read(root);
    if !takes_attributes_of_users() {
        ours.values_mut().for_each(|facts| facts.xattrs.retain(|(name, _)| !name.starts_with("user.")));
    }
    let recent = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 - 24 * 3600;
    let mut theirs = umoci.clone();
    theirs.retain(|path, _| !path.to_string_lossy().contains(".wh..wh."));
    for (path, facts) in &mut theirs {
        let Some(our) = ours.get_mut(path) else { continue };
        // aufs itself: a directory that it copies into the layer on top has the time of that
        let of_aufs = driver == DriverKind::Aufs && our.mode & libc::S_IFMT == libc::S_IFDIR && our.mtime.0 > recent;
        if facts.mtime.0 > recent || of_aufs {
            our.mtime = facts.mtime;
        }
        // aufs itself: a link into a layer below is a file of its own
        if driver == DriverKind::Aufs && our.content == facts.content {
            our.same_as.clone_from(&facts.same_as);
        }
    }
    eprintln!("{name}: compared with umoci's tree of {} names", theirs.len());
    tree::assert_same(&theirs, &ours);
}

/// Returns whether files where umoci unpacks can have `user.*` attributes; on tmpfs since Linux 6.6.
fn takes_attributes_of_users() -> bool {
    static TAKES: OnceLock<bool> = OnceLock::new();
    // once, because the tests run side by side
    *TAKES.get_or_init(try_attributes_of_users)
}

fn try_attributes_of_users() -> bool {
    let file = std::env::temp_dir().join(format!("corm-umoci-{}-xattr", std::process::id()));
    fs::write(&file, "").unwrap();
    let path = CString::new(file.as_os_str().as_bytes()).unwrap();
    let takes = linux::file::set_xattr(&path, c"user.any", b"").is_ok();
    fs::remove_file(&file).unwrap();
    takes
}
