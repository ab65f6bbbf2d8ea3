#!/bin/bash
# test-callers.sh [CALLER...]: Podman, containerd, Buildah, rootless Podman and Docker drive croci; see tests/callers/run.
# containerd and Docker also in their newest versions, which Debian unstable has: unpacked below ~/.cache, not installed.
# RUNTIME=crun, runc or a path runs the same with another runtime. RECORD=FILE keeps the verdicts for tests/callers/table.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || { echo "test-callers.sh: needs root" >&2; exit 1; }
scripts/apt-install busybox-static util-linux iproute2 python3 podman conmon catatonit containerd buildah docker.io \
    uidmap slirp4netns
# a run has no network; what cannot be had is skipped there
cache=${XDG_CACHE_HOME:-$HOME/.cache}
scripts/criu.sh >/dev/null || true
for package in containerd docker.io docker-cli; do
    scripts/unstable.sh "$cache/croci-unstable/$package" "$package" || true
done
if [ -z "${RUNTIME:-}" ]; then
    cargo build --locked --quiet --workspace --bin croci --bin containerd-shim-croci-v2
    RUNTIME=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/debug/croci
fi
exec tests/callers/run --runtime "$RUNTIME" ${RECORD:+--record "$RECORD"} "$@"
