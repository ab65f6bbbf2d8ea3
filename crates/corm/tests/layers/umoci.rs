//! The same images unpacked by umoci, whose trees are the measure: one image is one tree, whatever the driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

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
/// without an entry, and the files of aufs itself, which umoci unpacks and corm and Docker leave out.
#[track_caller]
pub(crate) fn assert_same(name: &str, umoci: &Tree, root: &Path) {
    let mut ours = tree::read(root);
    let recent = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64 - 24 * 3600;
    let mut theirs = umoci.clone();
    theirs.retain(|path, _| !path.to_string_lossy().contains(".wh..wh."));
    for (path, facts) in &mut theirs {
        if let Some(our) = ours.get_mut(path).filter(|_| facts.mtime.0 > recent) {
            our.mtime = facts.mtime;
        }
    }
    eprintln!("{name}: compared with umoci's tree of {} names", theirs.len());
    tree::assert_same(&theirs, &ours);
}
