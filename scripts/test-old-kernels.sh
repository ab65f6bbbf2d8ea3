#!/bin/bash
# test-old-kernels.sh [VERSION...]: the lifecycle, security and conformance suites as on the kernels 5.10, 5.4 and 4.18, by the
# filter of crates/test-support/src/old_kernel.rs. What such a kernel cannot do is in tests/old-kernels.skip, by name and reason.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
built=$(readlink -f "${CARGO_TARGET_DIR:-target}")/$(uname -m)-unknown-linux-gnu/debug
versions=("$@")
[ $# -gt 0 ] || versions=(5.10 5.4 4.18)
list=tests/old-kernels.skip
suites=(--test lifecycle --test security)
# both before the filter, under which only the tests run
cargo build --locked --workspace --quiet
cargo test --locked --workspace --quiet "${suites[@]}" --no-run
status=0

# skips VERSION SUITE: the names that the version cannot do
skips() {
    awk -F ' [|] ' -v version="$1" -v suite="$2" '
        function number(text,  parts) { split(text, parts, "."); return parts[1] * 1000 + parts[2] }
        !/^#/ && $2 == suite && number(version) < number($1) { print $3 }' $list
}

for version in "${versions[@]}"; do
    echo "== Linux $version: lifecycle, security"
    words=()
    while read -r name; do
        echo "skipped: Linux $version: $name"
        words+=(--skip "$name")
    done < <(skips "$version" test)
    "$built/old-kernel" "$version" cargo test --locked --quiet --workspace "${suites[@]}" --no-fail-fast -- "${words[@]}" || status=1

    echo "== Linux $version: conformance"
    # the suite exits 1 for the failures that are skipped by name, too
    found=$("$built/old-kernel" "$version" "$built/conformance" --runtime "$built/croci" || true)
    passed=$(grep '^ok ' <<<"$found" | grep -vc ' # SKIP' || true)
    failed=$(sed -n 's/^not ok [0-9]* - //p' <<<"$found" | sort -u)
    expected=$(skips "$version" conformance | sort -u)
    comm -12 <(echo "$failed") <(echo "$expected") | sed "s/^/skipped: Linux $version: /"
    unexpected=$(comm -23 <(echo "$failed") <(echo "$expected"))
    # one that passes is no longer to be skipped
    needless=$(comm -13 <(echo "$failed") <(echo "$expected"))
    while read -r name; do [ -z "$name" ] || echo "failed: Linux $version: $name"; done <<<"$unexpected"
    while read -r name; do [ -z "$name" ] || echo "failed: Linux $version: passes, but is in $list: $name"; done <<<"$needless"
    [ "$passed" -gt 500 ] || echo "failed: Linux $version: conformance ran $passed cases only"
    [ -z "$unexpected$needless" ] && [ "$passed" -gt 500 ] || status=1
    echo "conformance: Linux $version: $passed passed, $(grep -c . <<<"$unexpected" || true) failed"
done
exit $status
