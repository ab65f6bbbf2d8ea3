#!/bin/bash
# test-callers.sh [CALLER...]: Podman, containerd, Buildah, rootless Podman and Docker drive croci; see tests/callers/run.
# RUNTIME=crun, runc or a path runs the same with another runtime. RECORD=FILE keeps the verdicts for tests/callers/table.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || { echo "test-callers.sh: needs root" >&2; exit 1; }
scripts/apt-install busybox-static util-linux iproute2 python3 podman conmon catatonit containerd buildah docker.io \
    uidmap slirp4netns
if [ -z "${RUNTIME:-}" ]; then
    cargo build --locked --quiet --bin croci
    RUNTIME=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/debug/croci
fi
exec tests/callers/run --runtime "$RUNTIME" ${RECORD:+--record "$RECORD"} "$@"
