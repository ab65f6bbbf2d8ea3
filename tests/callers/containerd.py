"""containerd by `ctr`: the shim io.containerd.runc.v2 calls the runtime of --runc-binary. containerd_croci.py has the same
operations by croci's own shim."""
import json
import os
import re
import subprocess
from pathlib import Path

from harness import (Failure, Skip, alive, call, cgroup_dir, counters, first_in_path, holds, limit, matches, nothing_left,
                     on_terminal, operation, same, wait_for, working_criu, TERMINAL)
from image import NAME

OPERATIONS = []
STATE_DIRS = ["/run/containerd/runc/callers", "/run/containerd/s", "/run/containerd/fifo"]
COUNT = "n=0; while :; do n=$((n+1)); echo $n >/data/n; sleep 0.05; done"

CONF = """
version = 2
root = "{work}/root"
state = "{work}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{work}/containerd.sock"
"""


class Caller:
    """A containerd with directories and a socket of its own. `clean` removes every container."""

    NAME = "containerd"
    PROGRAMS = ()  # directories of containerd, its shim and ctr, where they are not the installed ones
    ROW = 100
    TYPE = "io.containerd.runc.v2"
    STATES = STATE_DIRS

    def __init__(self, work, image, runtime):
        self.work, self.image, self.runtime, self.made = work, image, runtime, 0
        self.criu = working_criu()  # the runtime finds it by the PATH that the shim passes on
        self.env = first_in_path(*self.PROGRAMS, *([self.criu] if self.criu else []))
        work.mkdir()
        (work / "config.toml").write_text(CONF.format(work=work))
        self.log = open(work / "log", "w+")
        self.daemon = subprocess.Popen(["containerd", "--config", str(work / "config.toml")], stdout=self.log, stderr=self.log,
                                       env=self.env)
        try:
            wait_for("containerd answers", lambda: self.daemon.poll() is not None or self("version", expect=None).code == 0)
            self("images", "import", "--all-platforms", str(image.archive))
        except Failure:
            self.end()
            raise
        self.states = [*self.STATES, str(work / "state/io.containerd.runtime.v2.task/callers")]

    def __call__(self, *arguments, **options):
        return call([*self.argv(), *arguments], env=self.env, **options)

    def argv(self):
        return ["ctr", "-a", str(self.work / "containerd.sock"), "-n", "callers"]

    def how(self):
        """Returns the flags of `ctr run` that choose the runtime."""
        return ["--runtime", self.TYPE, "--runc-binary", self.runtime]

    def run_argv(self, *options, command=()):
        """Returns the arguments of `ctr run` for a new container, and its name."""
        self.made += 1
        name = f"c{self.made}"
        return name, ["run", *self.how(), *options, NAME, name, *command]

    def run(self, *options, command, **how):
        return self(*self.run_argv("--rm", *options, command=command)[1], **how)

    def up(self, *options, command=("sleep", "1000")):
        name, argv = self.run_argv("-d", *options, command=command)
        self(*argv)
        return name

    def pid(self, name):
        """Returns the pid of the task on the host, 0 where it has none."""
        found = re.search(rf"^{name}\s+(\d+)\s+(\w+)", self("task", "ls").out, re.M)
        return int(found[1]) if found else 0

    def status(self, name):
        found = re.search(rf"^{name}\s+\d+\s+(\w+)", self("task", "ls").out, re.M)
        return found[1] if found else "gone"

    def clean(self):
        for name in self("task", "ls", "-q", expect=None).out.split():
            self("task", "rm", "-f", name, expect=None)
        for name in self("container", "ls", "-q", expect=None).out.split():
            self("container", "rm", name, expect=None)

    def end(self):
        self.daemon.terminate()
        self.daemon.wait()


def op(title):
    return operation(OPERATIONS, title)


@op("run: output and exit status")
def _(c):
    same(c.run(command=["echo", "hello"]).out, "hello\n", "output")
    c.run(command=["sh", "-c", "exit 3"], expect=3)


@op("run: program missing: error, nothing left")
def _(c):
    c.run(command=["true"])
    before = counters(c.states)
    matches(c.run(command=["no-such"], expect=1).err, "executable file.* not found", "error")
    matches(c.run(command=["/etc/not-executable"], expect=1).err, "(?i)permission denied", "error")
    c.clean()
    nothing_left(before, c.states)


@op("run -t: terminal, its size, exit status")
def _(c):
    _, argv = c.run_argv("--rm", "-t", command=["sh"])
    code, seen = on_terminal([*c.argv(), *argv], env=c.env, typed=[(r"# ", TERMINAL + "exit 5\n")])
    same(code, 5, "exit status")
    matches(seen, r"\n/dev/pts/0\n40 100\n", "terminal")


@op("run -d, task ls, container info")
def _(c):
    name = c.up()
    same(c.status(name), "RUNNING", "status")
    holds(alive(c.pid(name)), "its pid is no process")
    same(json.loads(c("container", "info", name).out)["Runtime"]["Name"], c.TYPE, "runtime")


