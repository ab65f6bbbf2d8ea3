#!/bin/bash
# test.sh [cargo test arguments]: every test of the workspace. The integration tests drive the debug binaries, as root.
# The last lines are a table: passed, failed and skipped tests, and what was skipped, with the reason. With
# CROCI_TESTS_NO_SKIP=1 a skipped test is a failed one. A few tests that fail are run once more, alone, because a busy machine may
# have been too slow for a deadline; the table has those that pass then.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
[ "$(id -u)" = 0 ] || echo "test.sh: not root: tests that need it will fail" >&2
log=$(mktemp)
# under sudo: the user's next build needs these files
trap 'rm -f "$log" "$log.again"; [ -z "${SUDO_UID:-}" ] || chown -R "$SUDO_UID:${SUDO_GID:-}" target "${CARGO_HOME:-target}"' EXIT
status=0
# all binaries, so that one run shows everything that is wrong
cargo test --workspace --locked --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?

mapfile -t failed < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log" | sort -u)
again=""
# `-p croci --test faults`, without the package, because another selection of packages would build everything anew
# shellcheck disable=SC2016
mapfile -t targets < <(sed -n 's/^ *`-p [^ ]* \(--[^`]*\)`$/\1/p' "$log")
# a target without such a line was killed, or could not be built
reported=$(grep -ac '^test result: FAILED' "$log" || true)
if [ $status != 0 ] && [ ${#failed[@]} -gt 0 ] && [ ${#failed[@]} -le 5 ] && [ "$reported" = ${#targets[@]} ]; then
    mapfile -t targets < <(printf '%s\n' "${targets[@]}" | tr ' ' '\n')
    echo "== once more: ${failed[*]}"
    status=0
    cargo test --workspace --locked --no-fail-fast "${targets[@]}" -- --exact --test-threads=1 "${failed[@]}" 2>&1 | tee "$log.again" || status=$?
    ran=$(grep -cE '^test .* \.\.\. ok$' "$log.again" || true)
    [ "$ran" -ge ${#failed[@]} ] || status=1
    [ $status != 0 ] || again=" (the second time: ok)"
fi

# sum WORD: the sum of the numbers before WORD in the lines `test result:`
sum() { sed -n "s/^test result: .* \([0-9]*\) $1.*/\1/p" "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }
skipped=$(grep -ac '^skipped: ' "$log" || true)
echo
echo "== tests: $(($(sum passed) - skipped)) passed, $(sum failed) failed, $skipped skipped"
[ ${#failed[@]} = 0 ] || printf "   failed: %s$again\n" "${failed[@]}"
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
