#!/bin/bash
# test-image.sh: every test of corm: stores and layers over btrfs (a loop file), overlay and copy, registries and archives
# with Debian's docker-registry, Podman, skopeo and umoci on the other side, the seed designs, a real root file system of
# Debian, kills at 200 points, 10 000 random sequences of operations, a sample of the power cuts.
# Environment: AUFS_KERNEL  a User Mode Linux kernel with the AUFS patches: the store's tests run on a real AUFS in a guest.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
debian=${XDG_CACHE_HOME:-$HOME/.cache}/croci-debian-root
if [ ! -e "$debian" ]; then
    scripts/apt-install debootstrap
    rm -rf "$debian.new"
    # the mirror that this machine's apt uses
    mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p)}
    debootstrap --variant=minbase bookworm "$debian.new" "$mirror" >/dev/null
    mv "$debian.new" "$debian"
fi
export DEBIAN_ROOT=$debian
cargo build --locked --workspace
KILLS=200 SEQUENCES=10000 cargo test --locked -p corm
if [ -z "${AUFS_KERNEL:-}" ]; then
    echo "skipped: AUFS: no kernel with AUFS is given (AUFS_KERNEL=FILE)"
    exit 0
fi
vm/setup
test=$(cargo test --locked --no-run --message-format=json-render-diagnostics -p corm --test store |
    python3 -c 'import json, sys; print(*[m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["name"] == "store"])')
# the other drivers have run here; the sequences compare several
DRIVERS=aufs vm/cg2-run --kernel "$AUFS_KERNEL" --timeout 3000 "$test" --test-threads 2 --skip sequences
