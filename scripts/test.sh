#!/bin/bash
# test.sh [cargo test arguments]: every test of the workspace. The integration tests drive the debug binaries, as root.
# The last lines are a table: passed, failed and skipped tests, and what was skipped, with the reason. With
# CROCI_TESTS_NO_SKIP=1 a skipped test is a failed one.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
[ "$(id -u)" = 0 ] || echo "test.sh: not root: tests that need it will fail" >&2
log=$(mktemp)
# under sudo: the user's next build needs these files
trap 'rm -f "$log"; [ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID:${SUDO_GID:-}" target "${CARGO_HOME:-target}"' EXIT
status=0
# all binaries, so that one run shows everything that is wrong
cargo test --workspace --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

# sum WORD: the sum of the numbers before WORD in the lines `test result:`
sum() { sed -n "s/^test result: .* \([0-9]*\) $1.*/\1/p" "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }
skipped=$(grep -ac '^skipped: ' "$log" || true)
echo
echo "== tests: $(($(sum passed) - skipped)) passed, $(sum failed) failed, $skipped skipped"
sed -n 's/^test \(.*\) \.\.\. FAILED$/   failed: \1/p' "$log" | sort -u
# one line a reason; the place of the test is in the line of its skip above
sed -n 's/ ([^()]*)$//; s/^skipped: //p' "$log" | sort | uniq -c | sort -rn | while read -r count reason; do
    case $reason in
        *aufs*) how="make test-image AUFS_KERNEL=FILE" ;;
        *"cgroup v2"* | *cgroup.max* | *systemd* | *AppArmor*) how="make test-vm, which runs them in a guest" ;;
        *) how="" ;;
    esac
    printf '   skipped: %4d  %s%s\n' "$count" "$reason" "${how:+  ($how)}"
done
exit $status
