#!/bin/bash
# lint.sh: formatting, clippy without warnings, shell scripts, licences of all dependencies. The first failure ends it.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
# a minimal toolchain comes without these two
for part in fmt:rustfmt clippy:clippy; do
    cargo "${part%:*}" --version >/dev/null 2>&1 || rustup component add "${part#*:}"
done
scripts/apt-install shellcheck python3
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
# a workspace of its own, whose lock file follows the programs' dependencies
cargo metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
mapfile -t shell < <(git ls-files -- .ci bench conformance scripts vm | while read -r file; do
    ! head -1 "$file" | grep -qE '^#!(/usr)?/bin/(env )?(ba)?sh|^# shellcheck shell=' || echo "$file"; done)
shellcheck --severity=warning "${shell[@]}"
scripts/circles.py src crates/*/src conformance/src
scripts/structure.py
scripts/check_docs.py
scripts/licences.sh
if cargo deny --version >/dev/null 2>&1; then cargo deny --offline --log-level error check licenses bans sources; fi
