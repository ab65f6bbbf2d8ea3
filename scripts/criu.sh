#!/bin/bash
# criu.sh [DIR]: get a CRIU that works on new kernels and print the path of a program to start it by.
# Makes DIR/criu, default DIR: ${XDG_CACHE_HOME:-~/.cache}/croci-criu. Root; does only what is missing; installs nothing.
# CRIU has to know the kernel it runs on: 3.17 of Debian 12 fails on Linux 6.18. So the package of Debian unstable is
# unpacked with its libraries and started by its own loader: it needs a newer C library than this machine may have.
set -euo pipefail
[ "${1:-}" != --help ] || { sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"; exit 0; }
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/croci-criu}

[ -x "$dir/criu" ] || {
    "$(dirname "$(readlink -f "$0")")/unstable.sh" "$dir" criu --with-libraries
    program=$(find "$dir/tree" -path '*bin/criu' -type f | sed -n 1p)
    loader=$(find "$dir/tree" -name 'ld-linux-*.so.*' | sed -n 1p)
    [ -n "$program" ] && [ -n "$loader" ] || { echo "criu.sh: the package has no criu or no loader" >&2; exit 1; }
    libs=$(find "$dir/tree" -name '*.so.*' ! -path '*/gconv/*' -printf '%h\n' | sort -u | paste -sd:)
    work=$(mktemp "$dir/criu.XXXXXX") # a name of its own, because tests run side by side
    printf '#!/bin/sh\nexec %q --library-path %q --argv0 criu %q "$@"\n' "$loader" "$libs" "$program" >"$work"
    chmod 755 "$work"
    mv "$work" "$dir/criu"
}
echo "$dir/criu"
