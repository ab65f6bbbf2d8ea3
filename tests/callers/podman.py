"""Podman: create, start, stop and remove containers. The effects of `podman run` options are in podman_options.py."""
import os
import re
import subprocess
from pathlib import Path

from harness import (DEADLINE, Skip, alive, call, cgroup_dir, counters, holds, limit, matches, nothing_left, on_terminal, operation,
                     same, wait_for, working_criu, TERMINAL)
from image import NAME
from podman_base import Podman as Caller  # noqa: F401  (run looks for this name)

OPERATIONS = []
STATE_DIRS = ["/run/croci", "/run/runc", "/run/crun"]
COUNT = "n=0; while :; do n=$((n+1)); echo $n >/data/n; sleep 0.05; done"


def op(title):
    return operation(OPERATIONS, title)


@op("run: output and exit status")
def _(p):
    same(p.run("IMAGE", "echo", "hello").out, "hello\n", "output")
    for status in (3, 255):
        p.run("IMAGE", "sh", "-c", f"exit {status}", expect=status)
    same(p.run("-i", "IMAGE", "cat", stdin="typed").out, "typed", "what went through stdin")


@op("run: init killed by a signal gives 137")
def _(p):
    container = p.up()
    os.kill(p.pid(container), 9)
    same(p("wait", container).text, "137", "podman wait")


@op("run: program missing 127, not executable 126")
def _(p):
    matches(p.run("IMAGE", "/no/such", expect=127).err, "no such file|not found", "error")
    matches(p.run("IMAGE", "no-such", expect=127).err, "not found", "error")
    matches(p.run("IMAGE", "/etc/not-executable", expect=126).err, "(?i)permission denied", "error")
    same(p("ps", "-aq").text, "", "containers left")


@op("run -d, ps, logs, wait")
def _(p):
    container = p.up(command=("sh", "-c", "echo to-stdout; echo to-stderr >&2; exit 7"))
    same(p("wait", container).text, "7", "podman wait")
    logs = p("logs", container)
    same((logs.out, logs.err), ("to-stdout\n", "to-stderr\n"), "logs")
    matches(p("ps", "-a").out, r"Exited \(7\)", "ps")


@op("run -it: terminal, its size, exit status")
def _(p):
    code, seen = on_terminal([*p.argv, "run", "--rm", "-it", NAME, "sh"], env=p.env,
                             typed=[(r"# ", TERMINAL + "exit 5\n")])
    same(code, 5, "exit status")
    matches(seen, r"\n/dev/pts/0\n40 100\n", "terminal")


@op("create, init, start, attach")
def _(p):
    container = p("create", "-i", NAME, "sh", "-c", "read x; echo got $x").text
    p("init", container)
    same(p.field(container, "{{.State.Status}}"), "initialized", "after init")
    same(p("start", "-a", "-i", container, stdin="word\n").out, "got word\n", "attached output")


@op("exec: output, status, environment, user, directory, stdin")
def _(p):
    c = p.up()
    same(p("exec", c, "echo", "hi").out, "hi\n", "output")
    p("exec", c, "sh", "-c", "exit 9", expect=9)
    same(p("exec", "-e", "A=b", "-u", "user", "-w", "/tmp", c, "sh", "-c", "echo $A $(id -u):$(id -G) $(pwd)").text,
         "b 1000:1000 2000 /tmp", "inside")
    same(p("exec", "-i", c, "cat", stdin="x").out, "x", "stdin")


@op("exec: program missing 127, not executable 126")
def _(p):
    c = p.up()
    p("exec", c, "no-such", expect=127)
    p("exec", c, "/etc/not-executable", expect=126)


@op("exec -it: terminal")
def _(p):
    c = p.up()
    code, seen = on_terminal([*p.argv, "exec", "-it", c, "sh"], env=p.env, typed=[(r"# ", TERMINAL + "exit 6\n")])
    same(code, 6, "exit status")
    matches(seen, r"\n/dev/pts/\d\n40 100\n", "terminal")


@op("exec -d: works in the background, in the container's cgroup")
def _(p):
    c = p.up("--pids-limit", "50")
    p("exec", "-d", c, "sh", "-c", "echo $$ >/data/pid; exec sleep 999")
    wait_for("two processes in the cgroup", lambda: limit(p.pid(c), "pids.current", "pids.current") == "2")


@op("exec: --privileged has all capabilities, else the container's")
def _(p):
    c = p.up("--cap-drop", "all")
    same(p("exec", c, "grep", "CapEff", "/proc/self/status").text.split()[1], "0" * 16, "CapEff")
    holds(int(p("exec", "--privileged", c, "grep", "CapEff", "/proc/self/status").text.split()[1], 16) > 0xFFFFFF, "few")


@op("exec into a paused container is refused")
def _(p):
    c = p.up()
    p("pause", c)
    holds(p("exec", c, "true", expect=None).code != 0, "exec worked")
    p("unpause", c)


