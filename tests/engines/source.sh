#!/bin/bash
# source.sh PACKAGE DIR: download Debian's source package of this release with apt's own mirror and unpack it below DIR.
set -euo pipefail
package=$1 dir=$(readlink -m "$2")
mkdir -p "$dir/apt/lists/partial" "$dir/apt/archives/partial"
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p)
[ -n "$mirror" ] || { echo "source.sh: apt knows no Debian archive here" >&2; exit 1; }
printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$codename" >"$dir/apt/sources.list"
cat >"$dir/apt/apt.conf" <<CONF
Dir::Etc::sourcelist "$dir/apt/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::State::lists "$dir/apt/lists";
Dir::Cache "$dir/apt"; APT::Sandbox::User "root";
CONF
export APT_CONFIG=$dir/apt/apt.conf
apt-get update -qq >&2
cd "$dir"
apt-get source -qq --download-only "$package" >&2
tar xf "$package"_*.orig.tar.*
