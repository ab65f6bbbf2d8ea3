#!/bin/bash
# test-critest.sh: Kubernetes' critest by croci's shim and by runc's shim with croci, with the containerd of Debian and that of unstable; with the
# latter also where croci's shim makes the pods (sandboxer = "shim").
# CRITEST: the program (critest in PATH), which `make critest` builds in a clone of kubernetes-sigs/cri-tools. REPORT=DIR keeps the verdicts.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || { echo "test-critest.sh: needs root" >&2; exit 1; }
scripts/apt-install busybox-static util-linux iproute2 iptables python3 gcc libc6-dev catatonit containerd runc containernetworking-plugins
scripts/unstable.sh "${XDG_CACHE_HOME:-$HOME/.cache}/croci-unstable/containerd" containerd || true
RUNTIME=${RUNTIME:-${CARGO_TARGET_DIR:-target}/dist/croci}
status=0
for version in stable unstable sandboxer; do
    echo "# containerd of $version"
    options=()
    [ "$version" = stable ] || options+=(--unstable)
    [ "$version" != sandboxer ] || options+=(--sandboxer)
    [ -z "${REPORT:-}" ] || options+=(--report "$REPORT/$version.json")
    tests/callers/critest --critest "${CRITEST:-critest}" --runtime "$RUNTIME" "${options[@]}" || status=1
done
exit $status
