#!/bin/bash
# demo.sh: one container through create, start, exec, state, kill and delete, each command shown as it runs.
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
end() {
    status=$?
    "$CROCI" --root "$work/state" delete --force "$id" >/dev/null 2>&1 || true
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
corm() { show corm "$@"; "$CORM" "$@"; }
status_is() { "$CROCI" --root "$work/state" state "$id" | grep -q "\"status\": *\"$1\"" || fail "the container is not $1"; }

say "A root file system: Debian's static busybox and nothing else"
mkdir -p "$work"/busybox/{bin,etc,tmp}
cp "$(command -v busybox)" "$work/busybox/bin/busybox"
for name in $("$work/busybox/bin/busybox" --list); do
    [ "$name" = busybox ] || ln -s busybox "$work/busybox/bin/$name"
done
echo 'root:x:0:0:root:/:/bin/sh' >"$work/busybox/etc/passwd"
cd "$work"

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
echo
echo "demo: all steps did what they should"
