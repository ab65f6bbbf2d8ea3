#!/bin/bash
# reproducible.sh: builds the release of this commit twice, in two directories, and compares the bytes. A quarter of an hour.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
commit=$(git rev-parse HEAD)
for name in one a-longer-name; do
    mkdir -p "$work/$name"
    git archive HEAD | tar -x -C "$work/$name"
    (cd "$work/$name" && CROCI_COMMIT=$commit CARGO_TARGET_DIR=$work/$name/target scripts/toolchain scripts/build-release.sh)
done
status=0
for program in croci corm; do
    if cmp "$work/one/target/dist/$program" "$work/a-longer-name/target/dist/$program"; then
        echo "$program: the same bytes from two directories"
    else
        status=1
    fi
done
exit $status
