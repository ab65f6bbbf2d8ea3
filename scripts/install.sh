#!/bin/bash
# install.sh DIR PROGRAM...: install programs below DIR (/usr/local), with their man pages and completions in packaging/.
# install.sh --remove DIR PROGRAM...: remove them again.
set -euo pipefail
action=add
if [ "$1" = --remove ]; then
    action=remove
    shift
fi
dir=$1
shift
here=$(dirname "$(readlink -f "$0")")/../packaging

# put MODE FILE TARGET
put() {
    case $action in
        add) install -D -m "$1" "$2" "$3" ;;
        remove) rm -f "$3" ;;
    esac
}

for program; do
    name=$(basename "$program")
    put 0755 "$program" "$dir/bin/$name"
    for page in "$here/man/$name".1 "$here/man/$name"-*.1; do
        put 0644 "$page" "$dir/share/man/man1/$(basename "$page")"
    done
    put 0644 "$here/bash/$name" "$dir/share/bash-completion/completions/$name"
    put 0644 "$here/zsh/_$name" "$dir/share/zsh/site-functions/_$name"
    put 0644 "$here/fish/$name.fish" "$dir/share/fish/vendor_completions.d/$name.fish"
done
