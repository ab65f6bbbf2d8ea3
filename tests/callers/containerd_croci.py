"""containerd by `ctr` with croci's own shim, io.containerd.croci.v2, on the operations of containerd.py and on some more."""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import containerd
import shim_calls
from harness import DEADLINE, SCRIPTS, Failure, Skip, alive, call, counters, holds, matches, nothing_left, on_terminal, operation, same, wait_for
from image import NAME

OPERATIONS = [*containerd.OPERATIONS, *shim_calls.OPERATIONS]
SHIM = "containerd-shim-croci-v2"


class Caller(containerd.Caller):
    """A containerd that finds the shim beside the runtime."""

    NAME = "containerd with croci's shim"
    TYPE = "io.containerd.croci.v2"
    POINTS = int(os.environ.get("POINTS", 12))
    PODS = int(os.environ.get("PODS", 100))
    LONGEST = 0.25  # seconds in which a verb has passed all its points
    STATES = ["/run/containerd/croci/callers", "/run/containerd/s", "/run/containerd/fifo"]

    def __init__(self, work, image, runtime):
        directory = Path(runtime).parent
        if not (directory / SHIM).exists():
            raise Skip(f"no {SHIM} beside {runtime}")
        self.PROGRAMS = (*self.PROGRAMS, directory)
        super().__init__(work, image, runtime)

    def how(self):
        return ["--runtime", self.TYPE]

    def shims(self):
        """Returns the pids of the shims."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if "serve" in arguments(pid) and SHIM in arguments(pid)[0]]

    def without_shims(self):
        """Waits until the shims of the operations before have ended, which is after the end of their tasks."""
        wait_for("no shim", lambda: not self.shims())

    def restart(self):
        """Kills containerd and starts it again."""
        self.daemon.kill()
        self.daemon.wait()
        self.daemon = subprocess.Popen(["containerd", "--config", str(self.work / "config.toml")], stdout=self.log, stderr=self.log,
                                       env=self.env)
        wait_for("containerd answers", lambda: self("version", expect=None).code == 0)

    def collect(self):
        """Lets containerd remove what it had written of a snapshot when it was killed: it uses the name again and fails."""
        self("images", "tag", "--force", NAME, "localhost/collected:1")
        self("images", "rm", "--sync", "localhost/collected:1")


class Events:
    """`ctr events` from the first event after `with` on."""

    def __init__(self, caller):
        self.caller, self.file = caller, caller.work / "events"

    def __enter__(self):
        with open(self.file, "w") as file:
            self.child = subprocess.Popen([*self.caller.argv(), "events"], stdout=file, stderr=file, env=self.caller.env)
        number = iter(range(10000))
        try:
            # an event of our own, because nothing else tells that containerd has taken the subscription
            wait_for("ctr events prints an event", lambda: self.caller("namespaces", "label", "callers", f"try={next(number)}")
                     and "/namespaces/update" in self.file.read_text())
        except Failure as failure:
            self.__exit__()
            raise Failure(f"{failure}: {self.text()}") from None
        return self

    def __exit__(self, *_):
        self.child.terminate()
        self.child.wait()

    def text(self):
        return self.file.read_text()

    def until(self, pattern):
        """Waits until the text has the pattern."""
        try:
            wait_for("event", lambda: re.search(pattern, self.text()))
        except Failure:
            raise Failure(f"no event {pattern}: {self.text()!r}; containerd: {(self.caller.work / 'log').read_text()[-2000:]}") from None


def arguments(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return [""]


def op(title):
    return operation(OPERATIONS, title)


@op("no program of a runtime is called; the shim has one thread")
def _(c):
    c.without_shims()
    name = c.up()
    shims = c.shims()
    same(len(shims), 1, "shims")
    same(len(os.listdir(f"/proc/{shims[0]}/task")), 1, "threads")
    pss = int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{shims[0]}/smaps_rollup").read_text(), re.M)[1])
    debug = (Path(c.runtime).parent / SHIM).stat().st_size > 5 << 20
    holds(pss <= 3500 or debug, f"{pss} KiB")
    same(c.status(name), "RUNNING", "status")


@op("the shim is killed: containerd cleans up, nothing is left")
def _(c):
    c.run(command=["true"])
    states = c.states[:2] + c.states[3:]  # ctr leaves its own fifos when it has no task to delete
    before = counters(states)
    name = c.up()
    pid = c.pid(name)
    os.kill(c.shims()[0], signal.SIGKILL)
    wait_for("the container is dead", lambda: not alive(pid))
    wait_for("the task is gone", lambda: c.status(name) in ("gone", "STOPPED", "UNKNOWN"))
    c.clean()
    nothing_left(before, states)


@op("containerd is killed: it finds the shim again, and learns of an end meanwhile")
def _(c):
    name, other = c.up(), c.up()
    pid = c.pid(name)
    c.daemon.kill()
    c.daemon.wait()
    os.kill(pid, signal.SIGKILL)
    wait_for("dead", lambda: not alive(pid))
    c.restart()
    # containerd 2 removes a task without processes when it starts
    wait_for("the end is known", lambda: c.status(name) in ("STOPPED", "gone"))
    same(c.status(other), "RUNNING", "the other")
    same(c("task", "exec", "--exec-id", "after", other, "echo", "hi").out, "hi\n", "exec afterwards")
    if c.status(name) == "STOPPED":
        matches(c("task", "delete", name).err, "137", "exit status told by delete")


@op("run --log-uri file://, binary://: every line")
def _(c):
    log = c.work / "logs/out"
    count = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; echo err >&2"
    c("run", "-d", *c.how(), "--log-uri", f"file://{log}", *c.run_argv(command=["sh", "-c", count])[1][1 + len(c.how()):])
    wait_for("all lines", lambda: log.exists() and log.read_text().splitlines()[-1:] == ["err"])
    same(log.read_text().splitlines(), [f"line {i}" for i in range(1, 2001)] + ["err"], "lines")
    c("task", "exec", "-d", "--exec-id", "e", "--log-uri", f"file://{log}.exec", c.up(), "sh", "-c", "echo one; echo two >&2")
    wait_for("both lines of an exec", lambda: log.with_suffix(".exec").exists() and log.with_suffix(".exec").read_text() == "one\ntwo\n")
    script = c.work / "logger"
    script.write_text('#!/bin/sh\necho "$CONTAINER_NAMESPACE $1=$2" >"$2.env"\nexec 5>&-\ncat <&3 >"$2" & cat <&4 >"$2.err"; wait\n')
    script.chmod(0o755)
    seen = c.work / "seen"
    c("run", "-d", *c.how(), "--log-uri", f"binary://{script}?to={seen}", *c.run_argv(command=["sh", "-c", count])[1][1 + len(c.how()):])
    wait_for("all lines", lambda: seen.exists() and len(seen.read_text().splitlines()) == 2000)
    wait_for("standard error", lambda: Path(f"{seen}.err").read_text())
    same(Path(f"{seen}.env").read_text(), f"callers to={seen}\n", "environment and parameters")
    same(Path(f"{seen}.err").read_text(), "err\n", "standard error")


@op("events: create, start, exec, exit, delete in order")
def _(c):
    with Events(c) as events:
        name = c.up()
        c("task", "exec", "--exec-id", "e", name, "true")
        c("task", "kill", "-s", "9", name)
        wait_for("stopped", lambda: c.status(name) == "STOPPED")
        c("task", "delete", name, expect=None)
        c("container", "rm", name)
        events.until("/tasks/delete")
    topics = re.findall(rf'(/tasks/[a-z-]+).*"{name}"', events.text())  # an event of another container may come late
    wanted = ["/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started", "/tasks/exit", "/tasks/exit", "/tasks/delete"]
    same(topics, wanted, f"events in {events.text()!r}")


@op("input of the program: its end of file comes with the client's")
def _(c):
    name, argv = c.run_argv("--rm", command=["cat"])
    run = subprocess.Popen([*c.argv(), *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=c.env, text=True)
    try:
        # ctr misses an end of its input that comes before the start
        wait_for("running", lambda: c.status(name) == "RUNNING")
        same(run.communicate("one\ntwo\n", timeout=DEADLINE)[0], "one\ntwo\n", "output")
    finally:
        run.kill()
        run.wait()


def killed_at_points(c, kill):
    """Calls `kill` at points of run, exec and delete; returns how often it found what it kills."""
    found, points = 0, max(c.POINTS // 3, 1)
    for verb in ("run", "exec", "delete"):
        for point in range(points):
            name, argv = c.run_argv("-d", command=["sleep", "1000"])
            if verb != "run":
                c(*argv)
            if verb == "exec":
                argv = ["task", "exec", "--exec-id", "e", name, "true"]
            elif verb == "delete":
                argv = ["task", "delete", "-f", name]
            call = subprocess.Popen([*c.argv(), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=c.env)
            time.sleep(c.LONGEST * point / points)
            found += kill()
            try:
                call.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                call.kill()
                call.wait()
                raise Failure(f"{verb}, point {point} of {points}: ctr does not end") from None
            try:
                wait_for("nothing left", lambda: not left(c), 2 * DEADLINE)
            except Failure:
                raise Failure(f"{verb}, point {point} of {points}: left: {left(c)}; {(c.work / 'log').read_text()[-3000:]}") from None
    return found


def left(c):
    """Removes what can be removed; returns the shims, tasks and containers that are left."""
    c.clean()
    tasks, containers = (c(kind, "ls", "-q", expect=None) for kind in ("task", "container"))
    return [*map(str, c.shims()), *(tasks.out or tasks.err).split(), *(containers.out or containers.err).split()]


@op("the shim is killed at points of run, exec and delete: recovered, nothing left")
def _(c):
    def kill():
        found = 0
        for pid in c.shims():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGKILL)
                found = 1
        return found

    c.run(command=["true"])
    states = c.states[:2] + c.states[3:]
    before = counters(states)
    found = killed_at_points(c, kill)
    holds(found >= c.POINTS // 3, f"{found} shims were there to be killed")
    nothing_left(before, states)


@op("containerd is killed at points of run, exec and delete: recovered, nothing left")
def _(c):
    c.run(command=["true"])
    states = c.states[:2] + c.states[3:]
    before = counters(states)

    def kill():
        c.restart()
        c.collect()
        return True

    killed_at_points(c, kill)
    # containerd renames a bundle to remove it, and looks at no such name again when it is killed in between
    for bundle in Path(states[-1]).glob(".*"):
        shutil.rmtree(bundle)
    nothing_left(before, states)


def in_pod(c, pod, *options):
    """Returns the flags that put a container into a pod, whose containers have one shim."""
    del c
    return ["--annotation", f"io.kubernetes.cri.sandbox-id={pod}", *options]


@op("containers of a pod have one shim, which ends with the last one")
def _(c):
    if "--annotation" not in c("run", "--help").out:
        raise Skip("this ctr has no --annotation")
    c.without_shims()
    one, two = c.up(*in_pod(c, "p1")), c.up(*in_pod(c, "p1"))
    other = c.up(*in_pod(c, "p2"))
    same(len(c.shims()), 2, "shims")
    for name in (one, two, other):
        same(c("task", "exec", "--exec-id", "e", name, "echo", name).text, name, "output")
    c("task", "delete", "-f", one, expect=None)
    same((len(c.shims()), c.status(two)), (2, "RUNNING"), "shims and the second container")
    for name in (two, other):
        c("task", "delete", "-f", name, expect=None)
    c.without_shims()


@op("many pods up at the same time, then down: each has a shim of its own, nothing is left")
def _(c):
    c.without_shims()
    c.run(command=["true"])
    before = counters(c.states)
    annotated = "--annotation" in c("run", "--help").out
    names = []
    for number in range(c.PODS):
        names.append(c.up(*(in_pod(c, f"up{number}") if annotated else [])))
        if annotated and number % 10 == 0:
            names.append(c.up(*in_pod(c, f"up{number}")))
    same(len(c.shims()), c.PODS, "shims")
    listed = re.findall(r"^(\S+)\s+\d+\s+(\w+)", c("task", "ls").out, re.M)
    same(sorted(listed), sorted((name, "RUNNING") for name in names), "tasks")
    for name in names:
        c("task", "rm", "-f", name, expect=None)  # by the exit status of the killed program
    c.clean()
    nothing_left(before, c.states)


@op("events: the kernel kills for memory")
def _(c):
    with Events(c) as events:
        script = "until [ -e /tmp/go ]; do sleep 0.1; done; tail /dev/zero; sleep 100"
        name = c.up("--memory-limit", str(16 << 20), command=["sh", "-c", script])
        c("task", "exec", "--exec-id", "e", name, "touch", "/tmp/go")
        events.until(f'/tasks/oom.*"{name}"')


@op("attach: output after the start, input to a terminal")
def _(c):
    name, argv = c.run_argv("-d", "-t", command=["sh", "-c", "read x; echo got $x; exit 4"])
    same(on_terminal([*c.argv(), *argv], env=c.env)[0], 0, "exit status of run")
    code, seen = on_terminal([*c.argv(), "task", "attach", name], env=c.env, typed=[("", "word\n")])
    same(code, 4, "exit status")
    matches(seen, "got word", "output")


@op("packaging/kubernetes/install.sh: containerd has both handlers, the shim is installed")
def _(c):
    host, programs = c.work / "host", c.work / "programs"
    programs.mkdir()
    (host / "etc/containerd").mkdir(parents=True)
    config = host / "etc/containerd/config.toml"
    version = re.search(r"^version = (\d)", call(["containerd", "config", "default"], env=c.env).out, re.M)[1]
    config.write_text(f"version = {version}\n")
    for name in ("croci", SHIM):
        (programs / name).write_bytes(b"#!/bin/sh\n")
    env = {**c.env, "HOST": str(host), "FROM": str(programs), "ONCE": "1", "NODE": ""}
    for _ in range(2):  # the second time nothing is added
        call(["sh", str(SCRIPTS.parent / "packaging/kubernetes/install.sh")], env=env)
    same(sorted(os.listdir(host / "usr/local/bin")), [SHIM, "croci"], "programs")
    same(config.read_text().count("conf.d"), 1, "imports")
    config.write_text(config.read_text().replace("/etc/containerd", str(host / "etc/containerd")))
    seen = call(["containerd", "--config", str(config), "config", "dump"], env=c.env).out
    ours = rf"runtime_type = ['\"]{c.TYPE}['\"]" if version == "2" else rf"runtime_path = ['\"]/usr/local/bin/{SHIM}['\"]"
    for handler, line in (("croci", r"runtime_type = ['\"]io.containerd.runc.v2['\"]"), ("croci-shim", ours)):
        matches(seen, rf"runtimes\.['\"]?{handler}['\"]?\](?:(?!\n *\[).)*{line}", handler)


@op("many at once")
def _(c):
    c.run(command=["true"])
    before = counters(c.states)
    runs = []
    for number in range(20):
        argv = c.run_argv("--rm", command=["sh", "-c", f"echo {number}; exit {number}"])[1]
        runs.append(subprocess.Popen([*c.argv(), *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=c.env, text=True))
    for number, run in enumerate(runs):
        same((run.communicate(timeout=4 * DEADLINE)[0], run.returncode), (f"{number}\n", number), "output and status")
    nothing_left(before, c.states)