@op("task exec: output, exit status, directory, user")
def _(c):
    name = c.up()
    same(c("task", "exec", "--exec-id", "a", name, "echo", "hi").out, "hi\n", "output")
    c("task", "exec", "--exec-id", "b", name, "sh", "-c", "exit 9", expect=9)
    same(c("task", "exec", "--exec-id", "c", "--cwd", "/tmp", "--user", "1000", name, "sh", "-c", "echo $(pwd) $(id -u)").text,
         "/tmp 1000", "inside")
    matches(c("task", "exec", "--exec-id", "d", name, "no-such", expect=1).err, "executable file.* not found", "error")


@op("task exec -t: terminal")
def _(c):
    name = c.up()
    code, seen = on_terminal([*c.argv(), "task", "exec", "-t", "--exec-id", "t", name, "sh"], env=c.env, typed=[(r"# ", TERMINAL + "exit 6\n")])
    same(code, 6, "exit status")
    matches(seen, r"\n/dev/pts/\d\n40 100\n", "terminal")


@op("task exec -d: runs on in the container")
def _(c):
    name = c.up()
    c("task", "exec", "-d", "--exec-id", "bg", name, "sleep", "999")
    wait_for("two processes", lambda: len(c("task", "ps", name).out.splitlines()) == 3)


@op("task pause, resume: nothing moves, then it goes on")
def _(c):
    name = c.up("--mount", f"type=bind,src={c.work},dst=/data,options=rbind:rw", command=["sh", "-c", COUNT])
    counter = c.work / "n"
    wait_for("counting", counter.exists)
    c("task", "pause", name)
    same(c.status(name), "PAUSED", "status")
    holds(limit(c.pid(name), "freezer.state", "cgroup.freeze") in ("FROZEN", "1"), "not frozen")
    value = counter.read_text()
    call(["sleep", "0.4"])
    same(counter.read_text(), value, "counter while paused")
    c("task", "resume", name)
    same(c.status(name), "RUNNING", "status")
    wait_for("counting again", lambda: counter.read_text() not in (value, ""))


@op("task kill: TERM is heard, KILL ends, a second one errs")
def _(c):
    name = c.up(command=["sh", "-c", "trap 'exit 4' TERM; echo >/tmp/ready; while :; do sleep 0.05; done"])
    wait_for("ready", lambda: c("task", "exec", "--exec-id", "r", name, "ls", "/tmp/ready", expect=None).code == 0)
    c("task", "kill", name)
    wait_for("stopped", lambda: c.status(name) == "STOPPED")
    holds(c("task", "kill", name, expect=None).code != 0, "kill of a stopped task worked")
    deaf = c.up()
    c("task", "kill", "-s", "9", deaf)
    wait_for("stopped", lambda: c.status(deaf) == "STOPPED")
    matches(c("task", "delete", deaf).err, "137", "exit status told by delete")


@op("task kill --all: init and exec are dead")
def _(c):
    name = c.up()
    c("task", "exec", "-d", "--exec-id", "bg", name, "sleep", "999")
    procs = cgroup_dir(c.pid(name), "memory") / "cgroup.procs"
    pids = [int(p) for p in procs.read_text().split()]
    same(len(pids), 2, "processes")
    c("task", "kill", "--all", "-s", "9", name)
    wait_for("all dead", lambda: not any(map(alive, pids)))


@op("task kill of a paused one")
def _(c):
    name = c.up()
    c("task", "pause", name)
    c("task", "kill", "-s", "9", name)
    c("task", "resume", name, expect=None)
    wait_for("stopped", lambda: c.status(name) == "STOPPED")


@op("task metrics")
def _(c):
    name = c.up("--memory-limit", str(64 << 20))
    metrics = c("task", "metrics", name).out
    matches(metrics, r"memory\.(usage_in_bytes|usage)\s+[1-9]", "memory")
    matches(metrics, r"(pids\.)?current\s+1|pids\.current\s+1", "pids")


@op("task ps: pids of the container")
def _(c):
    name = c.up(command=["sh", "-c", "sleep 998 & sleep 997"])
    procs = cgroup_dir(c.pid(name), "memory") / "cgroup.procs"
    wait_for("all listed", lambda: sorted(re.findall(r"^(\d+)\s", c("task", "ps", name).out, re.M)) == sorted(procs.read_text().split()))


@op("task delete: running refused, -f ends it; cgroup and state are gone")
def _(c):
    name = c.up()
    pid = c.pid(name)
    cgroup = cgroup_dir(pid, "memory")
    holds(c("task", "delete", name, expect=None).code != 0, "running one deleted")
    c("task", "delete", "-f", name, expect=None)
    holds(not alive(pid), "process lives")
    holds(not cgroup.exists(), f"{cgroup} is left")
    holds(not any((Path(top) / name).exists() for top in c.states), "state left")


@op("run --memory-limit, --cpus read back")
def _(c):
    pid = c.pid(c.up("--memory-limit", str(48 << 20), "--cpus", "0.5"))
    same(limit(pid, "memory.limit_in_bytes", "memory.max"), str(48 << 20), "memory")
    same(limit(pid, "cpu.cfs_quota_us", "cpu.max").split()[0], "50000", "cpu")


