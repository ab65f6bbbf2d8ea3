#!/bin/bash
# deps.sh: the Debian packages that building, testing and the demo need; at once when nothing is missing.
#   busybox-static  the root file system of test containers: no libraries
#   strace          fault injection and call counts      util-linux  unshare, setpriv, flock
#   procps          what `croci ps` hands its table to   libcap2-bin capsh, to drop rights before a test
#   attr            setfattr, for copies with attributes iproute2, iptables    interfaces for network device tests
#   btrfs-progs, e2fsprogs  file systems in loop files, for the store of corm
#   bash, zsh, fish, man-db  for the tests of completions and man pages
#   uidmap          newuidmap, for the tests of users with subordinate ids   wget  for commands of the pages
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
"$here/apt-install" busybox-static strace util-linux procps libcap2-bin attr iproute2 iptables btrfs-progs e2fsprogs python3 uidmap wget zsh fish man-db gcc libc6-dev ca-certificates
"$here/toolchain"
