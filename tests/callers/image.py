"""One image for all callers, created from the machine's static busybox: a directory, its tar, and an OCI archive."""
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

NAME = "localhost/callers:1"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def make_rootfs(rootfs):
    """Creates a root file system with every applet of busybox, two users, and files that cannot be executed."""
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "home/user", "data"):
        (rootfs / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", rootfs / "bin/busybox")
    for applet in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            os.symlink("busybox", rootfs / "bin" / applet)
    (rootfs / "bin/pause").write_text("#!/bin/sh\nexec sleep 1000\n")  # the infra container of a pod takes one word
    (rootfs / "bin/pause").chmod(0o755)
    (rootfs / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
    (rootfs / "etc/group").write_text("root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")
    (rootfs / "etc/not-executable").write_text("#!/bin/sh\n")
    (rootfs / "tmp").chmod(0o1777)
    os.chown(rootfs / "home/user", 1000, 1000)


def make_tar(rootfs, path):
    with tarfile.open(path, "w") as tar:
        tar.add(rootfs, arcname=".")


def make_oci_archive(layer_tar, path, name=NAME, settings=None):
    """Creates an image layout of one layer in a tar, as `ctr images import` and `podman load` read it. `settings`: more of
    the image's configuration."""
    layer = layer_tar.read_bytes()
    packed = gzip.compress(layer, mtime=0)
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Env": [PATH], "Cmd": ["/bin/sh"], **(settings or {})},
        "history": [{"created": "2022-06-15T18:56:34Z", "created_by": "tests/callers/image.py"}], "created": "2022-06-15T18:56:34Z",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()
    blobs = []

    def blob(media_type, data):
        digest = hashlib.sha256(data).hexdigest()
        blobs.append((f"blobs/sha256/{digest}", data))
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("config.v1+json", config), "layers": [blob("layer.v1.tar+gzip", packed)],
    }).encode()
    entry = blob("manifest.v1+json", manifest)
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    with tarfile.open(path, "w") as tar:
        for name, data in [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index), *blobs]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


class Image:
    """The files `rootfs`, `tar` and `archive` of the image, which are created below a directory."""

    def __init__(self, work: Path):
        self.rootfs, self.tar, self.archive = work / "rootfs", work / "rootfs.tar", work / "image.tar"
        make_rootfs(self.rootfs)
        make_tar(self.rootfs, self.tar)
        make_oci_archive(self.tar, self.archive)
