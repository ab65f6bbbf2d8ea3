#!/bin/bash
# test-old-kernels.sh [VERSION...]: the lifecycle, security and conformance suites as on the kernels 5.10, 5.4 and 4.18, by the
# filter of crates/test-support/src/old_kernel.rs. What such a kernel cannot do is in tests/old-kernels.skip, by name and reason.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
built=$(readlink -f "${CARGO_TARGET_DIR:-target}")/$(uname -m)-unknown-linux-gnu/debug
versions=("$@")
[ $# -gt 0 ] || versions=(5.10 5.4 4.18)
list=tests/old-kernels.skip
cargo build --locked --workspace --quiet
status=0
for version in "${versions[@]}"; do
    # lines: versions from which the kernel has it, suite, name, reason
    skips=()
    while read -r since suite name reason; do
        case $since in '' | '#'*) continue ;; esac
        if [ "$(printf '%s\n' "$since" "$version" | sort -V | head -1)" != "$since" ]; then
            echo "skipped: Linux $version: $suite: $name: $reason"
            [ "$suite" != test ] || skips+=(--skip "$name")
        fi
    done <$list
    echo "== Linux $version: lifecycle, security"
    "$built/old-kernel" "$version" cargo test --locked --quiet --workspace --test lifecycle --test security -- "${skips[@]}" || status=1
    echo "== Linux $version: conformance"
    found=$("$built/old-kernel" "$version" "$built/conformance" --runtime "$built/croci" || true)
    failed=$(sed -n 's/^not ok [0-9]* - \([^ ]*\).*/\1/p' <<<"$found" | sort -u)
    while read -r name; do
        [ -n "$name" ] || continue
        if ! awk -v version="$version" -v name="$name" '$2 == "conformance" && $3 == name { found = 1 } END { exit !found }' $list; then
            echo "failed: Linux $version: conformance: $name"
            status=1
        fi
    done <<<"$failed"
    echo "conformance: $(grep -c '^ok' <<<"$found" || true) passed, $(wc -w <<<"$failed") failed or skipped by name"
done
exit $status
