#!/bin/bash
# release.sh [DIR]: what a release has, in DIR (target/release-files): the static programs, the vendored source archive, the Debian
# packages, the bill of materials (CycloneDX) and SHA256SUMS. Reproducible: see scripts/reproducible.sh.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
umask 022
built=${CARGO_TARGET_DIR:-target}
out=${1:-$built/release-files}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
commit=${CROCI_COMMIT:-$(git rev-parse HEAD 2>/dev/null || cat .commit)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH CROCI_COMMIT=$commit
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/build-release.sh
architecture=$(uname -m)
for program in croci corm; do
    install -m 0755 "$built/dist/$program" "$out/$program-$version-$architecture"
done
scripts/sbom.py >"$out/croci-$version.cdx.json"
scripts/deb.sh "$work/deb"
mv "$work"/deb/*.deb "$out"

# the source of the commit with every dependency: `cargo build --offline` needs nothing else
if git rev-parse HEAD >/dev/null 2>&1; then
    tree=$work/croci-$version
    mkdir "$tree"
    git archive HEAD | tar -x -C "$tree"
    echo "$commit" >"$tree/.commit"
    (cd "$tree" && cargo vendor --quiet --locked vendor >"$work/vendor.toml")
    printf '\n' | cat - "$work/vendor.toml" >>"$tree/.cargo/config.toml"
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$work" -c "croci-$version" |
        xz -6 -T1 >"$out/croci-$version-vendored.tar.xz"
else
    echo "release.sh: skipped: the source archive, because this is no clone" >&2
fi
(cd "$out" && sha256sum -- * >SHA256SUMS)
cat "$out/SHA256SUMS"
