#!/bin/bash
# demo.sh: what croci and corm do, in a minute: each command as one would type it, what it prints, and how long it took.
# Everything is in /tmp/croci-demo and is gone afterwards; nothing is installed but missing Debian packages.
# Environment: CROCI, CORM  binaries to show instead of building (another runtime works too).
#              KEEP=1       leave /tmp/croci-demo, to repeat the steps by hand (a second call removes it).
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
[ "$(id -u)" = 0 ] || { echo "demo.sh: containers with a cgroup of their own need root: sudo make demo" >&2; exit 1; }
scripts/apt-install busybox-static jq btrfs-progs util-linux
if [ -z "${CROCI:-}" ] || [ -z "${CORM:-}" ]; then
    echo "Building croci and corm once, with cargo's own progress: a few minutes; then the demo takes one, and \`make install\` builds nothing."
    scripts/toolchain scripts/build-release.sh
    built=${CARGO_TARGET_DIR:-target}/dist
    CROCI=${CROCI:-$built/croci} CORM=${CORM:-$built/corm}
fi
for program in "$CROCI" "$CORM"; do
    [ -x "$program" ] || { echo "demo.sh: $program is not there (make build)" >&2; exit 1; }
done
CROCI=$(readlink -f "$CROCI") CORM=$(readlink -f "$CORM")

work=/tmp/croci-demo
export CORM_ROOT=$work/disk/store
if [ -e "$work/kept" ]; then
    ! mountpoint -q "$work/disk" || umount "$work/disk"
    rm -rf "$work"
