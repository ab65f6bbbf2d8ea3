#!/usr/bin/env python3
"""account.py CROCI [--view v1|v2] [--n N] [--write] - where each microsecond of run, create and exec is spent.

Two kinds of runs: N plain ones for the wall and CPU time, and N with perf(1) noting the entry and exit of each system call
(raw_syscalls, which costs each call about a microsecond: that of the cheapest call is subtracted). Between two calls a process runs its own
code or is in a page fault. Medians over the runs, so that a run that another process delayed counts once, and the least of each part, which
other work on the machine changes little.

--write writes the tables of this view into docs/generated/account.md. Exit status 77: perf is missing or may not trace.
"""
import argparse, collections, os, re, shutil, statistics, subprocess, sys, tempfile, time

import bundle

DOCUMENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../docs/generated/account.md")
# numbers of x86-64
GROUPS = {
    "execve": (59, 322),
    "clone": (56, 58, 435),
    "pivot_root, umount2": (155, 166),
    "mounts": (165, 428, 429, 430, 431, 432, 442),
    "namespaces": (272, 308, 112, 170),
    "cgroup directories, device program": (83, 84, 321),
    "waits for another process": (7, 45, 47, 61, 128, 247, 271),
    "files: open, read, write, close, stat": (0, 1, 2, 3, 4, 5, 16, 17, 21, 72, 73, 82, 86, 87, 88, 89, 133, 137, 138, 257, 258, 259, 262,
                                              263, 264, 266, 267, 332, 436, 437, 439),
}
OTHER = "credentials, signals, memory, others"
OWN = "own code and page faults"
GROUP_OF = {number: name for name, numbers in GROUPS.items() for number in numbers}
# a read of a child that lasts longer waits for its parent
LONG_READ = 20
EVENT = re.compile(r"^\s*(\d+)\s+(\d+\.\d+):\s+raw_syscalls:sys_(enter|exit):\s+NR (-?\d+)(?: = (-?\d+))?")


class Scene:
    """Bundles and the container of `exec`."""

    def __init__(self, croci, view, work):
        self.croci, self.root, self.number = croci, work + "/state", 0
        rootfs = bundle.make_rootfs(work)
        self.bundles = {name: bundle.bundle(work, name, view, rootfs) for name in ("true", "sleep")}
        self.running = self.id()
        self.call("create", "--bundle", self.bundles["sleep"], self.running)
        self.call("start", self.running)

    def id(self):
        self.number += 1
        return f"account-{os.getpid()}-{self.number}"

    def argv(self, *words):
        return [self.croci, "--root", self.root, *words]

    def call(self, *words):
        subprocess.run(self.argv(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)

    def verb(self, name):
        """The command line of a verb, and what has to be called afterwards."""
        if name == "exec":
            return self.argv("exec", self.running, "true"), None
        made = self.id()
        if name == "run":
            return self.argv("run", "--bundle", self.bundles["true"], made), None
        return self.argv("create", "--bundle", self.bundles["sleep"], made), made


def plain(argv):
    """Wall time and CPU time in µs, page faults."""
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1)]
    begin = time.perf_counter_ns()
    _, status, usage = os.wait4(os.posix_spawn(argv[0], argv, os.environ, file_actions=null), 0)
    wall = (time.perf_counter_ns() - begin) / 1e3
    if status:
        sys.exit(f"account: {' '.join(argv)}: wait status {status:#x}")
    return wall, (usage.ru_utime + usage.ru_stime) * 1e6, usage.ru_minflt


