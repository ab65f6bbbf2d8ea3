#!/bin/bash
# test-image.sh: every test of corm: stores and layers over btrfs (a loop file), overlay and copy, registries and archives
# with Debian's docker-registry, Podman, skopeo and umoci on the other side, the seed designs, a real root file system of
# Debian, kills at 200 points, 10 000 random sequences of operations, a sample of the power cuts.
# Environment: AUFS_KERNEL  a User Mode Linux kernel with the AUFS patches: the tests of stores and layers run on a real AUFS in a guest
#              SEQUENCES    the number of random sequences (10000)
#              KILLS        the number of points at which each verb is killed (200)
#              TESTS        the tests to run, separated by blanks: names of those in crates/corm/tests, `corm` for those in src,
#                           `aufs` for the guest's (all)
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
debian=${XDG_CACHE_HOME:-$HOME/.cache}/croci-debian-root
if [ ! -e "$debian" ]; then
    scripts/apt-install debootstrap
    rm -rf "$debian.new"
    # the mirror that this machine's apt uses
    mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | sed -n 1p)}
    debootstrap --variant=minbase bookworm "$debian.new" "$mirror" >/dev/null
    mv "$debian.new" "$debian"
fi
export DEBIAN_ROOT=$debian
cargo build --locked --workspace
# of the whole workspace, because another selection of packages would build everything anew
mapfile -t tests < <(cargo test --locked --workspace --no-run --message-format=json-render-diagnostics | python3 -c '
import json, sys
for made in map(json.loads, sys.stdin):
    if made.get("executable") and made["profile"]["test"] and made["manifest_path"].endswith("/crates/corm/Cargo.toml"):
        print(made["target"]["name"], made["executable"])')
[ ${#tests[@]} -gt 0 ] || { echo "test-image.sh: no test of corm was built" >&2; exit 1; }
# wanted NAME: whether TESTS has it
wanted() { [[ -z ${TESTS:-} || " $TESTS " == *" $1 "* ]]; }
failed=()
for test in "${tests[@]}"; do
    wanted "${test%% *}" || continue
    echo "== ${test%% *}"
    (cd crates/corm && KILLS=${KILLS:-200} SEQUENCES=${SEQUENCES:-10000} "${test#* }") || failed+=("${test%% *}")
done
if ! wanted aufs; then
    echo "skipped: AUFS: TESTS does not have it"
elif [ -z "${AUFS_KERNEL:-}" ]; then
    echo "skipped: AUFS: no kernel with AUFS is given (AUFS_KERNEL=FILE)"
else
    vm/setup
    for test in "${tests[@]}"; do
        case ${test%% *} in
            # the other drivers have run here; the sequences compare several
            store) skips=(--skip sequences) ;;
            # aufs hides names of more than 242 bytes, because it puts `.wh.` before them
            layers) skips=(--skip odd_names) ;;
            *) continue ;;
        esac
        echo "== ${test%% *} on AUFS"
        TEST_PATIENCE=10 DRIVERS=aufs vm/cg2-run --kernel "$AUFS_KERNEL" --timeout 3000 "${test#* }" --test-threads 2 "${skips[@]}" ||
            failed+=("${test%% *} on AUFS")
    done
fi
[ ${#failed[@]} = 0 ] || { printf 'failed: %s\n' "${failed[@]}"; exit 1; }
