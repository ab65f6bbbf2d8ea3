#!/bin/bash
# test-engines.sh [SUITE[:FILE,...]...]: the own tests of Podman, Buildah and conmon with crun and with croci; see tests/engines/run.
# The tests come from Debian's source packages; a suite whose source cannot be had is skipped with the reason.
# RUNTIME=PATH runs another one in croci's place. RECORD=DIR keeps the output of every file.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || { echo "test-engines.sh: needs root" >&2; exit 1; }
scripts/apt-install apache2-utils bats buildah busybox-static catatonit conmon crun docker-registry git iproute2 jq ncat openssl podman \
    python3 runc skopeo socat util-linux xz-utils
cache=${XDG_CACHE_HOME:-$HOME/.cache}
export CACHE=$cache/croci-engines
for package in libpod golang-github-containers-buildah; do
    compgen -G "$CACHE/$package-*/" >/dev/null || tests/engines/source.sh "$package" "$CACHE" || true # a run has no network
done
scripts/criu.sh >/dev/null || true
export PATH=$cache/croci-criu:$PATH
if [ -z "${RUNTIME:-}" ]; then
    scripts/build-release.sh
    RUNTIME=${CARGO_TARGET_DIR:-target}/dist/croci
fi
exec tests/engines/run --runtime crun --runtime "$RUNTIME" ${RECORD:+--record "$RECORD"} "$@"