def events(argv, data):
    """(pid, time in µs, is entry, number, result) of each entry to a call and exit from one."""
    done = subprocess.run(["perf", "record", "-q", "-o", data, "-e", "raw_syscalls:sys_enter", "-e", "raw_syscalls:sys_exit", "--", *argv],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    text = subprocess.run(["perf", "script", "-i", data, "--ns", "-F", "tid,time,event,trace"], capture_output=True, text=True).stdout
    found = [EVENT.match(line) for line in text.splitlines()]
    rows = [(int(m[1]), float(m[2]) * 1e6, m[3] == "enter", int(m[4]), m[5]) for m in found if m]
    if done.returncode or not rows:
        print("skipped: account: perf cannot trace system calls here")
        sys.exit(77)
    return rows


def account(rows):
    """{(role, group): [calls, µs]} of one traced run, and the µs of its cheapest call."""
    order, last, entered, over = [], {}, {}, set()
    sums, cheapest = collections.defaultdict(lambda: [0, 0.0]), 1e9
    for pid, at, is_entry, number, result in rows:
        if pid in over:
            continue
        if pid not in order:
            # the first event of all is the exit from the execve that perf has made
            order.append(pid)
        role = order.index(pid)
        if is_entry:
            if pid in last:
                sums[role, OWN][1] += at - last[pid]
            entered[pid] = at
        else:
            group = GROUP_OF.get(number, OTHER)
            took = at - entered[pid] if pid in entered else 0
            cheapest = min(cheapest, took) if pid in entered else cheapest
            if role and number == 0 and took > LONG_READ:
                group = "waits for another process"
            sums[role, group][0] += 1
            sums[role, group][1] += took
            if role and number in GROUPS["execve"] and result == "0":
                # the container's program from here
                over.add(pid)
        last[pid] = at
    return sums, cheapest


def table(scene, name, n, work):
    """The lines of the table of a verb."""
    walls, traced = [], []
    for _ in range(n):
        for run in (plain, lambda argv: traced.append(account(events(argv, work + "/perf.data")))):
            argv, made = scene.verb(name)
            done = run(argv)
            if done:
                walls.append(done)
            if made:
                scene.call("delete", "--force", made)
    wall, cpu, faults = (statistics.median(column) for column in zip(*walls))
    base = statistics.median(cheapest for _, cheapest in traced)
    keys = sorted({key for sums, _ in traced for key in sums})
    yield f"\n### `{name}`\n"
    yield f"Untraced: {wall:.0f} µs (least {min(walls)[0]:.0f}), of which {cpu:.0f} on a processor; {faults:.0f} page faults.\n"
    yield "| process | what | calls | µs, median | least |"
    yield "|---|---|---|---|---|"
    for role, group in keys:
        calls = statistics.median(sums[role, group][0] for sums, _ in traced)
        spent = [max(sums[role, group][1] - sums[role, group][0] * base, 0) for sums, _ in traced]
        if statistics.median(spent) >= 1:
            who = f"child {role}" if role else "croci"
            yield f"| {who} | {group} | {calls:.0f} | {statistics.median(spent):.0f} | {min(spent):.0f} |"


def write(view, lines):
    """Replaces the tables of a view in the document."""
    begin, end = f"<!-- account {view} -->", f"<!-- end of account {view} -->"
    with open(DOCUMENT) as document:
        text = document.read()
    head, tail = text.split(begin)[0], text.split(end)[1]
    with open(DOCUMENT, "w") as document:
        document.write(head + "\n".join([begin, *lines, end]) + tail)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("croci")
    parser.add_argument("--view", choices=["v1", "v2"], default="v2")
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if not shutil.which("perf"):
        print("skipped: account: needs perf")
        sys.exit(77)
    work = tempfile.mkdtemp(prefix="croci-account-", dir="/run")
    scene = Scene(os.path.abspath(args.croci), args.view, work)
    try:
        uname, cpus = os.uname(), os.cpu_count()
        lines = [f"{time.strftime('%Y-%m-%d')}: Linux {uname.release}, {cpus} processors, cgroup {args.view}, medians of {args.n} runs."]
        for name in ("run", "create", "exec"):
            lines += table(scene, name, args.n, work)
    finally:
        scene.call("delete", "--force", scene.running)
        shutil.rmtree(work, ignore_errors=True)
    print("\n".join(lines))
    if args.write:
        write(args.view, lines)


main()
