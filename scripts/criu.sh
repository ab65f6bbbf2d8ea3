#!/bin/bash
# criu.sh [DIR]: get a CRIU that works on new kernels and print the path of a program to start it by.
# Makes DIR/criu, default DIR: ${XDG_CACHE_HOME:-~/.cache}/croci-criu. Root; does only what is missing; installs nothing.
# CRIU has to know the kernel it runs on: 3.17 of Debian 12 fails on Linux 6.18. So the package of Debian unstable is
# unpacked with its libraries and started by its own loader: it needs a newer C library than this machine may have.
set -euo pipefail
[ "${1:-}" != --help ] || { sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"; exit 0; }
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/croci-criu}
suite=sid
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9 # tests run side by side

# the mirror that this machine's apt uses for the main archive
# shellcheck disable=SC2016
find_mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p; }

fetch() {
    local apt=$dir/apt mirror=${MIRROR:-} work
    [ -n "$mirror" ] || mirror=$(find_mirror)
    [ -n "$mirror" ] || { apt-get update -qq >&2; mirror=$(find_mirror); }
    [ -n "$mirror" ] || { echo "criu.sh: apt knows no Debian archive here; set MIRROR" >&2; return 1; }
    mkdir -p "$apt/lists/partial" "$apt/archives/partial"
    : >"$apt/status" # as if nothing were installed: apt then names the whole set of libraries
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" $suite >"$apt/sources.list"
    cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::State::status "$apt/status";
Dir::State::lists "$apt/lists"; Dir::Cache "$apt"; APT::Sandbox::User "root"; APT::Install-Recommends "false";
CONF
    export APT_CONFIG=$apt/apt.conf
    apt-get update -qq >&2
    apt-get install -qq -y --download-only criu >&2
    work=$(mktemp -d "$dir/tree.XXXXXX")
    for deb in "$apt"/archives/*.deb; do dpkg-deb -x "$deb" "$work"; done
    rm -rf "$dir/tree" "$apt"
    mv "$work" "$dir/tree"
    chmod 755 "$dir/tree"
}

[ -x "$dir/criu" ] || {
    fetch
    program=$(find "$dir/tree" -path '*bin/criu' -type f | sed -n 1p)
    loader=$(find "$dir/tree" -name 'ld-linux-*.so.*' | sed -n 1p)
    [ -n "$program" ] && [ -n "$loader" ] || { echo "criu.sh: the package has no criu or no loader" >&2; exit 1; }
    libs=$(find "$dir/tree" -name '*.so.*' ! -path '*/gconv/*' -printf '%h\n' | sort -u | paste -sd:)
    printf '#!/bin/sh\nexec %q --library-path %q --argv0 criu %q "$@"\n' "$loader" "$libs" "$program" >"$dir/criu.new"
    chmod 755 "$dir/criu.new"
    mv "$dir/criu.new" "$dir/criu"
}
echo "$dir/criu"