fi
mkdir -m 0700 "$work" || { echo "demo.sh: $work exists: another demo runs, or remove it" >&2; exit 1; }
end() {
    status=$?
    for id in crocodile greedy; do "$CROCI" --root "$work/state" delete --force "$id" >/dev/null 2>&1 || true; done
    "$CORM" rm -f web >/dev/null 2>&1 || true
    ! mountpoint -q "$work/podman/overlay" 2>/dev/null || umount "$work/podman/overlay"
    if [ $status = 0 ] && [ -n "${KEEP:-}" ]; then
        touch "$work/kept"
        return
    fi
    ! mountpoint -q "$work/disk" || umount "$work/disk"
    rm -rf "$work"
    [ $status = 0 ] || echo "demo.sh: FAILED (status $status)" >&2
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
fail() { echo "demo.sh: $*" >&2; exit 1; }

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
step() { printf '\n%s# %s%s\n' "$dim" "$*" "$plain"; }
# run 'COMMAND': shows a line of shell, runs it with croci and corm as its programs, and prints its time
mkdir "$work/bin"
printf '#!/bin/sh\nexec "%s" --root "%s" "$@"\n' "$CROCI" "$work/state" >"$work/bin/croci"
printf '#!/bin/sh\nexec "%s" --runtime "%s" "$@"\n' "$CORM" "$CROCI" >"$work/bin/corm"
chmod +x "$work"/bin/*
export PATH=$work/bin:$PATH
run() {
    local status=0 begin=$EPOCHREALTIME
    printf '%s$ %s%s\n' "$bold" "$1" "$plain"
    bash -c "$1" </dev/null || status=$?
    local took=$((${EPOCHREALTIME/./} - ${begin/./}))
    [ $status = 0 ] || printf '%s[exit status %d]%s\n' "$dim" $status "$plain"
    printf '%s[%d.%d ms]%s\n' "$dim" $((took / 1000)) $((took % 1000 / 100)) "$plain"
    return $status
}
fails() { if run "$1"; then fail "this should have failed: $1"; fi; }
status_is() { [ "$(croci state "$1" | jq -r .status)" = "$2" ] || fail "the container is not $2"; }

begun=$SECONDS
cd "$work"
echo "All is done in $work; to follow by hand in another terminal: sudo -i, then"
run "cd $work; export PATH=$work/bin:\$PATH CORM_ROOT=$work/disk/store"
mkdir disk && truncate -s 512M disk.img && mkfs.btrfs -q disk.img >/dev/null 2>&1
mount -o loop disk.img disk 2>/dev/null || echo "no loop device or no btrfs here: the images go to an ordinary directory"
step "A root file system: Debian's static busybox and nothing else"
run 'mkdir -p busybox/{bin,etc,tmp} && cp /bin/busybox busybox/bin/ && chroot busybox /bin/busybox --install -s /bin && ls busybox/bin | wc -l'
echo 'root:x:0:0:root:/:/bin/sh' >busybox/etc/passwd

step "corm makes a bundle of it; its program becomes a loop that prints where it is"
run 'corm bundle busybox bundle && ls bundle'
# shellcheck disable=SC2016 # the variables are the container's
run 'jq ".hostname = \"crocodile\" | .process.args = [\"sh\", \"-c\", \"echo hello from pid \$\$ on \$(hostname); while :; do sleep 1; done\"]" bundle/config.json > new && mv new bundle/config.json'

step "create: namespaces, cgroup and mounts are made; the program waits for start"
run 'croci create --bundle bundle crocodile > out 2>&1'
run 'croci state crocodile'
status_is crocodile created
[ ! -s out ] || fail "the program ran before start: $(cat out)"
run 'croci start crocodile'
for _ in $(seq 50); do [ ! -s out ] || break; sleep 0.1; done
run 'cat out'
grep -q 'hello from pid 1 on crocodile' out || fail "the program did not print its greeting"

step "exec: more programs in the same container, which sees its own processes and nothing of the host"
run 'croci exec crocodile ps'
run 'croci exec crocodile sh -c "ls /; grep CapEff /proc/self/status"'
fails 'croci exec crocodile sh -c "exit 7"'
fails 'croci exec crocodile no-such-program'
run 'croci explain exec.not_found'

step "pause and resume; a second start is refused with the reason"
run 'croci pause crocodile'
run 'croci list'
run 'croci resume crocodile'
fails 'croci start crocodile'

step "delete: the processes, the cgroup and the state are gone"
run 'croci delete --force crocodile'
fails 'croci state crocodile'
left=$(find /sys/fs/cgroup -name 'crocodile' -o -path '*croci*' -name '*crocodile*' 2>/dev/null || true)
[ -z "$left" ] || fail "cgroups are left: $left"

step "A memory limit of 16 MiB and a program that wants more: croci names the reason"
run 'jq ".linux.resources.memory.limit = 16777216 | .process.args = [\"tail\", \"/dev/zero\"]" bundle/config.json > new && mv new bundle/config.json'
fails 'croci run --bundle bundle greedy'

step "The same without root: a user namespace, and nobody becomes root in it"
chmod 0711 "$work"
mkdir -p user/run && chmod 0700 user/run && cp -r busybox user/busybox && chown -R nobody:nogroup user
ln -s "$CROCI" user/croci
ln -s "$CORM" user/corm
cat >bin/as-nobody <<SH
#!/bin/sh
exec setpriv --reuid nobody --regid nogroup --clear-groups env -i HOME=$work/user XDG_RUNTIME_DIR=$work/user/run PATH=$work/user:/usr/bin:/bin "\$@"
SH
chmod +x bin/as-nobody
run 'cat bin/as-nobody'
run 'cd user && as-nobody corm bundle busybox bundle'
run 'cd user && as-nobody jq -c .linux.uidMappings bundle/config.json'
run 'cd user && as-nobody jq ".process.args = [\"sh\", \"-c\", \"id -u; cat /proc/self/uid_map\"]" bundle/config.json > new && cat new > bundle/config.json'
run 'cd user && as-nobody croci run --bundle bundle in-user-namespace'

step "corm keeps images: here on btrfs, where a container is a snapshot"
run 'corm init busybox busybox && corm images'
run 'corm run --rm busybox echo hello'
run 'corm run -d --name web busybox sh -c "echo started; echo new > /etc/motd; exec sleep 1000"'
for _ in $(seq 50); do [ "$(corm logs web)" != started ] || break; sleep 0.1; done
run 'corm ps'
run 'corm diff web'
run 'corm commit -m "a message of the day" web busybox:2 && corm run --rm busybox:2 cat /etc/motd'
[ "$(corm run --rm busybox:2 cat /etc/motd)" = new ] || fail "the change is not in the new image"
run 'corm rm -f web'
[ -z "$(corm ps -aq)" ] || fail "a container is left"
run 'corm fsck'

if command -v podman >/dev/null; then
    step "Podman with croci as its runtime"
    podman="podman --root $work/podman --runroot $work/podman-run --storage-driver vfs"
    if tar -C busybox -c . | $podman import - busybox >/dev/null 2>&1; then
        run "$podman --runtime $CROCI run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 busybox echo hello from podman" || echo "Podman does not work here"
    fi
fi

step "Twenty containers each, run and deleted: one line"
jq '.process.args = ["true"] | del(.linux.resources.memory)' bundle/config.json >new && mv new bundle/config.json
line=''
for runtime in "$CROCI" $(command -v crun runc || true); do
    name=$(basename "$runtime") begin=$EPOCHREALTIME works=yes
    for n in $(seq 20); do
        "$runtime" --root "$work/state-2" run --bundle bundle "demo-$n" </dev/null >/dev/null 2>&1 || works=no
    done
    took=$((${EPOCHREALTIME/./} - ${begin/./}))
    if [ $works = yes ]; then
        line+="${line:+ · }$name $((took / 20000)).$((took / 2000 % 10)) ms"
    else
        line+="${line:+ · }$name does not run it here"
    fi
done
echo "$line"
echo
echo "demo: all steps did what they should, in $((SECONDS - begun)) s. What to do next:"
[ -z "${KEEP:-}" ] || echo "  cd $work                                       the directory of the demo, to repeat its steps by hand"
cat <<'TEXT'
  sudo make install                                         croci and corm below /usr/local, with man pages
  podman --runtime /usr/local/bin/croci run …               one container of an engine (docs/user/install.md)
  corm pull busybox && corm run -it --rm busybox sh         images without an engine (docs/user/tutorial.md)
TEXT
