#!/bin/bash
# unstable.sh DIR PACKAGE [--with-libraries]: unpack the package of Debian unstable into DIR/tree; installs nothing.
# --with-libraries: with all that it depends on, because a program that is started by its own loader needs them.
# Does nothing where DIR/tree is there. MIRROR: another archive than the one that this machine's apt uses.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"; exit 0; }
dir=$1 package=$2 libraries=${3:-}
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9 # tests run side by side
[ ! -d "$dir/tree" ] || exit 0

# shellcheck disable=SC2016
find_mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p; }

apt=$dir/apt mirror=${MIRROR:-}
[ -n "$mirror" ] || mirror=$(find_mirror)
[ -n "$mirror" ] || { apt-get update -qq >&2; mirror=$(find_mirror); }
[ -n "$mirror" ] || { echo "unstable.sh: apt knows no Debian archive here; set MIRROR" >&2; exit 1; }
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
: >"$apt/status" # as if nothing were installed: apt then names the whole set of libraries
printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s sid main\n' "$mirror" >"$apt/sources.list"
cat >"$apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::State::status "$apt/status";
Dir::State::lists "$apt/lists"; Dir::Cache "$apt"; APT::Sandbox::User "root"; APT::Install-Recommends "false";
CONF
export APT_CONFIG=$apt/apt.conf
apt-get update -qq >&2
if [ -n "$libraries" ]; then
    apt-get install -qq -y --download-only "$package" >&2
else
    (cd "$apt/archives" && apt-get download -qq "$package" >&2)
fi
work=$(mktemp -d "$dir/tree.XXXXXX")
for deb in "$apt"/archives/*.deb; do dpkg-deb -x "$deb" "$work"; done
rm -rf "$apt"
chmod 755 "$work"
mv "$work" "$dir/tree"
