#!/bin/bash
# faults-guests.sh: faults at a sample of system calls where cgroup v2 is the only hierarchy, in a guest in which croci creates the
# cgroups and in one in which systemd does, and what came of it in docs/generated/reliability.md. A part of `make faults-full`.
# GUEST_POINTS=30 of each verb of croci, CORM_POINTS=3 of each of corm. RUNTIME=, CORM=: these programs, else the release is
# built, because a guest is slow. GUESTS="v2 systemd corm": these runs alone.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
vm/setup
if ! kernel=$(vm/cg2-run uname -r 2>&1); then
    echo "faults-guests: skipped: this machine runs no guest: $kernel"
    exit 0
fi
kernel=$(tail -n 1 <<<"$kernel")
target=${CARGO_TARGET_DIR:-$PWD/target}
if [ -z "${RUNTIME:-}" ] || [ -z "${CORM:-}" ]; then
    scripts/toolchain scripts/build-release.sh
fi
export RUNTIME=${RUNTIME:-$target/dist/croci} CORM=${CORM:-$target/dist/corm} SWEEP=sample TEST_PATIENCE=10

# both tests by one build of the workspace, because another selection of packages would build everything anew
built=$(cargo test --locked --workspace --test faults --test sweep --no-run --message-format=json-render-diagnostics)
# binary SOURCE: print the path of a test's program
binary() {
    python3 -c '
import json, sys
for message in map(json.loads, sys.stdin):
    if message.get("executable") and message["target"]["src_path"].endswith(sys.argv[1]):
        print(message["executable"])' "/$1" <<<"$built"
}
croci=$(binary tests/faults/main.rs) corm=$(binary tests/sweep/main.rs)

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# guest NAME SUFFIX POINTS PROGRAM OPTION... -- COMMAND...: the sweep over a program's verbs in a guest
guest() {
    local name=$1 title="Faults at a sample of system calls, cgroup v2$2, $4" points=$3 program=$4
    shift 4
    [[ " ${GUESTS:-$name} " = *" $name "* ]] || return 0
    # a directory that the guest has of its own hides the host's
    for dir in "$PWD" "$target" "$(dirname "$RUNTIME")" "$(dirname "$CORM")"; do
        case $dir/ in /tmp/* | /var/tmp/* | /run/*) set -- --share "$dir" "$@" ;; esac
    done
    SWEEP_POINTS=$points vm/cg2-run --timeout 20000 "$@" 2>&1 | tee "$log" || status=$?
    ! grep -aq '^sweep: ' "$log" || RELIABILITY_KERNEL=${kernel%%-*} scripts/reliability.py faults "$log" "$title" "$program"
}
guest v2 '' "${GUEST_POINTS:-30}" croci -- "$croci" --nocapture sweep::
CROCI_TEST_MANAGER=systemd guest systemd ' by systemd' "${GUEST_POINTS:-30}" croci --systemd -- "$croci" --nocapture sweep::
guest corm '' "${CORM_POINTS:-3}" corm -- "$corm" --nocapture every_verb_with
exit $status
