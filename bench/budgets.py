#!/usr/bin/env python3
"""budgets.py CROCI [--write] - counts what each verb of a release costs without a clock, and compares it with bench/budgets.

Counted by ptrace(2) (root, x86-64, python3 alone): of croci and what it clones until that runs another program, system calls,
processes and page faults; instructions of --version, one step at a time; the
greatest resident memory of one of its processes, and what a created container holds that waits. Each is the least of several runs.

--write writes the table anew. Exit status: 0 all within budget, 1 one is over, 77 this machine cannot count (a reason is printed).
"""
import os, platform, re, shutil, signal, sys, tempfile, time

import bundle, tracer

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "budgets")
COLUMNS = ["calls", "processes", "faults", "instructions", "resident KiB", "anonymous KiB"]
# what a count may differ by on another machine of the same kind: page cache, order of parent and child
SLACK = {"calls": (1.06, 12), "processes": (1, 0), "faults": (1.15, 12), "instructions": (1.10, 10_000),
         "resident KiB": (1.25, 200), "anonymous KiB": (1.25, 64)}
# verbs whose instructions are counted: a step takes 5 to 30 µs
STEPPED = ("--version",)
# seconds for the steps of one verb
STEPS_TIME = 30
ROUNDS = 2


def faults(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[7])


def memory(pid):
    """Resident and anonymous KiB of a process."""
    with open(f"/proc/{pid}/smaps_rollup") as text:
        sizes = dict(re.findall(r"(\w+): +(\d+) kB", text.read()))
    return int(sizes["Rss"]), int(sizes["Anonymous"])


class Counter(tracer.Tracer):
    """Counts of one run."""

    resume = tracer.SYSCALL

    def __init__(self):
        self.calls, self.faults, self.ended, self.inside = 0, 0, set(), {}
        self.resident, self.anonymous, self.before = 0, 0, None

    def on_exec(self, pid):
        # those of this program's own fork, before the first execve
        if self.before is None:
            self.before = faults(pid)
            self.faults -= self.before

    def on_call(self, pid):
        self.inside[pid] = not self.inside.get(pid, False)
        if self.inside[pid]:
            self.calls += 1
            if self.calls % 8 == 0:
                self.look(pid)

    def look(self, pid):
        resident, anonymous = memory(pid)
        self.resident, self.anonymous = max(self.resident, resident), max(self.anonymous, anonymous)

    def on_end(self, pid, main):
        self.ended.add(pid)
        self.faults += faults(pid)
        if main:
            self.look(pid)

    def on_leave(self, pid):
        self.ended.add(pid)
        self.faults += faults(pid)

    def result(self):
        return dict(zip(COLUMNS, (self.calls, len(self.ended), self.faults, None, self.resident, self.anonymous)))


class TooBusy(Exception):
    """Other work on the machine makes each step slow."""


class Stepper(tracer.Tracer):
    """Counts the instructions of the command itself."""

    resume = tracer.SINGLESTEP

    def __init__(self):
        self.steps, self.deadline = 0, time.monotonic() + STEPS_TIME

    def on_trap(self, pid):
        self.steps += 1
        if time.monotonic() > self.deadline:
            raise TooBusy
        return True


def checked(follow, argv):
    status = follow.run(argv)
    if status:
        sys.exit(f"budgets: {' '.join(argv)}: wait status {status:#x}")
    return follow


