#!/bin/bash
# test-old-kernels.sh [VERSION...]: the lifecycle, security and conformance suites as on the kernels 5.10, 5.4 and 4.18, by the
# filter of crates/test-support/src/old_kernel.rs. What such a kernel cannot do is in tests/old-kernels.skip, by name and reason.
# The last lines are a table: for each version and suite what passed, failed and was skipped. Tests that fail are run once more,
# alone, because a busy machine may have been too slow for a deadline; the table has those that pass then. About an hour.
# Environment: OLD_KERNELS_BIN  a directory with croci, corm, old-kernel, conformance and the tests, in the place of a build.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
versions=("$@")
[ $# -gt 0 ] || versions=(5.10 5.4 4.18)
list=tests/old-kernels.skip
suites=(lifecycle security)
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
status=0

# before the filter, under which only the tests run
bin=${OLD_KERNELS_BIN:-$log}
if [ -z "${OLD_KERNELS_BIN:-}" ]; then
    built=$(readlink -f "${CARGO_TARGET_DIR:-target}")/$(uname -m)-unknown-linux-gnu/debug
    cargo build --locked --workspace --quiet
    # shellcheck disable=SC2016 # Python
    cargo test --locked --workspace --no-run --message-format=json-render-diagnostics "${suites[@]/#/--test=}" | python3 -c '
import json, os, sys
for message in map(json.loads, sys.stdin):
    if message.get("executable") and "/deps/" in message["executable"]:
        os.symlink(message["executable"], f"{sys.argv[1]}/{message["target"]["name"]}")' "$log"
    ln -s "$built"/{croci,corm,old-kernel,conformance} "$log"
fi
RUNTIME=$(readlink -f "$bin/croci")
export RUNTIME
for suite in "${suites[@]}"; do
    [ -x "$bin/$suite" ] || { echo "test-old-kernels.sh: the tests of $suite were not built" >&2; exit 1; }
done

# skips VERSION SUITE: the names that the version cannot do, and the reasons
skips() {
    awk -F ' [|] ' -v version="$1" -v suite="$2" '
        function number(text,  parts) { split(text, parts, "."); return parts[1] * 1000 + parts[2] }
        !/^#/ && $2 == suite && number(version) < number($1) { print $3 " | " $4 }' $list
}

# row VERSION SUITE PASSED FAILED SKIPPED: a line of the table
row() { printf '   Linux %-5s %-12s %4d passed, %d failed, %d skipped\n' "$@" >>"$log/table"; }

# tests VERSION SUITE: the tests of a binary under the filter
tests() {
    local version=$1 suite=$2 out=$log/$1-$2 name reason words=() failed again=""
    while IFS= read -r name; do
        reason=${name#* | } name=${name%% | *}
        [[ $("$bin/$suite" --list 2>/dev/null) != *"$name: test"* ]] || words+=(--skip "$name")
        [ "${words[*]: -1}" != "$name" ] || echo "   skipped: Linux $version: $suite: $name: $reason" >>"$log/skipped"
    done < <(skips "$version" test)
    "$bin/old-kernel" "$version" "$bin/$suite" "${words[@]}" 2>&1 | tee "$out" || true
    if ! grep -q '^test result: ' "$out"; then
        echo "   failed: Linux $version: $suite did not end" >>"$log/failed"
        status=1
    fi
    mapfile -t failed < <(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$out" | sort -u)
    for name in "${failed[@]}"; do
        again=" (twice)"
        if "$bin/old-kernel" "$version" "$bin/$suite" --exact "$name"; then again=" (the second time: ok)"; else status=1; fi
        echo "   failed: Linux $version: $suite: $name$again" >>"$log/failed"
    done
    local own
    own=$(grep -ac '^skipped: ' "$out" || true)
    grep -a '^skipped: ' "$out" | sed "s/^/   Linux $version: $suite: /" >>"$log/skipped" || true
    row "$version" "$suite" "$(($(grep -cE '^test .* \.\.\. ok$' "$out" || true) - own))" ${#failed[@]} $((${#words[@]} / 2 + own))
}

# conformance VERSION: the suite exits 1 for the failures that are skipped by name, too
conformance() {
    local version=$1 out=$log/$1-conformance passed failed expected unexpected needless name
    "$bin/old-kernel" "$version" "$bin/conformance" --runtime "$RUNTIME" >"$out" || true
    passed=$(grep '^ok ' "$out" | grep -vc ' # SKIP' || true)
    failed=$(sed -n 's/^not ok [0-9]* - //p' "$out" | sort -u)
    expected=$(skips "$version" conformance | sed 's/ | .*//' | sort -u)
    unexpected=$(comm -23 <(echo "$failed") <(echo "$expected") | sed '/^$/d')
    # one that passes is no longer to be skipped
    needless=$(comm -13 <(echo "$failed") <(echo "$expected") | sed '/^$/d')
    while read -r name; do
        [ -z "$name" ] || echo "   failed: Linux $version: conformance: $name" >>"$log/failed"
    done <<<"$unexpected"
    while read -r name; do
        [ -z "$name" ] || echo "   failed: Linux $version: conformance: passes, but is in $list: $name" >>"$log/failed"
    done <<<"$needless"
    [ "$passed" -gt 500 ] || echo "   failed: Linux $version: conformance ran $passed cases only" >>"$log/failed"
    [ -z "$unexpected$needless" ] && [ "$passed" -gt 500 ] || status=1
    skips "$version" conformance | sed "s/ | /: /; s/^/   skipped: Linux $version: conformance: /" >>"$log/skipped"
    row "$version" conformance "$passed" "$(grep -c . <<<"$unexpected$needless" || true)" \
        "$(($(grep -c '^ok .* # SKIP' "$out" || true) + $(grep -c . <<<"$expected" || true)))"
    if [ -n "$unexpected" ]; then cat "$out"; fi
}

for version in "${versions[@]}"; do
    for suite in "${suites[@]}"; do
        echo "== Linux $version: $suite"
        tests "$version" "$suite"
    done
    echo "== Linux $version: conformance"
    conformance "$version"
done
echo
echo "== as on older kernels, by a filter"
touch "$log/failed" "$log/skipped"
cat "$log/skipped" "$log/table" "$log/failed"
exit $status
