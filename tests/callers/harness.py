"""Common functions of the tests of all callers: operations, calls with a deadline, terminals, cgroup values, leak counters.

Not here: the private namespaces (run), the image (image.py), anything that only one caller knows.
"""
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
DEADLINE = 30  # seconds for one call of a caller; none of them takes more than five on an idle machine


class Failure(Exception):
    """A failure: the result is not the expected one."""


class Skip(Exception):
    """A skipped operation, which the machine cannot run; the text is the reason."""


@dataclass
class Operation:
    title: str
    body: object


def operation(registry, title):
    """Enters a function into `registry` under the title that the table of docs/reference/callers.md shows."""
    def enter(body):
        registry.append(Operation(title, body))
        return body
    return enter


def same(seen, wanted, what):
    if seen != wanted:
        raise Failure(f"{what}: {seen!r}, wanted {wanted!r}")


def holds(condition, what):
    if not condition:
        raise Failure(what)


def matches(text, pattern, what):
    if not re.search(pattern, text, re.S | re.M):
        raise Failure(f"{what}: {text!r} does not match {pattern!r}")


def wait_for(what, condition, seconds=20):
    """Polls `condition` until it returns a true value, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.02)


@dataclass
class Output:
    code: int
    out: str
    err: str

    @property
    def text(self):
        return self.out.strip()


def call(argv, expect=0, stdin=None, env=None, cwd=None, seconds=DEADLINE, pass_fds=()):
    """Runs a program to its end. `expect`: the expected exit status, None for any."""
    child = subprocess.Popen(argv, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=cwd, pass_fds=pass_fds,
                             start_new_session=True)
    try:
        out, err = child.communicate(stdin.encode() if stdin is not None else None, timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise Failure(f"no end within {seconds} s: {' '.join(argv)}") from None
    result = Output(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    if expect is not None and result.code != expect:
        raise Failure(f"exit status {result.code}, wanted {expect}: {' '.join(argv[-6:])}: "
                      f"{(result.err or result.out).strip()[-600:]}")
    return result


def on_terminal(argv, typed=(), env=None, seconds=DEADLINE):
    """Runs a program with a terminal of 100x40 as its stdio. `typed`: pairs (output to wait for, input to type then).
    Returns (exit status, output without carriage returns)."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe(argv[0], argv, env or os.environ)
    termios.tcsetwinsize(master, (40, 100))
    seen, todo, end = "", list(typed), time.monotonic() + seconds
    while True:
        if todo and re.search(todo[0][0], seen, re.S):
            os.write(master, todo.pop(0)[1].encode())
        ready, _, _ = select.select([master], [], [], 0.2)
        if ready:
            try:
                data = os.read(master, 4096)
            except OSError:  # EIO: the last process has closed the other side
                data = b""
            if not data:
                break
            seen += data.decode(errors="replace")
        elif time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(master)
            raise Failure(f"no end within {seconds} s on a terminal: {' '.join(argv)}; so far {seen!r}")
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.replace("\r", "")


# typed into a shell: the caller gives the terminal its size after the program was started
TERMINAL = "until stty size | grep -q '40 100'; do sleep 0.1; done; tty; stty size; "


# ---- programs that are not the installed ones

def first_in_path(*directories):
    """Returns the environment with directories before those of PATH."""
    return {**os.environ, "PATH": ":".join([*map(str, directories), os.environ["PATH"]])}


def working_criu():
    """Returns the directory of a criu that works on this kernel, which Debian 12's does not on new ones; None where none does."""
    got = call([str(SCRIPTS / "criu.sh")], expect=None)
    works = got.code == 0 and call([got.text, "check"], expect=None).code == 0
    return Path(got.text).parent if works else None


def unstable(package, program):
    """Returns the directories of programs of a package of Debian unstable, which scripts/test-callers.sh has unpacked, because
    a run has no network. Skips where it is not there or cannot run here."""
    top = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "croci-unstable" / package
    if not (top / "tree").is_dir():
        raise Skip(f"{package} of Debian unstable could not be downloaded")
    directories = [top / "tree/usr/bin", top / "tree/usr/sbin"]
    ran = call([program, "--version"], expect=None, env=first_in_path(*directories))
    if ran.code != 0:
        raise Skip(f"{program} of Debian unstable does not run here: {ran.err.strip()[-200:]}")
    return directories


# ---- the kernel's state of a container

V2_ONLY = not any(" - cgroup " in line for line in open("/proc/self/mountinfo"))


def cgroup_dir(pid, controller):
    """Returns the directory of the cgroup that `pid` is in, in the hierarchy of `controller`."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if V2_ONLY and names == "":
            return Path("/sys/fs/cgroup" + path)
        if controller in names.split(","):
            return Path(f"/sys/fs/cgroup/{controller}{path}")
    raise Skip(f"no cgroup controller {controller} on this machine")


def limit(pid, v1, v2):
    """Returns the content of a cgroup file of `pid`; its controller is the part of the name before the dot."""
    name = v2 if V2_ONLY else v1
    file = cgroup_dir(pid, name.split(".")[0]) / name
    if not file.exists():
        raise Skip(f"no {name} on this kernel")
    return file.read_text().strip()


def status_field(pid, field):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return line.split(":", 1)[1].strip()
    raise Failure(f"no {field} in /proc/{pid}/status")


def alive(pid):
    try:
        return status_field(pid, "State")[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---- resources that must not grow

def counters(state_dirs):
    """Returns all that containers can leave on the host: processes (this pid namespace is ours alone), mounts, cgroups,
    entries of the state directories."""
    cgroups = sum(len(dirs) for _, dirs, _ in os.walk("/sys/fs/cgroup"))
    states = sorted(str(entry) for top in state_dirs if Path(top).is_dir() for entry in Path(top).iterdir())
    # Podman mounts its storage upon itself while it works there, and leaves that mount after a failed start
    points = [line.split()[4] for line in open("/proc/self/mountinfo")]
    commands = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                commands.append((entry / "comm").read_text().strip())
            except (FileNotFoundError, ProcessLookupError):
                pass
    return {"processes": sorted(commands), "mounts": sorted(point for point in points if not point.endswith("/overlay")),
            "cgroups": cgroups, "states": states}


def nothing_left(before, state_dirs):
    """Waits until the counters are those of `before` again, a few seconds because callers clean up in the background."""
    try:
        wait_for("counters as before", lambda: counters(state_dirs) == before)
    except Failure:
        after = counters(state_dirs)
        raise Failure("left behind: " + json.dumps({key: [before[key], after[key]] for key in before
                                                    if before[key] != after[key]})) from None
