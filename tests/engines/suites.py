"""The suites: where each one's source comes from, how it is prepared, which files it has, with which environment they run."""
import os
import shutil
from pathlib import Path

import images

# Debian's tests of the versions that are installed; the package is named after the upstream project. Left out: what needs
# systemd as the machine's init, a network to the outside, SSH or another engine, and does not reach the runtime.
WITHOUT = {
    "podman": {"015-help", "150-login", "250-systemd", "251-system-service", "270-socket-activation", "271-tcp-cors-server",
               "272-system-connection", "600-completion", "750-trust", "900-ssh", "410-selinux", "330-corrupt-images",
               "255-auto-update", "110-history", "020-tag", "011-image"},
    "buildah": {"authenticate", "blobcache", "selinux", "sign", "ssh", "tutorial", "help", "lists", "pull", "push", "digest",
                "formats", "history", "images", "rmi", "tag", "source", "inspect", "registries", "byid", "config", "copy", "add",
                "commit", "from", "info", "loglevel", "rename", "rm", "squash", "containers"},
    "conmon": set(),
}
CONF = """[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
runtime = "{name}"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "shm"
"""
# `copy` of Buildah's tests is a program of its source that needs its libraries; skopeo does the same
COPY = """#!/bin/bash
while [[ ${1:-} == --* ]]; do
    case $1 in
        --root) root=$2; shift 2;; --runroot) runroot=$2; shift 2;; --storage-driver) driver=$2; shift 2;;
        --registries-conf|--registries-conf-dir|--short-name-alias-conf) shift 2;; *) shift;;
    esac
done
args=()
for place; do
    case $place in
        containers-storage:\\[*) ;;
        containers-storage:*) place="containers-storage:[$driver@$root+$runroot]${place#containers-storage:}";;
    esac
    args+=("$place")
done
exec skopeo --insecure-policy copy -q "${args[@]}"
"""


def debian_source(package, into):
    """Returns the directory of Debian's unpacked source package, which scripts/test-engines.sh has downloaded, because a run has no
    network."""
    found = sorted(path for path in into.glob(package + "-*") if path.is_dir())
    if not found:
        raise LookupError(f"the source package {package} could not be downloaded")
    return found[-1]


class Suite:
    """One suite: `directory` with its files, `env` that they run with. Raises `LookupError` when its source cannot be had."""

    def __init__(self, name, cache, work, runtime):
        self.name, self.work = name, work
        tests = getattr(self, "_" + name)(cache)
        self.directory = work / name
        shutil.copytree(tests, self.directory, symlinks=True)
        self.env = {**os.environ, "HOME": str(work), "XDG_RUNTIME_DIR": "", "BATS_TEST_TIMEOUT": "180", "TERM": "xterm"}
        self.env.update(getattr(self, f"_{name}_env")(runtime))

    def files(self, wanted):
        """Returns the files to run: those whose name begins with a word of `wanted`, or all but WITHOUT."""
        every = sorted(self.directory.glob("*.bats"))
        if wanted:
            return [file for file in every if any(file.stem.startswith(word) for word in wanted)]
        return [file for file in every if file.stem not in WITHOUT[self.name]]

    def _podman(self, cache):
        return debian_source("libpod", cache) / "test/system"

    def _podman_env(self, runtime):
        return {"PODMAN": "/usr/bin/podman", "PODMAN_TIMEOUT": "60"}

    def _buildah(self, cache):
        return debian_source("golang-github-containers-buildah", cache) / "tests"

    def _buildah_env(self, runtime):
        (self.directory / "registries.conf").write_text(images.registries_conf())
        copy = self.work / "copy"
        images.write(copy, COPY, 0o755)
        return {"BUILDAH_BINARY": "/usr/bin/buildah", "BUILDAH_RUNTIME": runtime, "COPY_BINARY": str(copy),
                "STORAGE_DRIVER": "overlay", "BUILDAH_TIMEOUT": "60", "BUILDAH_ISOLATION": "oci"}

    def _conmon(self, cache):
        place = os.environ.get("CONMON_SOURCE")
        if not place:
            raise LookupError("Debian's source package of conmon has no such tests; CONMON_SOURCE=DIR names a checkout of 2.2 or later")
        return Path(place) / "test"

    def _conmon_env(self, runtime):
        return {"CONMON_BINARY": os.environ.get("CONMON", "/usr/bin/conmon"), "RUNTIME_BINARY": runtime,
                "UBI10_MICRO_IMAGE": "quay.io/libpod/alpine:latest"}