@op("run --cap-drop, --cap-add, --privileged")
def _(c):
    def effective(*options):
        return int(c.run(*options, command=["sh", "-c", "grep CapEff /proc/self/status"]).text.split()[1], 16)
    holds(not effective("--cap-drop", "CAP_CHOWN") & 1, "CHOWN kept")
    holds(effective("--cap-add", "CAP_NET_ADMIN") >> 12 & 1, "NET_ADMIN missing")
    holds(effective("--privileged") >> 12 & 1, "NET_ADMIN missing when privileged")


@op("run --seccomp, --seccomp-profile")
def _(c):
    same(c.run("--seccomp", command=["grep", "Seccomp:", "/proc/self/status"]).text.split()[1], "2", "mode")
    profile = c.work / "seccomp.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}))
    seen = c.run("--seccomp", "--seccomp-profile", str(profile), command=["sh", "-c", "mkdir /tmp/d 2>&1; touch /tmp/f && echo ok"])
    matches(seen.text, "not permitted\nok$", "filtered")


@op("run --read-only, --mount, --env, --cwd")
def _(c):
    (c.work / "given").write_text("given\n")
    seen = c.run("--read-only", "--env", "A=b", "--cwd", "/tmp", "--mount", f"type=bind,src={c.work},dst=/data,options=rbind:ro",
                 command=["sh", "-c", "touch /x 2>&1; touch /data/x 2>&1; cat /data/given; echo $A; pwd"]).text
    matches(seen, r"x: Read-only file system\n.*/data/x: Read-only file system\ngiven\nb\n/tmp$", "inside")


@op("run --net-host, --with-ns, --device, --pid-file")
def _(c):
    file = c.work / "pid"
    first = c.up("--net-host", "--pid-file", str(file))
    same(file.read_text(), str(c.pid(first)), "pid file")
    same(os.readlink(f"/proc/{c.pid(first)}/ns/net"), os.readlink("/proc/self/ns/net"), "network namespace")
    second = c.up("--with-ns", f"ipc:/proc/{c.pid(first)}/ns/ipc", "--device", "/dev/kmsg")
    same(os.readlink(f"/proc/{c.pid(second)}/ns/ipc"), os.readlink(f"/proc/{c.pid(first)}/ns/ipc"), "ipc namespace")
    matches(c("task", "exec", "--exec-id", "d", second, "ls", "-l", "/dev/kmsg").out, "^c", "device")


@op("run --uidmap, --gidmap")
def _(c):
    options = ["--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000"]
    same(c.run(*options, command=["cat", "/proc/self/uid_map"]).text.split(), ["0", "100000", "5000"], "map")


@op("run --cgroup, --no-pivot, --rootfs")
def _(c):
    name = c.up("--cgroup", "/given/parent/mine", "--no-pivot")
    matches(str(cgroup_dir(c.pid(name), "memory")), "/given/parent/mine$", "cgroup")
    c.made += 1
    same(c("run", "--rm", *c.how(), "--rootfs", str(c.image.rootfs), f"c{c.made}", "/bin/echo", "from a directory").text,
         "from a directory", "output")


@op("the program is killed by the kernel for memory: 137")
def _(c):
    c.run("--memory-limit", str(16 << 20), command=["tail", "/dev/zero"], expect=137)


@op("run --null-io: the program writes and reads; nothing left")
def _(c):
    c.run(command=["true"])
    before = counters(c.states)
    c.run("--null-io", command=["sh", "-c", "echo out && echo err >&2 && ! read x && echo again >/dev/stdout"])
    nothing_left(before, c.states)


@op("checkpoint and restore with --null-io; no shim left")
def _(c):
    if not c.criu:
        raise Skip("no criu that works on this kernel")
    c.run(command=["true"])
    before = counters(c.states)
    shared = c.work / "shared"  # c.work itself has the daemon's mounts
    shared.mkdir()
    counter = shared / "n"
    mount = ["--mount", f"type=bind,src={shared},dst=/data,options=rbind:rw"]
    name = c.up("--null-io", *mount, command=["sh", "-c", COUNT])
    wait_for("counting", counter.exists)
    c("container", "checkpoint", "--task", name, "localhost/checkpointed:1")
    c("task", "kill", "-s", "9", name)
    wait_for("stopped", lambda: c.status(name) == "STOPPED")
    c("task", "delete", name, expect=None)
    counter.write_text("")
    c("container", "rm", name)
    c("container", "restore", "--live", name, "localhost/checkpointed:1", seconds=60)
    wait_for("counting again", lambda: counter.read_text() not in ("", "1\n"))
    same(c.status(name), "RUNNING", "status")
    c("images", "rm", "localhost/checkpointed:1")
    c.clean()
    nothing_left(before, c.states)


@op("containers in a row leave nothing")
def _(c):
    c.run(command=["true"])
    before = counters(c.states)
    for number in range(c.ROW):
        same(c.run("--memory-limit", str(64 << 20), command=["echo", str(number)]).text, str(number), "output")
    nothing_left(before, c.states)
