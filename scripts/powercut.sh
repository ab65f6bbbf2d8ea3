#!/bin/bash
# powercut.sh: cut the power of corm's store at POWERCUTS points (40) of each verb and right after its end, on ext4, XFS and
# btrfs, and write what came of it into docs/generated/reliability.md. A lost or damaged image is a failed test.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo build --locked --workspace
POWERCUTS=${POWERCUTS:-40} cargo test --locked -p corm --test powercut -- --nocapture --test-threads 1 2>&1 | tee "$log"
scripts/reliability.py powercut "$log"
