#!/bin/bash
# test-vm.sh [--full] [TEST...]: build here, then run tests where cgroup v2 is the only hierarchy, in two guests side by
# side: in one croci makes the cgroups, in the other systemd, PID 1 there, makes them (--systemd-cgroup). In both there is an
# ordinary user, for the tests without root. TEST is tests/TEST.rs or tests/TEST/main.rs; without any a sample is run, with
# --full every test that makes containers, the unit tests of cgroups, and the conformance suite by both managers.
# Environment: CG2_OPTIONS  more options for vm/cg2-run, e.g. "--kernel source".
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
full=''
if [ "${1:-}" = --full ]; then full=1; shift; fi
both=(lifecycle verbs_update verbs_why rootless)
[ -z "$full" ] || both+=(verbs_create verbs_exec verbs_kill verbs_info terminal namespaces mounts configs faults security leaks)
[ $# -eq 0 ] || both=("$@")
cgroupfs=("${both[@]}") systemd=("${both[@]}")
if [ $# -eq 0 ]; then
    cgroupfs+=(lsm)
    systemd=(systemd "${both[@]}")
fi
timeout=$([ -n "$full" ] && echo 3000 || echo 1200)

scripts/deps.sh
scripts/apt-install podman conmon
vm/setup
# shellcheck disable=SC2206 # words
options=(${CG2_OPTIONS:-} --timeout "$timeout")

# a kernel that is an ordinary process wants an x86-64 machine that lets it trace its own; anything else is a failure
if ! reason=$(vm/cg2-run "${options[@]}" true 2>&1); then
    echo "$reason" >&2
    cannot=$(grep -E -i -m 1 'ptrace.*(fail|not permitted)|(fail|not permitted).*ptrace|exec format error|must not be mounted noexec' <<<"$reason") || exit 1
    echo "test-vm: skipped: this machine runs no User Mode Linux kernel: $cannot"
    exit 0
fi

mapfile -t names < <(printf '%s\n' "${cgroupfs[@]}" "${systemd[@]}" | sort -u)
flags=("${names[@]/#/--test=}")
[ -z "$full" ] || flags+=(--lib)
# shellcheck disable=SC2016 # Python
built=$(cargo test --locked -p croci --no-run --message-format=json-render-diagnostics "${flags[@]}" | python3 -c '
import json, sys
for message in map(json.loads, sys.stdin):
    if message.get("executable") and "/deps/" in message["executable"]:
        print(message["target"]["name"], message["executable"])')
cargo build --locked --workspace
path_of() { awk -v name="$1" '$1 == name { print $2 }' <<<"$built"; }
target=$(dirname "$(dirname "$(awk 'NR == 1 { print $2 }' <<<"$built")")")
[ "$(wc -l <<<"$built")" -eq ${#flags[@]} ] || { echo "test-vm.sh: not all tests were built: $built" >&2; exit 1; }

log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT
# directories that the guest has of its own hide the host's
for dir in "$PWD" "$target" "$log"; do
    case $dir/ in /tmp/* | /var/tmp/* | /run/*) options+=(--share "$dir") ;; esac
done
printf '#!/bin/sh\nexec %q --systemd-cgroup "$@"\n' "$target/croci" >"$log/croci-systemd"
# tests of paths that systemd's cgroups cannot have are no failures there
printf '#!/bin/bash\n%q --runtime %q | tee %q\n! grep "^# failed: " %q | grep -v "with systemd it is slice:prefix:name"\n' \
    "$target/conformance" "$log/croci-systemd" "$log/verdicts" "$log/verdicts" >"$log/conformance-systemd"
chmod +x "$log/croci-systemd" "$log/conformance-systemd"

# somebody with subordinate ids and, where there is systemd, a service manager; the guest forgets him
# shellcheck disable=SC2016 # expanded in the guest
job='manager=$1; shift
id tester >/dev/null 2>&1 || useradd -m tester
if [ -d /run/systemd/system ]; then
    loginctl enable-linger tester
    for ((i = 0; i < 300; i++)); do [ ! -S "/run/user/$(id -u tester)/bus" ] || break; sleep 0.1; done
fi
status=0
while [ $# -gt 0 ]; do
    name=$1; shift
    command=()
    while [ "$1" != . ]; do command+=("$1"); shift; done
    shift
    echo "     Running $name, cgroups by $manager"
    "${command[@]}" 2>&1 || status=1
done; exit $status'

# what runs in a guest: names, commands, dots
suite() { # suite MANAGER TEST...
    local manager=$1 name
    shift
    # ten thousand state directories take the guest half an hour
    for name; do echo "$name" "$(path_of "$name")" --test-threads 2 --skip ft_48_ .; done
    [ -z "$full" ] || [ "$manager" = systemd ] || echo units "$(path_of croci)" cgroup:: plan:: --test-threads 2 .
    if [ "$manager" = cgroupfs ]; then
        echo conformance "$target/conformance" --runtime "$target/croci" .
    elif [ -n "$full" ]; then
        echo conformance "$log/conformance-systemd" .
    fi
}
status=0
# shellcheck disable=SC2046 # words
vm/cg2-run "${options[@]}" bash -c "$job" job cgroupfs $(suite cgroupfs "${cgroupfs[@]}") >"$log/cgroupfs" 2>&1 &
first=$!
# shellcheck disable=SC2046 # words
CROCI_TEST_MANAGER=systemd vm/cg2-run --systemd "${options[@]}" \
    bash -c "$job" job systemd $(suite systemd "${systemd[@]}") 2>&1 | tee "$log/systemd" || status=1
wait $first || status=1
cat "$log/cgroupfs"

# one line a run: what ran by whom, and how it went
summary() {
    awk -v manager="$1" '
        / *Running .*, cgroups by / { sub(/^ *Running /, ""); sub(/,.*/, ""); name = $0; order[++count] = name }
        /^test .* \.\.\. ok$/ { ok[name]++ }
        /^test .* \.\.\. FAILED$/ { failed[name]++ }
        /^skipped: / { skipped[name]++ }
        /^# total/ { ok[name] = $3; failed[name] = $4; skipped[name] = $5 }
        END {
            for (i = 1; i <= count; i++) {
                name = order[i]
                printf "test-vm: %-8s %-12s %d passed, %d failed, %d skipped\n",
                    name == "rootless" ? "rootless" : manager, name == "rootless" ? "(" manager ")" : name,
                    ok[name] - (name == "conformance" ? 0 : skipped[name]), failed[name], skipped[name]
            }
        }' "$log/$1"
}
summary cgroupfs
summary systemd
grep -h '^skipped: ' "$log/cgroupfs" "$log/systemd" | sort | uniq -c || true
exit "$status"
