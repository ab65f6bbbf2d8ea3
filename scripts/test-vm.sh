#!/bin/bash
# test-vm.sh [test name ...]: build here, then run our conformance suite and integration tests (those named, or those
# below: each is tests/NAME.rs or tests/NAME/main.rs) where cgroup v2 is the only hierarchy. Two guests work side by side.
# Environment: CG2_OPTIONS  more options for vm/cg2-run, e.g. "--systemd".
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
vm/setup
chosen=(lifecycle verbs_create verbs_exec verbs_kill verbs_update terminal namespaces rootless leaks)
[ $# -eq 0 ] || chosen=("$@")
# shellcheck disable=SC2206 # words
options=(${CG2_OPTIONS:-} --timeout 600)

tests=("${chosen[@]/#/--test=}")
# shellcheck disable=SC2016 # Python
built=$(cargo test --locked --no-run --message-format=json-render-diagnostics "${tests[@]}" | python3 -c '
import json, sys
for message in map(json.loads, sys.stdin):
    if message.get("executable") and "/deps/" in message["executable"]:
        print(message["target"]["name"], message["executable"])')
cargo build --locked --workspace
target=$(dirname "$(dirname "$(awk 'NR == 1 { print $2 }' <<<"$built")")")
[ "$(wc -l <<<"$built")" -eq "${#chosen[@]}" ] || { echo "test-vm.sh: not all tests were built: $built" >&2; exit 1; }

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
vm/cg2-run "${options[@]}" "$target/conformance" --runtime "$target/croci" >"$log/conformance" 2>&1 &
conformance=$!

# somebody with subordinate ids, for the rootless tests; the guest forgets him
job='id tester >/dev/null 2>&1 || useradd tester; status=0
while [ $# -gt 0 ]; do
    echo "     Running $1, in the guest (cgroup v2)"
    "$2" --test-threads 2 2>&1 || status=1
    shift 2
done; exit $status'
status=0
# shellcheck disable=SC2086 # pairs of words: a name and a path
vm/cg2-run "${options[@]}" bash -c "$job" job $built 2>&1 | tee "$log/tests" || status=1
echo "     Running conformance, in the guest (cgroup v2)"
wait "$conformance" || status=1
cat "$log/conformance"

count() { grep -c "$1" "$log/tests" || true; }
echo "test-vm: integration tests: $(count ' \.\.\. ok$') passed, $(count ' \.\.\. FAILED$') failed, $(count 'skipped: ') skipped;" \
    "conformance: $(awk '/^# total/ { print $3 " passed, " $4 " failed, " $5 " skipped" }' "$log/conformance")"
exit "$status"
