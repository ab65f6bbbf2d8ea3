#!/bin/bash
# install-suite.sh [DIR]: build the OCI runtime-tools validation suite from Debian's archive alone.
#   DIR   default ${XDG_CACHE_HOME:-~/.cache}/oci-runtime-tools; gets runtimetest, rootfs-<arch>.tar.gz and tests/<name>
# Source: the upstream tarball of Debian's golang-github-opencontainers-runtime-tools (trixie and later),
# upstream commit e931285.  Libraries: the golang-*-dev packages of Debian 12, in GOPATH mode, Go 1.19.
# The one import that Debian 12 lacks, github.com/mndrix/tap-go, is the tap.go beside this script.
# A second call with nothing changed returns at once; run as root the first time (apt-get install).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/oci-runtime-tools}
ver=0.9.0.109.ge931285 name=golang-github-opencontainers-runtime-tools
sum=203989a1ea98cf2aaced79155bbda09270b20db19b03376dde91ab12e5e6a0fe # as in the Sources index of trixie

stamp=$(cat "$here/tap.go" "$here/install-suite.sh" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$dir/installed" 2>/dev/null)" = "$stamp" ]; then
    echo "$dir: $(find "$dir/tests" -type f | wc -l) tests, already installed"
    exit 0
fi

"$here/../../scripts/apt-install" golang-go xz-utils ca-certificates python3 util-linux \
    golang-github-blang-semver-dev golang-github-google-uuid-dev golang-github-hashicorp-go-multierror-dev \
    golang-github-mrunalp-fileutils-dev golang-github-opencontainers-specs-dev golang-github-opencontainers-selinux-dev \
    golang-github-sirupsen-logrus-dev golang-github-stretchr-testify-dev golang-github-urfave-cli-dev \
    golang-github-xeipuuv-gojsonschema-dev golang-gocapability-dev golang-golang-x-sys-dev
# the mirror that this machine's apt uses for the main archive
# shellcheck disable=SC2016
find_mirror() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p; }
mirror=$(find_mirror)
[ -n "$mirror" ] || { apt-get update -qq; mirror=$(find_mirror); }
[ -n "$mirror" ] || { echo "install-suite.sh: apt knows no Debian archive here" >&2; exit 1; }

w=$(mktemp -d)
trap 'rm -rf "$w"' EXIT
src=$w/src/github.com/opencontainers/runtime-tools
tap=$w/src/github.com/mndrix/tap-go
mkdir -p "$src" "$tap" "$w/out/tests"
/usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file \
    "${mirror%/}/pool/main/g/$name/${name}_$ver.orig.tar.xz" "$w/orig.tar.xz" "SHA256:$sum" >/dev/null
tar -xJf "$w/orig.tar.xz" -C "$src" --strip-components=1
cp "$here/tap.go" "$tap/"

# Go lifts the soft RLIMIT_NOFILE in an init function; runtimetest would then never see the limit that it
# has to check, so it is built with that function renamed.
goroot=$(go env GOROOT)
for f in os/rlimit.go syscall/rlimit.go; do
    [ -e "$goroot/src/$f" ] || continue
    sed 's/^func init()/func liftNofile()/' "$goroot/src/$f" >"$w/rlimit.go"
    printf '{"Replace": {"%s": "%s"}}\n' "$goroot/src/$f" "$w/rlimit.go" >"$w/overlay.json"
done
[ -e "$w/overlay.json" ] || { echo "install-suite.sh: no rlimit.go in $goroot" >&2; exit 1; }

export GO111MODULE=off GOPATH=$w:/usr/share/gocode CGO_ENABLED=0 GOFLAGS='' GOCACHE=$w/cache
cd "$src"
go build -trimpath -overlay "$w/overlay.json" -ldflags '-s -w' -o "$w/out/runtimetest" ./cmd/runtimetest
go build -trimpath -ldflags '-s -w' -o "$w/out/tests/" ./validation/...
cp "rootfs-$(go env GOARCH).tar.gz" "$w/out/"

mkdir -p "$dir"
rm -rf "$dir/tests" "$dir/installed"
cp -r "$w/out/." "$dir/"
echo "$stamp" >"$dir/installed"
echo "$dir: $(find "$dir/tests" -type f | wc -l) tests installed"