@op("stop: TERM is heard; KILL after the timeout")
def _(p):
    polite = p.up(command=("sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"))
    wait_for("ready", lambda: "ready" in p("logs", polite).out)
    p("stop", "-t", "10", polite)
    same(p.field(polite, "{{.State.ExitCode}}"), "4", "exit code")
    deaf = p.up()
    p("stop", "-t", "1", deaf)
    same(p.field(deaf, "{{.State.ExitCode}}"), "137", "exit code")


@op("kill: a signal by name and by number")
def _(p):
    c = p.up(command=("sh", "-c", "trap 'echo usr1' USR1; trap 'exit 8' USR2; echo ready; while :; do sleep 0.05; done"))
    wait_for("ready", lambda: "ready" in p("logs", c).out)
    p("kill", "-s", "USR1", c)
    wait_for("USR1 handled", lambda: "usr1" in p("logs", c).out)
    p("kill", "-s", "12", c)
    same(p("wait", c).text, "8", "exit status")
    holds(p("kill", c, expect=None).code != 0, "kill of a stopped container worked")


@op("pause, unpause: nothing moves, then it goes on")
def _(p):
    c = p.up("-v", f"{p.work}:/data", command=("sh", "-c", COUNT))
    counter = p.work / "n"
    wait_for("counting", counter.exists)
    p("pause", c)
    same(p.field(c, "{{.State.Status}}"), "paused", "status")
    holds(limit(p.pid(c), "freezer.state", "cgroup.freeze") in ("FROZEN", "1"), "not frozen")
    value = counter.read_text()
    call(["sleep", "0.4"])
    same(counter.read_text(), value, "counter while paused")
    p("unpause", c)
    wait_for("counting again", lambda: counter.read_text() not in (value, ""))


@op("rm -f: running and paused; process, cgroup and state are gone")
def _(p):
    for paused in (False, True):
        c = p.up()
        pid = p.pid(c)
        cgroup = cgroup_dir(pid, "memory")
        if paused:
            p("pause", c)
        p("rm", "-f", "-t", "0", c)
        holds(not alive(pid), "process lives")
        holds(not cgroup.exists(), f"{cgroup} is left")
        holds(not any(c in str(entry) for top in STATE_DIRS if Path(top).is_dir() for entry in Path(top).iterdir()), "state left")


@op("restart")
def _(p):
    c = p.up()
    first = p.pid(c)
    p("restart", "-t", "0", c)
    holds(p.pid(c) != first and alive(p.pid(c)), "no new process")


@op("stats")
def _(p):
    c = p.up("--memory", "64m", command=("sh", "-c", "while :; do :; done"))
    fields = p("stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}} {{.MemPerc}}", c).text
    matches(fields, r"^1 [1-9][0-9.]*[kM]?B / 6[47][0-9.]*MB", "stats")


@op("top: of the container only, with chosen columns")
def _(p):
    c = p.up()
    same(p("top", c, "user", "pid", "comm").out.split(), ["USER", "PID", "COMMAND", "root", "1", "sleep"], "top")


@op("inspect: status, pid, runtime, exit code")
def _(p):
    c = p.up(command=("sh", "-c", "until [ -e /tmp/go ]; do sleep 0.05; done; exit 3"))
    state = p.inspect(c)
    same((state["State"]["Status"], state["OCIRuntime"]), ("running", p.runtime), "running")
    holds(alive(state["State"]["Pid"]), "its pid is no process")
    p("exec", c, "touch", "/tmp/go", expect=None)
    p.stopped(c)
    state = p.inspect(c)["State"]
    same((state["Pid"], state["ExitCode"], state["Running"]), (0, 3, False), "stopped")


@op("commit: a running container becomes an image")
def _(p):
    c = p.up(command=("sh", "-c", "echo kept >/root/file; sleep 1000"))
    wait_for("file written", lambda: p("exec", c, "cat", "/root/file", expect=None).code == 0)
    p("commit", "-q", c, "localhost/committed")
    same(p("run", "--rm", "localhost/committed", "cat", "/root/file").text, "kept", "file")
    p("rmi", "-f", "localhost/committed")


@op("cp: into and out of a running container")
def _(p):
    c = p.up()
    p("cp", "/etc/hostname", f"{c}:/root/copied")
    same(p("exec", c, "cat", "/root/copied").out, Path("/etc/hostname").read_text(), "file")


@op("healthcheck run")
def _(p):
    c = p.up("--health-cmd", "test -e /tmp/well", "--health-interval", "disable", "--health-retries", "1")
    p("healthcheck", "run", c, expect=1)
    p("exec", c, "touch", "/tmp/well")
    p("healthcheck", "run", c)
    same(p.field(c, "{{.State.Health.Status}}"), "healthy", "status")


