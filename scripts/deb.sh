#!/bin/bash
# deb.sh [DIR]: the Debian packages of croci and corm from target/dist, in DIR (target/deb). Reproducible: times are those of
# SOURCE_DATE_EPOCH, by default of the last commit. lintian checks them where it is installed.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
umask 022
built=${CARGO_TARGET_DIR:-target}
out=${1:-$built/deb}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)-1
architecture=${DEB_ARCH:-$(dpkg --print-architecture)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH
rm -rf "$out"
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# put FILE DESTINATION [MODE]
put() { install -D -m "${3:-0644}" "$1" "$root/$2"; }
# packed FILE DESTINATION: compressed, without a name and a time in it
packed() { install -d "$(dirname "$root/$2")" && gzip -9n <"$1" >"$root/$2"; }

# common PACKAGE: what both packages have
common() {
    local package=$1 page
    put "$built/dist/$package" "usr/bin/$package" 0755
    put packaging/debian/copyright "usr/share/doc/$package/copyright"
    printf '%s (%s) unstable; urgency=medium\n\n  * The changes are in the file changelog.gz.\n\n -- croci developers <croci@users.noreply.github.com>  %s\n' \
        "$package" "$version" "$(date -Ru -d "@$SOURCE_DATE_EPOCH")" >"$work/changelog"
    packed "$work/changelog" "usr/share/doc/$package/changelog.Debian.gz"
    packed CHANGELOG.md "usr/share/doc/$package/changelog.gz"
    put "packaging/apparmor/$package" "usr/share/$package/apparmor/$package"
    for page in packaging/man/"$package"*.[1-9]; do
        [ ! -e "$page" ] || packed "$page" "usr/share/man/man${page##*.}/$(basename "$page").gz"
    done
    [ ! -e "packaging/bash/$package" ] || put "packaging/bash/$package" "usr/share/bash-completion/completions/$package"
    [ ! -e "packaging/zsh/_$package" ] || put "packaging/zsh/_$package" "usr/share/zsh/vendor-completions/_$package"
    [ ! -e "packaging/fish/$package.fish" ] || put "packaging/fish/$package.fish" "usr/share/fish/vendor_completions.d/$package.fish"
    sed "s/PACKAGE/$package/g" packaging/debian/lintian-overrides >"$work/overrides"
    put "$work/overrides" "usr/share/lintian/overrides/$package"
    mkdir -p "$root/DEBIAN"
    for script in postinst postrm; do
        sed "s/PACKAGE/$package/g" "packaging/debian/$script" >"$root/DEBIAN/$script"
        chmod 0755 "$root/DEBIAN/$script"
    done
}

# finish PACKAGE FIELDS: the control files, and the package
finish() {
    local package=$1 fields=$2
    (cd "$root" && find usr -type f -printf '%P\0' | sort -z | sed -z 's#^#usr/#' | xargs -0 md5sum >DEBIAN/md5sums)
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: croci developers <croci@users.noreply.github.com>\n' \
            "$package" "$version" "$architecture"
        printf 'Installed-Size: %s\nSection: admin\nPriority: optional\n%s\n' "$(du -sk --exclude DEBIAN "$root" | cut -f1)" "$fields"
        printf 'Description: %s\n' "$(cat "packaging/debian/$package.description")"
    } >"$root/DEBIAN/control"
    find "$root" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz --build "$root" "$out/${package}_${version}_$architecture.deb" >/dev/null
}

root=$work/croci
mkdir -p "$root"
common croci
put packaging/containers/50-croci.conf etc/containers/containers.conf.d/50-croci.conf
put packaging/docker/daemon.json usr/share/doc/croci/examples/daemon.json
put packaging/selinux/croci.fc usr/share/doc/croci/examples/croci.fc
for file in runtimeclass.yaml installer.yaml install.sh Containerfile; do
    mode=0644
    [ "$file" != install.sh ] || mode=0755
    put "packaging/kubernetes/$file" "usr/share/doc/croci/examples/kubernetes/$file" "$mode"
done
mkdir -p "$root/DEBIAN"
echo /etc/containers/containers.conf.d/50-croci.conf >"$root/DEBIAN/conffiles"
finish croci $'Provides: oci-runtime\nRecommends: uidmap\nSuggests: criu, podman'

root=$work/corm
mkdir -p "$root"
common corm
finish corm $'Recommends: croci | oci-runtime, uidmap, passt | slirp4netns\nSuggests: nftables'

if command -v lintian >/dev/null; then
    # no package of an archive, so that no bug is closed
    lintian --allow-root --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$out"/*.deb
else
    echo "deb.sh: skipped: lintian is not installed" >&2
fi
ls "$out"
