#!/bin/bash
# docs.sh: the guides, references and figures as a site in target/docs-site, by mdBook. It is taken from $PATH or from
# ~/.cache/croci-docs, where cargo installs it once; where it cannot be had, the reason is printed and nothing fails.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
built=$(readlink -m "${CARGO_TARGET_DIR:-target}")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/croci-docs
export PATH=$PATH:$cache/bin
if ! command -v mdbook >/dev/null; then
    echo "docs.sh: mdbook is installed into $cache once, a few minutes"
    if ! CARGO_TARGET_DIR=$cache/target cargo install --quiet --locked --no-default-features --root "$cache" mdbook --version '^0.4'; then
        echo "skipped: docs: cargo cannot install mdbook (no network, or no registry)"
        exit 0
    fi
    rm -rf "$cache/target"
fi
source=$built/docs-source
rm -rf "$source" "$built/docs-site"
mkdir -p "$source/src"
# the places of the files stay, so that their links do
git ls-files -- '*.md' docs/generated LICENSE | while read -r file; do
    install -D -m 0644 "$file" "$source/src/$file"
done
cat >"$source/book.toml" <<'TOML'
[book]
title = "croci and corm"
src = "src"
[output.html]
no-section-label = true
TOML
seen=""
# page TITLE FILE
page() { echo "- [$1]($2)"; }
title() { sed -n 's/^# //p' "$1" | head -1; }
{
    echo '# Summary'
    page croci README.md
    for part in 'Guides user' 'References reference' 'Figures generated' 'Development dev'; do
        printf '\n# %s\n' "${part% *}"
        first=()
        [ "${part#* }" != user ] || first=(docs/user/tutorial.md docs/user/install.md docs/user/corm.md)
        for file in "${first[@]}" docs/"${part#* }"/*.md; do
            case " $seen " in *" $file "*) continue ;; esac
            seen="$seen $file"
            page "$(title "$file")" "$file"
        done
    done
    echo
    for file in CHANGELOG.md CONTRIBUTING.md SECURITY.md bench/README.md; do page "$(title "$file")" "$file"; done
} >"$source/src/SUMMARY.md"
mdbook build "$source" --dest-dir "$built/docs-site" 2>&1 | grep -v ' INFO ' || true
[ -e "$built/docs-site/index.html" ] || { echo "docs.sh: mdbook made no site" >&2; exit 1; }
echo "$built/docs-site/index.html"
