#!/bin/bash
# faults-guests.sh: faults at a sample of system calls where cgroup v2 is the only hierarchy, in a guest in which croci creates the
# cgroups and in one in which systemd does, and what came of it in docs/generated/reliability.md. A part of `make faults-full`.
# SWEEP_POINTS=30 of each verb of croci, CORM_POINTS=3 of each of corm. RUNTIME=, CORM=: these programs, else the release is
# built, because a guest is slow.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
vm/setup
if ! kernel=$(vm/cg2-run uname -r 2>&1); then
    echo "faults-guests: skipped: this machine runs no guest: $kernel"
    exit 0
fi
kernel=$(tail -n 1 <<<"$kernel")
[ -n "${RUNTIME:-}" ] || scripts/toolchain scripts/build-release.sh
target=${CARGO_TARGET_DIR:-$PWD/target}
export RUNTIME=${RUNTIME:-$target/dist/croci} CORM=${CORM:-$target/dist/corm} SWEEP=sample TEST_PATIENCE=10

# binary PACKAGE TEST: build a test, and print the path of its program
binary() {
    cargo test --locked -p "$1" --test "$2" --no-run --message-format=json-render-diagnostics | python3 -c '
import json, sys
found = [message["executable"] for message in map(json.loads, sys.stdin) if message.get("executable") and message["profile"]["test"]]
print(found[-1])'
}
croci=$(binary croci faults) corm=$(binary corm sweep)

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# guest SUFFIX POINTS PROGRAM OPTION... -- COMMAND...: the sweep over a program's verbs in a guest
guest() {
    local title="Faults at a sample of system calls, cgroup v2$1, $3" points=$2 program=$3
    shift 3
    # a directory that the guest has of its own hides the host's
    for dir in "$PWD" "$target" "$(dirname "$RUNTIME")" "$(dirname "$CORM")"; do
        case $dir/ in /tmp/* | /var/tmp/* | /run/*) set -- --share "$dir" "$@" ;; esac
    done
    SWEEP_POINTS=$points vm/cg2-run --timeout 20000 "$@" 2>&1 | tee "$log" || status=$?
    ! grep -aq '^sweep: ' "$log" || RELIABILITY_KERNEL=${kernel%%-*} scripts/reliability.py faults "$log" "$title" "$program"
}
guest '' "${SWEEP_POINTS:-30}" croci -- "$croci" --nocapture sweep::
CROCI_TEST_MANAGER=systemd guest ' by systemd' "${SWEEP_POINTS:-30}" croci --systemd -- "$croci" --nocapture sweep::
guest '' "${CORM_POINTS:-3}" corm -- "$corm" --nocapture every_verb_with
exit $status
