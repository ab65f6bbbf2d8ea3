#!/bin/bash
# syscall-tables.sh HEADERS: rewrite src/seccomp/tables/*.rs from the kernel's exported headers.
#
# HEADERS is the root of an unpacked Debian linux-libc-dev (since 6.12 one package holds every architecture):
#   apt-get download linux-libc-dev && dpkg-deb -x linux-libc-dev_*.deb HEADERS
# Take the newest one: a name missing here is skipped in every profile.
set -euo pipefail
export LC_ALL=C
headers=${1:?usage: syscall-tables.sh HEADERS}
include=$headers/usr/include
tables=$(cd "$(dirname "$0")/.." && pwd)/src/seccomp/tables
version=$(awk '/LINUX_VERSION_MAJOR/ { a = $3 } /LINUX_VERSION_PATCHLEVEL/ { b = $3 } END { print a "." b }' "$include/linux/version.h")

# numbers TRIPLET [CPP OPTION]...: "name number" for each system call that triplet's <asm/unistd.h> defines
numbers() {
    local triplet=$1; shift
    local names
    names=$(echo '#include <asm/unistd.h>' | cpp -undef -nostdinc -dM -I"$include/$triplet" -I"$include" "$@" |
        sed -nE 's/^#define (__NR_|__ARM_NR_)([a-z0-9_]+) .*/\2 \1\2/p')
    { echo '#include <asm/unistd.h>'; awk '{ print "CALL " $1 " (" $2 ")" }' <<<"$names"; } |
        cpp -undef -nostdinc -P -I"$include/$triplet" -I"$include" "$@" |
        sed -nE 's/^ *CALL //p' | while read -r name value; do
            # a name whose own macro vanished in expansion (a bare flag) has no number
            [[ $value =~ ^[0-9x\(\)+a-f[:space:]]+$ ]] && echo "$name $((value))"
        done | grep -vE '^(syscalls|arch_specific_syscall|base|cmpxchg) ' | sort -u
}

# table FILE "ARCH ARCH ARCH" LIST LIST LIST
table() {
    local file=$1 archs=$2; shift 2
    {
        echo "//! System call numbers: $archs. Generated from Linux $version headers by scripts/syscall-tables.sh; do not edit."
        echo
        echo "use super::{NONE, Row, row, x32};" | { [[ $file == x86 ]] && cat || sed 's/, x32//'; }
        echo
        echo "/// Sorted by name; the columns are $archs."
        echo "pub(crate) static ROWS: &[Row] = &["
        for i in 0 1 2; do awk -v i="$i" '{ print $1, i, $2 }' <<<"${*:$((i + 1)):1}"; done | awk 'NF == 3' | sort -k1,1 -k2,2n | awk '
            function number(n) { return n == "" ? "NONE" : (n < 1073741824 ? n : "x32(" n - 1073741824 ")") }
            function flush() { if (name != "") print "    row(\"" name "\", [" number(n[0]) ", " number(n[1]) ", " number(n[2]) "])," }
            $1 != name { flush(); name = $1; delete n }
            { n[$2] = $3 }
            END { flush() }'
        echo "];"
    } > "$tables/$file.rs"
}

table x86 "x86_64, i386, x32" \
    "$(numbers x86_64-linux-gnu -D__x86_64__)" \
    "$(numbers x86_64-linux-gnu -D__i386__)" \
    "$(numbers x86_64-linux-gnu -D__x86_64__ -D__ILP32__)"
table arm "aarch64, arm (EABI)" \
    "$(numbers aarch64-linux-gnu)" \
    "$(numbers arm-linux-gnueabihf -D__arm__ -D__ARM_EABI__)" ""
table riscv "riscv64" "$(numbers riscv64-linux-gnu -D__SIZEOF_POINTER__=8)" "" ""
table powerpc "ppc64le" "$(numbers powerpc64le-linux-gnu -D__powerpc64__)" "" ""
table s390 "s390x" "$(numbers s390x-linux-gnu -D__s390x__)" "" ""
# sgidefs.h has the names of the three ABIs
mips() { numbers mips64el-linux-gnuabi64 -D_MIPS_SIM="$1" -D_MIPS_SIM_ABI32=1 -D_MIPS_SIM_NABI32=2 -D_MIPS_SIM_ABI64=3; }
table mips "mips64el (n64), mipsel (o32), mips64el (n32)" "$(mips 3)" "$(mips 1)" "$(mips 2)"
table loongarch "loongarch64" "$(numbers loongarch64-linux-gnu -D__SIZEOF_POINTER__=8 -D__BITS_PER_LONG=64)" "" ""
rustfmt --edition 2024 "$tables"/{x86,arm,riscv,powerpc,s390,mips,loongarch}.rs
