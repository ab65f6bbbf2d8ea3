#!/bin/bash
# test.sh [cargo test arguments]: every test of the workspace. The integration tests drive the debug binaries, as root.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
[ "$(id -u)" = 0 ] || echo "test.sh: not root: tests that need it will fail" >&2
exec cargo test --workspace --locked "$@"