@op("pod: containers share net, ipc and uts; stop and rm")
def _(p):
    p("pod", "create", "--infra-image", NAME, "--infra-command", "/bin/pause", "--name", "pod", "--hostname", "in-pod")
    one, two = p.up("--pod", "pod"), p.up("--pod", "pod")
    for namespace in ("net", "ipc", "uts"):
        same(os.readlink(f"/proc/{p.pid(one)}/ns/{namespace}"), os.readlink(f"/proc/{p.pid(two)}/ns/{namespace}"), namespace)
    holds(os.readlink(f"/proc/{p.pid(one)}/ns/mnt") != os.readlink(f"/proc/{p.pid(two)}/ns/mnt"), "one mount namespace")
    same(p("exec", two, "hostname").text, "in-pod", "hostname")
    pids = [p.pid(one), p.pid(two)]
    p("pod", "pause", "pod")
    p("pod", "unpause", "pod")
    p("pod", "stop", "-t", "0", "pod")
    p("pod", "rm", "pod")
    holds(not any(map(alive, pids)), "processes left")


@op("update: --memory and --cpus read back")
def _(p):
    c = p.up()
    pid = p.pid(c)
    p("update", "--memory", "48m", "--cpus", "0.5", c)
    same(limit(pid, "memory.limit_in_bytes", "memory.max"), str(48 << 20), "memory")
    same(limit(pid, "cpu.cfs_quota_us", "cpu.max").split()[0], "50000", "cpu")
    p("exec", c, "cat", "/dev/null")  # the devices are still allowed


@op("out of memory: killed, 137")
def _(p):
    p.run("--memory", "16m", "IMAGE", "tail", "/dev/zero", expect=137)


@op("a failed bind mount: error names it, nothing left")
def _(p):
    p.run("IMAGE", "true")  # the first use of the storage mounts it upon itself
    before = counters(STATE_DIRS)
    matches(p.run("--mount", "type=bind,src=/etc/hostname,dst=/bin/busybox/x", "IMAGE", "true", expect=None).err,
            "/bin/busybox/x|not a directory", "error")
    nothing_left(before, STATE_DIRS)


@op("hooks: --hooks-dir prestart and poststop see the state")
def _(p):
    hooks = p.work / "hooks"
    hooks.mkdir()
    for stage in ("prestart", "poststop"):
        script = hooks / f"{stage}.sh"
        script.write_text(f"#!/bin/sh\ncat >{hooks}/{stage}.out\n")
        script.chmod(0o755)
        (hooks / f"{stage}.json").write_text(
            f'{{"version":"1.0.0","hook":{{"path":"{script}"}},"when":{{"always":true}},"stages":["{stage}"]}}')
    p("--hooks-dir", str(hooks), "run", "--rm", NAME, "true")
    matches((hooks / "prestart.out").read_text(), r'"pid": ?[1-9]', "prestart's state")
    matches(wait_for("poststop ran", lambda: (hooks / "poststop.out").exists() and (hooks / "poststop.out").read_text()),
            r'"status": ?"stopped"', "poststop's state")


@op("run --preserve-fds")
def _(p):
    told = p.work / "told"
    call(["sh", "-c", 'exec "$@" 3>"$0"', str(told), *p.argv, "run", "--rm", "--preserve-fds", "1", NAME,
          "sh", "-c", "echo through >&3"], env=p.env)
    same(told.read_text(), "through\n", "what came through")


@op("parallel runs below one new --cgroup-parent")
def _(p):
    for number in range(4):
        argv = [*p.argv, "run", "--rm", "--memory", "64m", "--cgroup-parent", f"/new{number}/deep", NAME, "echo", "ran"]
        children = [subprocess.Popen(argv, env=p.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                    for _ in range(6)]
        ended = [(child.communicate(timeout=DEADLINE)[0], child.returncode) for child in children]
        same(ended, [(b"ran\n", 0)] * 6, "output and exit status")


@op("checkpoint and restore")
def _(p):
    criu = working_criu()  # the runtime finds it by PATH
    if not criu:
        raise Skip("no criu that works on this kernel")
    p.env["PATH"] = f"{criu}:{p.env['PATH']}"
    c = p.up("-v", f"{p.work}:/data", command=("sh", "-c", COUNT))
    p("container", "checkpoint", c)
    same(p.field(c, "{{.State.Status}}"), "exited", "after checkpoint")
    p("container", "restore", c)
    same(p.field(c, "{{.State.Status}}"), "running", "after restore")


@op("100 containers in a row leave nothing")
def _(p):
    p.run("IMAGE", "true")
    p.clean()
    before = counters(STATE_DIRS)
    for number in range(100):
        same(p.run("--memory", "64m", "IMAGE", "echo", str(number)).text, str(number), "output")
    nothing_left(before, STATE_DIRS)
    holds(not re.search("overlay/.*/merged", Path("/proc/self/mountinfo").read_text()), "root file systems are mounted")
