#!/bin/bash
# demo.sh: one container through create, start, exec, state, kill and delete, then images and containers of corm on a btrfs
# in a loop file; each command is shown as it runs.
# Builds what it needs; state and bundle are in a directory of their own, which is gone afterwards.
# Environment: CROCI, CORM  binaries to show instead of building (another runtime works too).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || { echo "demo.sh: containers with a cgroup of their own need root: sudo make demo" >&2; exit 1; }
scripts/deps.sh
if [ -z "${CROCI:-}" ] || [ -z "${CORM:-}" ]; then
    echo "building croci and corm (release, static) …"
    cargo build --release --locked --quiet
    built=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release
    CROCI=${CROCI:-$built/croci} CORM=${CORM:-$built/corm}
fi
CROCI=$(readlink -f "$CROCI") CORM=$(readlink -f "$CORM")

work=$(mktemp -d /tmp/croci-demo.XXXXXX)
id=demo-$$
export CORM_ROOT=$work/disk/store
end() {
    status=$?
    "$CROCI" --root "$work/state" delete --force "$id" >/dev/null 2>&1 || true
    "$CORM" rm -f "$id" >/dev/null 2>&1 || true
    ! mountpoint -q "$work/disk" || umount "$work/disk"
    rm -rf "$work"
    [ $status = 0 ] || echo "demo.sh: FAILED (status $status)" >&2
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
fail() { echo "demo.sh: $*" >&2; exit 1; }

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
say() { printf '\n%s# %s%s\n' "$dim" "$*" "$plain"; }
# croci …, corm …: show the command as one would type it, then run it
show() {
    local word line=''
    for word; do
        case $word in *[!A-Za-z0-9_./=:,\>-]*) word=${word@Q} ;; esac
        line+=" $word"
    done
    printf '%s$%s%s\n' "$bold" "$line" "$plain"
}
croci() { show croci "$@"; "$CROCI" --root "$work/state" "$@"; }
corm() { show corm "$@"; corm_quietly "$@"; }
corm_quietly() { "$CORM" --runtime "$CROCI" "$@"; }
status_is() { "$CROCI" --root "$work/state" state "$id" | grep -q "\"status\": *\"$1\"" || fail "the container is not $1"; }

say "A root file system: Debian's static busybox and nothing else"
mkdir -p "$work"/busybox/{bin,etc,tmp}
cp "$(command -v busybox)" "$work/busybox/bin/busybox"
for name in $("$work/busybox/bin/busybox" --list); do
    [ "$name" = busybox ] || ln -s busybox "$work/busybox/bin/$name"
done
echo 'root:x:0:0:root:/:/bin/sh' >"$work/busybox/etc/passwd"
cd "$work"
mkdir disk
truncate -s 512M disk.img
mkfs.btrfs -q disk.img >/dev/null 2>&1
mount -o loop disk.img disk 2>/dev/null || echo "no loop device or no btrfs here: the images go to an ordinary directory"

say "corm makes a bundle of it: a copy of the tree, and config.json"
corm bundle busybox bundle
ls bundle
# the default configuration is a shell on a terminal; the demo has none to give, so the container's program is a loop
python3 - <<'PYTHON'
import json
with open("bundle/config.json") as text:
    config = json.load(text)
config["process"].update(terminal=False, args=["sh", "-c", "echo hello from pid $$ on $(hostname); while :; do sleep 1; done"])
config["hostname"] = "crocodile"
with open("bundle/config.json", "w") as text:
    json.dump(config, text, indent=2)
PYTHON

say "create: namespaces, cgroup and mounts are made; the program waits"
show croci create --bundle bundle "$id" '>out'
"$CROCI" --root "$work/state" create --bundle bundle "$id" >"$work/out" 2>&1 </dev/null ||
    { cat "$work/out" >&2; fail "create failed"; }
croci state "$id"
status_is created
[ ! -s "$work/out" ] || fail "the program ran before start: $(cat "$work/out")"

say "start: the program runs; what it prints goes to create's output"
croci start "$id"
status_is running
for _ in $(seq 50); do [ ! -s "$work/out" ] || break; sleep 0.1; done
show cat out
cat "$work/out"
grep -q 'hello from pid 1 on crocodile' "$work/out" || fail "the program did not say hello from pid 1"

say "exec: more programs in the same container; it sees its own processes only"
croci exec "$id" ps
croci exec "$id" sh -c 'echo "uid $(id -u), capabilities $(grep CapEff /proc/self/status | cut -f2), / holds:"; ls /'
status=0; croci exec "$id" sh -c 'exit 7' || status=$?
echo "exit status $status"
[ "$status" = 7 ] || fail "exec did not return the program's exit status"

say "a second start is refused, and says why"
if croci start "$id"; then fail "a running container was started again"; fi

say "kill, then state: stopped"
croci kill "$id" KILL
for _ in $(seq 50); do
    "$CROCI" --root "$work/state" state "$id" | grep -q '"stopped"' && break
    sleep 0.1
done
croci state "$id"
status_is stopped

say "delete: nothing is left"
croci delete "$id"
if croci state "$id"; then fail "the container is still there"; fi
left=$(find /sys/fs/cgroup -name "*$id*" 2>/dev/null || true)
[ -z "$left" ] || fail "cgroups are left: $left"

say "corm makes an image of the directory: on btrfs a snapshot, and runs a program in a copy that nothing is copied for"
corm init busybox busybox
corm images
[ "$(corm_quietly run --rm busybox echo hello)" = hello ] || fail "corm run did not print hello"
corm run --rm busybox sh -c 'echo "hello from $(hostname)"'

say "a container in the background: what it is, what it printed, one more program in it"
corm run -d --name "$id" busybox sh -c 'echo started; echo new >/etc/motd; exec sleep 1000'
for _ in $(seq 50); do [ "$(corm_quietly logs "$id")" != started ] || break; sleep 0.1; done
corm logs "$id"
corm ps
corm exec "$id" cat /etc/motd

say "what it changed becomes an image, a container of which has the change"
corm diff "$id"
corm commit -m "a message of the day" "$id" busybox:2
corm history busybox:2
[ "$(corm_quietly run --rm busybox:2 cat /etc/motd)" = new ] || fail "the change is not in the new image"

say "rm: nothing is left"
corm rm -f "$id"
[ -z "$(corm_quietly ps -aq)" ] || fail "a container is left"
corm fsck
echo
echo "demo: all steps did what they should"
