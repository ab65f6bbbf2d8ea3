#!/bin/bash
# powercut.sh: cut the power of corm's store at POWERCUTS points (40; of verbs that write records alone, a quarter) of each verb and
# right after its end, on ext4, XFS and btrfs, and write what came of it into docs/generated/reliability.md. What is lost or damaged
# is a failed test. POWERCUT_VERB=save: that verb alone, and nothing is written.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# the whole workspace here and below, because another selection of packages would build everything anew
cargo build --locked --workspace
POWERCUTS=${POWERCUTS:-40} cargo test --locked --workspace --test powercut -- --nocapture --test-threads 1 2>&1 | tee "$log"
[ -n "${POWERCUT_VERB:-}" ] || scripts/reliability.py powercut "$log"
