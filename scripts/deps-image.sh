#!/bin/bash
# deps-image.sh: the Debian packages that the tests of corm need besides those of deps.sh; at once when nothing is missing.
#   docker-registry         the registry of the tests, on loopback       openssl  certificates for it
#   skopeo, umoci, podman   the other side: they read what corm writes, and write what corm reads
#   netavark, aardvark-dns, passt, slirp4netns  the programs that make networks
#   xz-utils, zstd, bzip2, git  archives and repositories that a build adds
#   btrfs-progs, xfsprogs   file systems in files: for the btrfs driver, and for the power cuts
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
had_registry=$(dpkg-query -W -f '${db:Status-Status}' docker-registry 2>/dev/null || true)
"$here/apt-install" docker-registry openssl skopeo umoci podman netavark aardvark-dns passt slirp4netns btrfs-progs xfsprogs xz-utils zstd bzip2 git
# the tests start registries of their own; the service that comes with the package is nobody's wish
if [ "$had_registry" != installed ] && [ -d /run/systemd/system ]; then
    systemctl disable --now docker-registry >/dev/null 2>&1 || true
fi
