#!/bin/bash
# conformance-docs.sh RUNTIME: write docs/generated/conformance.md from a run of our suite here, and in a guest whose only cgroup
# hierarchy is v2 for what is skipped here.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
vm/setup
suite=$(dirname "$(dirname "$1")")/debug/conformance
cargo build --locked -p conformance
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# the page tells failures: they do not end this script
vm/cg2-run --timeout 900 --share "$out" "$suite" --runtime "$1" --json "$out/guest.json" >/dev/null || true
"$suite" --runtime "$1" --format markdown --also "$out/guest.json" >"$out/page.md" || true
# whole, or not at all
[ -s "$out/page.md" ] && cat "$out/page.md" >docs/generated/conformance.md