class Scene:
    """Containers to measure on, below a directory of its own."""

    def __init__(self, croci, work):
        self.croci, self.work, self.number, self.live = croci, work, 0, []
        self.bundles = {name: bundle.bundle(work, name) for name in bundle.ARGS}

    def argv(self, *words):
        return [self.croci, "--root", self.work + "/state", *words]

    def id(self):
        self.number += 1
        return f"budgets-{os.getpid()}-{self.number}"

    def call(self, *words):
        pid = os.fork()
        if not pid:
            null = os.open("/dev/null", os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            os.execv(self.croci, self.argv(*words))
        if os.waitpid(pid, 0)[1]:
            sys.exit(f"budgets: {' '.join(words)} fails")

    def container(self, *steps):
        """A container after `create` and these verbs; returns its ID."""
        name = self.id()
        self.live.append(name)
        self.call("create", "--bundle", self.bundles["sleep"], "--pid-file", self.work + "/pid", name)
        for verb in steps:
            self.call(verb, name)
        return name

    def pid(self):
        with open(self.work + "/pid") as text:
            return int(text.read())

    def kill(self, name):
        self.call("kill", name, "KILL")
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                if os.waitpid(self.pid(), os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return
            time.sleep(0.01)

    def clean(self):
        for name in self.live:
            self.call("delete", "--force", name)
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pass
        self.live.clear()

    def verbs(self):
        """Yields the name of each verb and a function that prepares its command line."""
        yield "--version", lambda: [self.croci, "--version"]
        yield "run", lambda: self.argv("run", "--bundle", self.bundles["true"], self.id())
        yield "run, seccomp", lambda: self.argv("run", "--bundle", self.bundles["seccomp"], self.id())
        yield "create", lambda: self.argv("create", "--bundle", self.bundles["sleep"], self.noted())
        yield "start", lambda: self.argv("start", self.container())
        yield "state", lambda: self.argv("state", self.container("start"))
        yield "exec", lambda: self.argv("exec", self.container("start"), "true")
        yield "kill", lambda: self.argv("kill", self.container("start"), "KILL")
        yield "list", lambda: self.argv("list") if self.container("start") else None
        yield "delete", self.stopped

    def noted(self):
        self.live.append(self.id())
        return self.live[-1]

    def stopped(self):
        name = self.container("start")
        self.kill(name)
        self.live.remove(name)
        return self.argv("delete", name)


def measure(scene):
    """Yields (name, counts) of each verb."""
    for name, prepare in scene.verbs():
        best = {}
        for number in range(-1, ROUNDS):
            counts = checked(Counter(), prepare()).result()
            scene.clean()
            for column, count in counts.items():
                # the first run fills the page cache
                if number >= 0 and count is not None:
                    best[column] = min(best.get(column, count), count)
        if name in STEPPED:
            try:
                best["instructions"] = checked(Stepper(), prepare()).steps
            except TooBusy:
                # the end of this thread would not end the command, which stands still now
                print(f"skipped: instructions of {name}: more than {STEPS_TIME} s on a machine with other work")
            scene.clean()
        yield name, best
    scene.container()
    resident, anonymous = memory(scene.pid())
    yield "waiting", {"resident KiB": resident, "anonymous KiB": anonymous}
    scene.clean()


def read_table():
    table = {}
    for line in open(TABLE):
        if not line.startswith("#"):
            name, *values = (word.strip() for word in line.split("|"))
            table[name] = {column: int(value) for column, value in zip(COLUMNS, values) if value != "-"}
    return table


def write_table(rows):
    with open(TABLE, "w") as out:
        out.write("# What each verb of a release may cost: `make budgets` compares, `bench/budgets.py CROCI --write` writes this anew.\n"
                  "# Counted on the cgroup v1 hierarchies of a hybrid machine, which are the most; with the slack of budgets.py.\n"
                  f"# {'verb':12} | " + " | ".join(COLUMNS) + "\n")
        for name, counts in rows:
            out.write(f"{name:14} | " + " | ".join(f"{counts.get(column, '-')!s:>{len(column)}}" for column in COLUMNS) + "\n")


def compare(rows):
    """Prints each count beside its budget; returns how many are over."""
    table, over = read_table(), 0
    for name, counts in rows:
        for column, count in counts.items():
            budget = table.get(name, {}).get(column)
            if budget is None:
                print(f"{name:14} {column:14} {count:>9}  no budget")
                over += 1
                continue
            factor, more = SLACK[column]
            limit = int(budget * factor) + more
            verdict = "OVER" if count > limit else "less: write the table anew" if count < budget * 0.85 - more else "ok"
            over += verdict == "OVER"
            print(f"{name:14} {column:14} {count:>9}  of {budget:>9} (at most {limit}) {verdict}")
    return over


def main():
    croci = os.path.abspath(sys.argv[1])
    if platform.machine() != "x86_64" or os.geteuid():
        print("skipped: budgets: needs x86-64 and root")
        sys.exit(77)
    tracer.libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: containers end as children of this process
    work = tempfile.mkdtemp(prefix="croci-budgets-", dir="/run")
    scene = Scene(croci, work)
    try:
        rows = list(measure(scene))
    finally:
        scene.clean()
        shutil.rmtree(work, ignore_errors=True)
    if "--write" in sys.argv:
        write_table(rows)
        return
    over = compare(rows)
    print(f"budgets: {over} over")
    sys.exit(over > 0)


main()
