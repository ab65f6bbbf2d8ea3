#!/bin/bash
# powercut.sh: cut the power of corm's store at POWERCUTS points (40) of each verb and right after its end, on ext4, XFS and
# btrfs, and write what came of it into docs/generated/reliability.md. A lost or damaged image is a failed test.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
scripts/deps.sh
scripts/deps-image.sh
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo build --locked --workspace
POWERCUTS=${POWERCUTS:-40} cargo test --locked -p corm --test powercut -- --nocapture --test-threads 1 2>&1 | tee "$log"
python3 - "$log" docs/generated/reliability.md <<'PYTHON'
import os
import re
import subprocess
import sys

HEAD = """# Reliability

Only what was measured, by the commands that write the sections of this page.
"""
log, page = sys.argv[1:]
with open(log, encoding="utf-8", errors="replace") as file:
    rows = re.findall(r"powercut: (\w+) (\w+): (\d+) points, (\d+) after the report", file.read())
kernel = os.uname().release.split("-")[0]
day = subprocess.run(["date", "+%F"], check=True, capture_output=True, text=True).stdout.strip()
systems = list(dict.fromkeys(row[0] for row in rows))
lines = [
    "## Power cuts",
    "",
    f"By `make powercut`, {day}, Linux {kernel}, {sum(int(row[2]) for row in rows)} cuts: at points spread over a verb, and right after",
    "its end. After each the file system is mounted again: every image that is listed has all of its blobs and files, what was",
    "reported as done is there, `fsck --repair` succeeds, `fsck` finds nothing more, and the same verb works again. ext4 and XFS are",
    "shut down without a flush of their journals; btrfs is mounted from a copy of its device.",
    "",
    "| verb | " + " | ".join(f"{system}: cuts (after the report)" for system in systems) + " | lost or damaged |",
    "|---|" + "---|" * (len(systems) + 1),
]
for verb in dict.fromkeys(row[1] for row in rows):
    cells = {row[0]: f"{row[2]} ({row[3]})" for row in rows if row[1] == verb}
    lines.append(f"| `{verb}` | " + " | ".join(cells.get(system, "-") for system in systems) + " | 0 |")
section = "\n".join(lines) + "\n"
text = open(page, encoding="utf-8").read() if os.path.exists(page) else HEAD
text = re.sub(r"\n## Power cuts\n.*?(?=\n## |\Z)", "", text, flags=re.DOTALL)
with open(page, "w", encoding="utf-8") as file:
    file.write(text.rstrip("\n") + "\n\n" + section)
PYTHON
