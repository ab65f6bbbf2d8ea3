#!/usr/bin/env python3
"""reliability.py powercut LOG | fuzz LOG | faults LOG TITLE PROGRAM: write what a run measured into its section of docs/generated/reliability.md."""
import os
import re
import subprocess
import sys

PAGE = "docs/generated/reliability.md"
HEAD = """# Reliability

Only what was measured, by the commands that write the sections of this page.
"""
# of the guest, for the log of a run in one
KERNEL = os.environ.get("RELIABILITY_KERNEL") or os.uname().release.split("-")[0]
DAY = subprocess.run(["date", "+%F"], check=True, capture_output=True, text=True).stdout.strip()


def power_cuts(log):
    """The lines of the section of `make powercut`."""
    rows = re.findall(r"powercut: (\w+) (.+?): (\d+) points, (\d+) after the report", log)
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


def faults(log, program="croci"):
    """The lines of a section of `make faults` or `make faults-full`."""
    rows = re.findall(
        r"sweep: (.+?): (\d+) points, (\d+) of children, (\d+) left, (\d+) hangs, (\d+) silent, (\d+) other", log
    )
    order = "create,start,run,run --detach,exec,exec --detach,state,kill,delete,delete --force".split(",")
    rows.sort(key=lambda row: (order.index(row[0]) if row[0] in order else len(order), row[0]))
    total = [sum(int(row[column]) for row in rows) for column in range(1, 7)]
    what = {
        "croci": [
            "one system call of croci or of a child (init, a helper) is killed at its entry, or",
            "fails with an errno that fits. Then the verb has done its work or tells what failed; `delete --force` returns 0 within 10 s and",
            "leaves no process, cgroup, mount, state, socket, key or file in the root file system; a program finds in the container what it",
            "finds without the fault (credentials, filter, limits, mounts, devices, namespaces), or there is a warning.",
        ],
        "corm": [
            "one system call of corm, of a thread or of the supervisor is killed at its entry, or",
            "fails with an errno that fits. Then the verb has done its work or tells what failed; `rm -f`, `fsck --repair` and `system prune`",
            "return 0 within 10 s each and leave no process, mount, socket, run-time file or output that was not finished, and the store as it",
            "was; `fsck` finds nothing.",
        ],
    }[program]
    yield from [
        f"{DAY}, Linux {KERNEL}, {total[0]} points: {what[0]}",
        *what[1:],
        "",
        "| verb | points | of children | left behind | hangs over 10 s | silently wrong | other |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        yield f"| `{row[0]}` | " + " | ".join(row[1:]) + " |"
    yield "| all | " + " | ".join(map(str, total)) + " |"


def fuzz(log):
    """The lines of the section of `make fuzz`."""
    rows = re.findall(r"fuzz: (\w+): (\d+) executions in (\d+) s, (\d+) edges, status (\d+)", log)
    yield from [
        f"By `make fuzz`, {DAY}, Linux {KERNEL}: libFuzzer with rustc's instrumentation, overflow checks and debug assertions, from the",
        "corpus in `fuzz/corpus`, at the lowest priority. A finding is a panic, more than 60 s or 2 GiB for one input, or a promise that the",
        "target checks and that does not hold (`src/fuzzing`, `crates/corm/src/fuzzing.rs`).",
        "",
        "| target | seconds | executions | edges | findings |",
        "|---|---|---|---|---|",
    ]
    for name, runs, seconds, edges, status in sorted(rows):
        yield f"| `{name}` | {seconds} | {int(runs):,} | {edges} | {int(status != '0')} |"


SECTIONS = {"powercut": (power_cuts, "Power cuts"), "fuzz": (fuzz, "Fuzzing"), "faults": (faults, "")}


def main():
    kind, path, *title_and_program = sys.argv[1:]
    with open(path, encoding="utf-8", errors="replace") as file:
        log = file.read()
    write, name = SECTIONS[kind]
    title, *program = title_and_program or [name]
    lines = list(write(log, *program))
    page = HEAD
    if os.path.exists(PAGE):
        with open(PAGE, encoding="utf-8") as file:
            page = file.read()
    page = re.sub(rf"\n## {re.escape(title)}\n.*?(?=\n## |\Z)", "", page, flags=re.DOTALL)
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(page.rstrip("\n") + f"\n\n## {title}\n\n" + "\n".join(lines) + "\n")


main()
