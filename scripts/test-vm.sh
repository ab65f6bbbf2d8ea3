#!/bin/bash
# test-vm.sh [test binary name ...]: build the tests here and run them in a guest whose only cgroup hierarchy is v2.
# The binary itself must start there and pass our conformance suite; then come the integration tests named, or those below.
# Environment: CG2_OPTIONS  more options for vm/cg2-run, e.g. "--systemd".
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
vm/setup
target=${CARGO_TARGET_DIR:-$PWD/target}
# integration tests that are of use there: each is tests/NAME.rs
chosen=(lifecycle verbs_create verbs_exec verbs_kill verbs_update terminal leaks)
[ $# -eq 0 ] || chosen=("$@")
# shellcheck disable=SC2206 # words
options=(${CG2_OPTIONS:-} --timeout 900)

echo "--- croci starts in the guest"
vm/cg2-run "${options[@]}" "$target/x86_64-unknown-linux-gnu/release/croci" --version

status=0
echo "--- conformance in the guest"
cargo build --quiet --locked -p conformance
built=$target/x86_64-unknown-linux-gnu
vm/cg2-run "${options[@]}" "$built/debug/conformance" --runtime "$built/release/croci" || status=$?

for name in "${chosen[@]}"; do
    [ -e "tests/$name.rs" ] || [ -e "tests/$name/main.rs" ] || { echo "--- $name: no such test here"; continue; }
    binary=$(cargo test --locked --no-run --message-format=json --test "$name" |
        python3 -c 'import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("profile", {}).get("test") and message.get("executable"):
        print(message["executable"])' | tail -1)
    echo "--- $name in the guest"
    vm/cg2-run "${options[@]}" "$binary" || status=$?
done
exit "$status"
