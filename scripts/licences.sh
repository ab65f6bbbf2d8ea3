#!/bin/bash
# licences.sh: every crate that is linked into our programs, or builds them, has a licence from the list below.
# The same list is in deny.toml, for `cargo deny`; this check needs nothing but cargo and python3.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/apt-install python3
cargo metadata --format-version 1 --locked --all-features --filter-platform x86_64-unknown-linux-gnu --filter-platform x86_64-unknown-linux-musl |
    python3 -c '
import json, re, sys

with open("deny.toml") as text:
    allowed = set(re.findall(r"\"([^\"]+)\"", re.search(r"^allow = \[(.*?)\]", text.read(), re.M | re.S)[1]))

def fits(expression):
    """Is an SPDX expression satisfied: OR of AND of names; brackets first; the old "A/B" means OR."""
    while (inner := re.search(r"\(([^()]*)\)", expression)):
        expression = expression.replace(inner[0], "+" if fits(inner[1]) else "-")
    return any(all(name.strip() in allowed | {"+"} for name in re.split(r"\s+AND\s+", part))
               for part in re.split(r"\s+OR\s+|/", expression))

packages = json.load(sys.stdin)["packages"]
bad = [p for p in packages if not fits(p["license"] or "none")]
for p in bad:
    print("licence not on the list: {name} {version}: {0}".format(p["license"] or "none", **p), file=sys.stderr)
print(f"licences: {len(packages)} packages, {len(bad)} not on the list")
sys.exit(1 if bad else 0)'
