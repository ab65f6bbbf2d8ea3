#!/bin/bash
# cross.sh [ARCH...]: cargo check of the workspace for x86_64, aarch64, riscv64, powerpc64le and s390x, and for aarch64 the unit
# tests of crates/linux and croci's `features` under qemu-user. A processor whose standard library, C compiler or emulator cannot
# be had is skipped with the reason. Debian's cross compilers; rustup for the standard libraries. A check that takes longer than
# CROSS_SECONDS (1200) is an error.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
architectures=("$@")
[ $# -gt 0 ] || architectures=(x86_64 aarch64 riscv64 powerpc64le s390x)
# beside the usual directory, so that a check does not invalidate it
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/cross
seconds=${CROSS_SECONDS:-1200}
status=0

# shellcheck source=scripts/cross-env
. scripts/cross-env

for architecture in "${architectures[@]}"; do
    rust=$architecture
    [ "$architecture" != riscv64 ] || rust=riscv64gc
    target=$rust-unknown-linux-gnu
    if ! cross_std "$target"; then
        echo "skipped: cross: $target: no standard library, and rustup has none"
        continue
    fi
    if ! cross_env "$target"; then
        echo "skipped: cross: $target: no C compiler"
        continue
    fi
    checked=0
    timeout "$seconds" cargo check --quiet --locked --workspace --target "$target" || checked=$?
    case $checked in
        0) echo "cross: $target: ok" ;;
        124) echo "cross: $target: FAILED: not done after $seconds s" ;;
        *) echo "cross: $target: FAILED" ;;
    esac
    [ $checked = 0 ] || status=1
done

# the one that runs: qemu-user has neither namespaces nor seccomp, so that only what is pure is tested
if [[ " ${architectures[*]} " == *" aarch64 "* ]] && cross_std aarch64-unknown-linux-gnu; then
    if ! scripts/apt-install qemu-user-static; then
        echo "skipped: cross: qemu-user-static is not installed"
    else
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
        cross_env aarch64-unknown-linux-gnu
        cargo test --quiet --locked --target aarch64-unknown-linux-gnu -p croci --lib -- seccomp:: config:: plan:: cli:: || status=1
        cargo run --quiet --locked --target aarch64-unknown-linux-gnu -p croci --bin croci -- features | grep -q SCMP_ARCH_AARCH64 ||
            status=1
        echo "cross: aarch64 under qemu: $([ $status = 0 ] && echo ok || echo FAILED)"
    fi
fi
exit $status
