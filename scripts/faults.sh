#!/bin/bash
# faults.sh [--full]: each verb of croci and corm with a fault at a sample of its system calls, or at all of them, and what came
# of it in docs/generated/reliability.md. SWEEP_VERB=create: that verb alone, and nothing is written. With --full also a sample in
# guests where cgroup v2 is the only hierarchy; four hours on two idle cores.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
hierarchy=$([ -e /sys/fs/cgroup/cgroup.controllers ] && echo "cgroup v2" || echo "cgroup v1")
title="Faults at a sample of system calls, $hierarchy"
tests=(sweep::)
export SWEEP=${SWEEP:-sample}
if [ "${1:-}" = --full ]; then
    export SWEEP=all
    title="Faults at every system call, $hierarchy"
    tests+=(interrupt::)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo build --locked --workspace
status=0
# sweep PROGRAM CARGO_TEST_ARGUMENT...
sweep() {
    cargo test --locked -p "$@" 2>&1 | tee "$log" || status=$?
    [ -n "${SWEEP_VERB:-}" ] || ! grep -q '^sweep: ' "$log" || scripts/reliability.py faults "$log" "$title, $1" "$1"
}
sweep croci --test faults -- --nocapture "${tests[@]}"
sweep corm --test sweep -- --nocapture
if [ "$SWEEP" = all ] && [ -z "${SWEEP_VERB:-}" ]; then
    scripts/faults-guests.sh || status=$?
fi
exit $status
