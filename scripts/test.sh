#!/bin/bash
# test.sh [cargo test arguments]: every test of the workspace. The integration tests drive the debug binaries, as root.
# What was skipped is listed at the end; with CROCI_TESTS_NO_SKIP=1 a skipped test is a failed one.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
[ "$(id -u)" = 0 ] || echo "test.sh: not root: tests that need it will fail" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --workspace --locked "$@" 2>&1 | tee "$log" || status=$?
echo "test.sh: $(grep -ac '^skipped: ' "$log" || true) skips"
grep -a '^skipped: ' "$log" | sort | uniq -c | sort -rn || true
exit $status
