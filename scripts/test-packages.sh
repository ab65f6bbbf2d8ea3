#!/bin/bash
# test-packages.sh: the packages of scripts/deb.sh in a bare Debian root: installed, upgraded, removed, purged; then Podman, which
# has to run a container with croci by what the package alone configures. Root; everything is in private mount namespaces.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
built=$(readlink -f "${CARGO_TARGET_DIR:-target}")
bare=${DEBROOT:-$built/debroot}
[ -d "$built/deb" ] || scripts/deb.sh
if [ ! -d "$bare/usr" ]; then
    scripts/apt-install debootstrap
    debootstrap --variant=minbase bookworm "$bare" >/dev/null || { rm -rf "$bare"; echo "skipped: packages: debootstrap: no archive"; exit 0; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/next"

# a package of a newer version, with another default in its configuration
for deb in "$built"/deb/*.deb; do
    dpkg-deb -R "$deb" "$work/tree"
    sed -i 's/^Version: .*/&+next/' "$work/tree/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone -b "$work/tree" "$work/next/$(basename "$deb")" >/dev/null
    rm -rf "$work/tree"
done

cat >"$work/inside" <<'INSIDE'
set -euo pipefail
fail() { echo "packages: $*" >&2; exit 1; }
conf=/etc/containers/containers.conf.d/50-croci.conf
dpkg -i /debs/*.deb >/dev/null
croci --version | grep -q '^croci' || fail "croci does not run"
corm --version | grep -q '^corm' || fail "corm does not run"
dpkg -s croci | grep -q '^Provides: .*oci-runtime' || fail "croci does not provide oci-runtime"
[ -e $conf ] || fail "no $conf"
echo '# changed by the administrator' >>$conf
dpkg -i /next/*.deb >/dev/null
dpkg -s croci | grep -q '^Version: .*+next$' || fail "no upgrade"
tail -1 $conf | grep -q administrator || fail "the upgrade has replaced $conf"
dpkg --verify croci corm | grep -v "$conf" && fail "files are not those of the package"
dpkg -r croci corm >/dev/null
[ ! -e /usr/bin/croci ] && [ ! -e /usr/bin/corm ] || fail "programs after the removal"
[ -e $conf ] || fail "the removal has removed the configuration"
dpkg -P croci corm >/dev/null
[ ! -e $conf ] || fail "the configuration after the purge"
left=$(find / -xdev \( -name '*croci*' -o -name '*corm' \) -not -path '/debs/*' -not -path '/next/*' -not -path '/proc/*' -not -path '/var/log/*')
[ -z "$left" ] || fail "left behind: $left"
echo "packages: installed, upgraded, removed, purged"
INSIDE
export bare work built
# shellcheck disable=SC2016 # for the other shell
unshare -m --propagation private bash -euc '
    mkdir "$work/up" "$work/w" "$work/root"
    mount -t tmpfs tmpfs "$work/up"
    mkdir "$work/up/u" "$work/up/w"
    mount -t overlay -o "lowerdir=$bare,upperdir=$work/up/u,workdir=$work/up/w" overlay "$work/root"
    mkdir -p "$work/root/debs" "$work/root/next"
    mount --bind "$built/deb" "$work/root/debs"
    mount --bind "$work/next" "$work/root/next"
    mount -t proc proc "$work/root/proc"
    install -m 0755 "$work/inside" "$work/root/inside"
    chroot "$work/root" bash /inside && rm -f "$work/root/inside"
'

if ! command -v podman >/dev/null; then
    echo "skipped: packages: podman is not installed"
    exit 0
fi
dpkg-deb -x "$built"/deb/croci_*.deb "$work/croci"
# shellcheck disable=SC2016 # for the other shell
unshare -m --propagation private bash -euc '
    mount -t tmpfs tmpfs /mnt
    for dir in /usr/bin /etc/containers; do
        mkdir -p "/mnt/$dir/upper" "/mnt/$dir/work"
        mount -t overlay -o "lowerdir=$work/croci$dir:$dir,upperdir=/mnt/$dir/upper,workdir=/mnt/$dir/work" overlay $dir
    done
    mkdir -p /mnt/rootfs/bin /mnt/rootfs/proc /mnt/rootfs/dev /mnt/rootfs/sys /mnt/home
    cp /bin/busybox /mnt/rootfs/bin/sh
    export HOME=/mnt/home
    name=$(podman --root /mnt/storage --runroot /mnt/run info --format "{{.Host.OCIRuntime.Name}}")
    [ "$name" = croci ] || { echo "packages: podman uses $name" >&2; exit 1; }
    words=$(podman --root /mnt/storage --runroot /mnt/run --cgroup-manager cgroupfs run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
        --rootfs /mnt/rootfs /bin/sh -c "echo from podman")
    [ "$words" = "from podman" ] || { echo "packages: podman run: $words" >&2; exit 1; }
    echo "packages: podman runs with croci"
'
