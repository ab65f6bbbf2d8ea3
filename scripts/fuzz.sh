#!/bin/bash
# fuzz.sh: run each target of fuzz/ (or those named: scripts/fuzz.sh config layer) for FUZZ_SECONDS (600), FUZZ_JOBS (2) at a
# time, from its corpus, and print executions and coverage of each. New inputs go to fuzz/target/found, a finding to
# fuzz/artifacts; the first finding ends the run. Needs root for the layers' devices.
#
# Neither cargo-fuzz nor a nightly toolchain is needed: LLVM's instrumentation is an option of stable rustc, and libFuzzer comes
# with libfuzzer-sys. Without AddressSanitizer, because the code of croci and corm has no unsafe outside of crates/linux.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../fuzz"
command -v g++ >/dev/null || ../scripts/apt-install g++
features=()
[ ! -e /usr/include/seccomp.h ] || features=(--features libseccomp)
host=x86_64-unknown-linux-gnu
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
# not that of the programs, whose flags differ
export CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$PWD/target}
cargo build --release --locked --target $host "${features[@]}" --bins
mapfile -t all < <(cd fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
[ $# = 0 ] || all=("$@")

# one NAME: run it for its time, and print what it did
one() {
    local name=$1 found=$CARGO_TARGET_DIR/found/$1 log=$CARGO_TARGET_DIR/$1.log status=0
    mkdir -p "$found" "artifacts/$name"
    local dictionary=()
    [ ! -e "dictionaries/$name" ] || dictionary=("-dict=dictionaries/$name")
    nice -n 19 "$CARGO_TARGET_DIR/$host/release/$name" "$found" "corpus/$name" "${dictionary[@]}" \
        -max_total_time="${FUZZ_SECONDS:-600}" -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=60 -max_len=16384 \
        -artifact_prefix="artifacts/$name/" -print_final_stats=1 -verbosity=1 >"$log" 2>&1 || status=$?
    local runs coverage
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
    echo "fuzz: $name: ${runs:-0} executions in ${FUZZ_SECONDS:-600} s, ${coverage:-0} edges, status $status"
    [ $status = 0 ] || tail -60 "$log"
    return $status
}
export -f one
export host
results=$(mktemp)
trap 'rm -f "$results"' EXIT
printf '%s\n' "${all[@]}" | xargs -P "${FUZZ_JOBS:-2}" -I NAME bash -c 'one NAME || exit 255' | tee "$results"
# a run of all of them is one of record
[ $# != 0 ] || (cd .. && scripts/reliability.py fuzz "$results")
