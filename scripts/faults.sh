#!/bin/bash
# faults.sh [--full]: each verb of croci and corm with a fault at a sample of its system calls, or at all of them, and what came
# of it in docs/generated/reliability.md. SWEEP_VERB=create: that verb alone, and nothing is written.
# With --full the programs are the release, and a sample is also taken in guests where cgroup v2 is the only hierarchy
# (scripts/faults-guests.sh): three hours on two idle cores. SWEEP_POINTS=100: no more points of each verb, spread over all.
# Half an hour: SWEEP_POINTS=20 GUEST_POINTS=4 CORM_POINTS=1. RUNTIME=, CORM=: these programs.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
hierarchy=$([ -e /sys/fs/cgroup/cgroup.controllers ] && echo "cgroup v2" || echo "cgroup v1")
title="Faults at a sample of system calls, $hierarchy"
tests=(sweep::)
export SWEEP=${SWEEP:-sample}
full=''
if [ "${1:-}" = --full ]; then
    full=1
    export SWEEP=all
    title="Faults at every system call, $hierarchy"
    [ -z "${SWEEP_POINTS:-}" ] || title="Faults at up to $SWEEP_POINTS points of each verb, $hierarchy"
    tests+=(interrupt::)
    if [ -z "${RUNTIME:-}" ] || [ -z "${CORM:-}" ]; then
        scripts/toolchain scripts/build-release.sh
        target=${CARGO_TARGET_DIR:-$PWD/target}
        export RUNTIME=${RUNTIME:-$target/dist/croci} CORM=${CORM:-$target/dist/corm}
    fi
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# the whole workspace here and below, because another selection of packages would build everything anew
cargo build --locked --workspace
status=0
# sweep PROGRAM CARGO_TEST_ARGUMENT...
sweep() {
    cargo test --locked --workspace "${@:2}" 2>&1 | tee "$log" || status=$?
    [ -n "${SWEEP_VERB:-}" ] || ! grep -aq '^sweep: ' "$log" || scripts/reliability.py faults "$log" "$title, $1" "$1"
}
sweep croci --test faults -- --nocapture "${tests[@]}"
sweep corm --test sweep -- --nocapture
if [ -n "$full" ] && [ -z "${SWEEP_VERB:-}" ]; then
    scripts/faults-guests.sh || status=$?
fi
exit $status
