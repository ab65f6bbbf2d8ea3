#!/bin/bash
# build-release.sh: the static release programs croci, its shim and corm in target/dist. The first two are linked with musl, whose start
# costs nothing (docs/dev/decisions.md, 57); where its standard library is neither installed nor to be had, with glibc.
# Environment: TARGET  another Rust target, such as aarch64-unknown-linux-gnu: all for it, in target/dist-TARGET.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
built=${CARGO_TARGET_DIR:-target}
if [ -n "${TARGET:-}" ]; then
    # shellcheck source=scripts/cross-env
    . scripts/cross-env
    cross_std "$TARGET" || { echo "build-release.sh: no standard library for $TARGET: rustup target add $TARGET" >&2; exit 1; }
    cross_env "$TARGET" || { echo "build-release.sh: no C compiler for $TARGET" >&2; exit 1; }
    # .cargo/config.toml has those of this processor
    [ "${TARGET%%-*}" = "$(uname -m)" ] ||
        export "CARGO_TARGET_$(tr '[:lower:]-' '[:upper:]_' <<<"$TARGET")_RUSTFLAGS=-C target-feature=+crt-static"
    cargo build --release --locked --target "$TARGET" -p corm -p croci -p shim --bin corm --bin croci --bin containerd-shim-croci-v2
    mkdir -p "$built/dist-$TARGET"
    for program in croci containerd-shim-croci-v2 corm; do
        cp "$built/$TARGET/release/$program" "$built/dist-$TARGET"
    done
    exit 0
fi
musl=$(uname -m)-unknown-linux-musl
has_musl() { [ -d "$(rustc --print sysroot)/lib/rustlib/$musl" ]; }
if ! has_musl && command -v rustup >/dev/null; then
    rustup target add "$musl" || true
fi
target=$musl
if ! has_musl; then
    echo "build-release.sh: no standard library for $musl: croci is linked with glibc, and each call takes longer" >&2
    target=$(uname -m)-unknown-linux-gnu
fi
cargo build --release --locked -p corm --bin corm
cargo build --release --locked --target "$target" -p croci --bin croci
cargo build --release --locked --target "$target" -p shim --bin containerd-shim-croci-v2
mkdir -p "$built/dist"
echo "$target" >"$built/dist/croci.target"
# by a rename, because a program that runs cannot be written
for program in "$built/$target/release/croci" "$built/$target/release/containerd-shim-croci-v2" "$built/$(uname -m)-unknown-linux-gnu/release/corm"; do
    cp "$program" "$built/dist/.new"
    mv "$built/dist/.new" "$built/dist/$(basename "$program")"
done
