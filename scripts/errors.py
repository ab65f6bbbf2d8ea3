#!/usr/bin/env python3
"""errors.py [FILE]: provoke each failure with croci, runc and crun, and with corm and Podman, and write what they print.

Environment: CROCI, CORM  the programs. Root, and Debian's runc, crun, podman, busybox-static and openssl. The failures are in
scripts/errors/; each runs in a directory of its own, and what it leaves is removed. Without FILE only the failures of croci and
corm are listed that are not as they must be, and the exit status is 1 if there is one.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "errors"))
# pylint: disable=wrong-import-position
import corm  # noqa: E402
import corm_cases  # noqa: E402
import croci  # noqa: E402
import registry  # noqa: E402

WORKERS = 4
HEAD = """# What croci and corm print when something fails, and what others print

Written by `make errors` from a run: each failure is provoked with croci, runc and crun, or with corm and Podman. A cell is what
the program wrote to standard error, shortened; DIR is the directory of the failure. **✓** stands before a message that names the
cause on one line with a status other than 0, **✗** before one that does not. crun runs without the host's v2 hierarchy where v1 is beside it, because it
refuses that. Lines of progress, of tries again and of usage are left out.
"""


def of_runtimes(programs, top):
    """Runs the failures of a runtime; returns them with what each runtime did."""
    cases = croci.cases()
    jobs = [(name, path, number, case) for number, case in enumerate(cases) for name, path in programs]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(lambda job: croci.provoke(job[1], f"{job[2]}{job[0]}", job[3], top), jobs))
    results = {}
    for (name, _, number, _), one in zip(jobs, found):
        results.setdefault(number, {})[name] = one
    return [(case, results[number]) for number, case in enumerate(cases)]


def of_engines(names, programs, top):
    """Runs the failures of an engine, a share of them in each of several stores."""
    addresses = registry.start(top)
    corm.prepare(top, programs)

    def share(job):
        name, first = job
        engine = corm.Engine(name, programs, top, addresses)
        status, lines = engine.run(engine.load, top)
        if status != 0:
            sys.exit(f"errors.py: {name} cannot load the image: {lines}")
        return [(name, number, engine.provoke(corm_cases.CASES[number])) for number in range(first, len(corm_cases.CASES), WORKERS)]

    with ThreadPoolExecutor(WORKERS) as pool:
        shares = list(pool.map(share, [(name, first) for name in names for first in range(WORKERS)]))
    results = {}
    for name, number, one in (row for rows in shares for row in rows):
        results.setdefault(number, {})[name] = one
    return [(case, results[number]) for number, case in enumerate(corm_cases.CASES)]


def message(found):
    """The lines of an error: without progress and usage."""
    noise = r"^\[|^pulled |^the state before|^Usage:|^`|^STEP |^Trying to pull|^See '|^corm: warning|warning msg=|^Error: $|^-->|^COMMIT"
    return [line for line in found[1] if not re.search(noise, line)]


def names(found, words):
    """Whether the cause is named on one line, with a status that is an error's."""
    lines = message(found)
    return isinstance(found[0], int) and found[0] != 0 and len(lines) == 1 and bool(re.search(words, lines[0]))


def cell(found, words):
    """A cell of the table."""
    lines = message(found)
    status = f" (status {found[0]})" if not isinstance(found[0], int) else " (accepted)" if found[0] == 0 else ""
    text = " / ".join(lines) or "nothing"
    text = re.sub(r"[0-9a-f]{64}", "…", text)
    text = text if len(text) <= 300 else text[:299] + "…"
    text = text.replace("|", "\\|").replace("<", "&lt;").replace("\\x1b", "")
    return ("✓ " if names(found, words) else "✗ ") + text + status


def table(title, rows, columns):
    """The lines of a table, with a line of sums before it."""
    yield f"\n## {title}\n"
    sums = [f"{name} {sum(bool(names(found[name], case[-1])) for case, found in rows)}" for name in columns]
    yield f"{len(rows)} failures; the cause on one line: {', '.join(sums)}.\n"
    yield "| failure | " + " | ".join(columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for case, found in rows:
        yield f"| {case[0]} | " + " | ".join(cell(found[name], case[-1]) for name in columns) + " |"


def version(program):
    """The first line of a version."""
    text = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return text.splitlines()[0]


def write_number(failures):
    """Writes the number of failures into README."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(re.sub(r"^\| \d+ failures,", f"| {failures} failures,", text, flags=re.M))


def main():
    """Runs all, and writes or judges."""
    if os.geteuid() != 0:
        sys.exit("errors.py: needs root")
    page = sys.argv[1] if len(sys.argv) > 1 else None
    top = tempfile.mkdtemp(prefix="errors.")
    os.chmod(top, 0o755)
    programs = {}
    for name in ("croci", "corm"):
        # by this name, which begins each line
        programs[name] = shutil.copy(os.environ[name.upper()], f"{top}/{name}")
    others = [(name, shutil.which(name, path=corm.PATH)) for name in ("runc", "crun")] if page else []
    try:
        runtimes = of_runtimes([("croci", programs["croci"]), *others], top)
        engines = of_engines(["corm", *(["podman"] if page else [])], programs, top)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    wrong = [(case[0], judge(case, found[name]), found[name]) for rows, name, judge in
             ((runtimes, "croci", croci.verdict), (engines, "corm", corm.verdict)) for case, found in rows if judge(case, found[name])]
    for title, what, found in wrong:
        print(f"{title}: {what}: {found[0]} {found[1]}")
    print(f"errors.py: {len(runtimes)} failures of croci and {len(engines)} of corm, {len(wrong)} not as they must be")
    if page:
        with open(page, "w", encoding="utf-8") as file:
            file.write(HEAD)
            file.write("\nVersions: " + "; ".join([*(version(path) for _, path in others), version("podman")]) + f"; Linux {os.uname().release.split('-')[0]}, cgroup "
                       + ("v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1") + ".\n")
            for title, rows, columns in (("croci, runc and crun", runtimes, ["croci", "runc", "crun"]), ("corm and Podman", engines, ["corm", "podman"])):
                file.write("\n".join(table(title, rows, columns)) + "\n")
        write_number(len(runtimes) + len(engines))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
