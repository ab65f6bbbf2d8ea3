"""Podman run by an ordinary user: a user namespace by newuidmap, no privileges, the same runtime."""
import os
from pathlib import Path

from harness import Skip, V2_ONLY, call, counters, holds, matches, nothing_left, on_terminal, operation, same, wait_for, TERMINAL
from image import NAME
from podman_base import CONF, Podman

OPERATIONS = []
UID = 4242
USER = "callers"


def add_line(work, name, line):
    """Mounts a copy of an account file with one more line over it in this mount namespace; the host's is unchanged."""
    copy = work / name
    copy.write_text(Path("/etc", name).read_text() + line + "\n")
    copy.chmod(0o644)
    call(["mount", "--bind", str(copy), f"/etc/{name}"])


class Caller(Podman):
    """Podman as a user that exists only here. Its state is below its own XDG_RUNTIME_DIR."""

    NAME = "rootless podman"

    def __init__(self, work, image, runtime):
        self.work, self.image, self.runtime = work, image, runtime
        work.mkdir(mode=0o755)
        add_line(work, "passwd", f"{USER}:x:{UID}:{UID}::{work}/home:/bin/sh")
        add_line(work, "group", f"{USER}:x:{UID}:")
        for name in ("subuid", "subgid"):
            add_line(work, name, f"{USER}:300000:65536")
        # /run is this run's own; below a longer name Podman 4.3 takes 20 seconds to notice the end of a container
        self.home, self.run_dir = work / "home", Path(f"/run/user/{UID}")
        self.run_dir.parent.mkdir(mode=0o755)
        for path in (self.home, self.run_dir, self.home / "volume"):
            path.mkdir(mode=0o700)
            os.chown(path, UID, UID)
        conf = self.home / "containers.conf"
        conf.write_text(CONF)
        self.env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "USER": USER, "XDG_RUNTIME_DIR": str(self.run_dir),
                    "CONTAINERS_CONF": str(conf), "CONTAINERS_REGISTRIES_CONF": "/dev/null", "TMPDIR": os.environ["TMPDIR"],
                    "TERM": "xterm"}
        os.chmod(image.archive, 0o644)
        probe = call(["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "test", "-x", runtime], expect=None)
        if probe.code:
            raise Skip(f"an ordinary user may not execute {runtime}")
        self.argv = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--", "podman", "--runtime", runtime]
        self("load", "-q", "-i", str(image.archive), cwd=str(self.home))
        self.states = [str(self.run_dir / name) for name in ("croci", "runc", "crun")]

    def __call__(self, *arguments, **options):
        return super().__call__(*arguments, **{"cwd": str(self.home), **options})

    def end(self):
        self.clean()
        self("system", "migrate", expect=None)  # ends the process that holds the user namespace


def op(title):
    return operation(OPERATIONS, title)


@op("run: output, exit status, 127, 126")
def _(p):
    same(p.run("IMAGE", "echo", "hello").out, "hello\n", "output")
    p.run("IMAGE", "sh", "-c", "exit 3", expect=3)
    p.run("IMAGE", "no-such", expect=127)
    p.run("IMAGE", "/etc/not-executable", expect=126)


@op("run: root inside is the user outside, others come from /etc/subuid")
def _(p):
    same(p.run("IMAGE", "cat", "/proc/self/uid_map").text.split(), ["0", str(UID), "1", "1", "300000", "65536"], "uid map")
    p.run("-v", f"{p.home}/volume:/data", "IMAGE", "sh", "-c", "touch /data/root; mkdir /data/mine && chown 1000 /data/mine")
    same([(p.home / "volume" / name).stat().st_uid for name in ("root", "mine")], [UID, 300999], "owners")


@op("run -it: terminal, its size, exit status")
def _(p):
    os.chdir(p.home)
    code, seen = on_terminal([*p.argv, "run", "--rm", "-it", NAME, "sh"], env=p.env, typed=[(r"# ", TERMINAL + "exit 5\n")])
    same(code, 5, "exit status")
    matches(seen, r"\n/dev/pts/0\n40 100\n", "terminal")


@op("run -d, exec, logs, top, inspect, stop, rm")
def _(p):
    c = p.up(command=("sh", "-c", "echo logged; exec sleep 1000"))
    same(p("exec", c, "echo", "hi").out, "hi\n", "exec")
    p("exec", c, "sh", "-c", "exit 9", expect=9)
    p("exec", "-u", "user", c, "sh", "-c", "test $(id -u) = 1000")
    wait_for("log", lambda: p("logs", c).out == "logged\n")
    matches(p("top", c, "comm").out, "sleep", "top")
    same(Path(f"/proc/{p.pid(c)}").stat().st_uid, UID, "owner of the process")
    p("stop", "-t", "1", c)
    same(p.field(c, "{{.State.ExitCode}}"), "137", "exit code")
    p("rm", c)


@op("kill: a signal by name")
def _(p):
    c = p.up(command=("sh", "-c", "trap 'exit 8' USR1; echo ready; while :; do sleep 0.05; done"))
    wait_for("ready", lambda: "ready" in p("logs", c).out)
    p("kill", "-s", "USR1", c)
    same(p("wait", c).text, "8", "exit status")


@op("run --user, --cap-drop, --read-only, --tmpfs, --init, --hostname, --ulimit")
def _(p):
    same(p.run("--user", "1000", "IMAGE", "id", "-u").text, "1000", "uid")
    matches(p.run("--cap-drop", "all", "IMAGE", "grep", "CapBnd", "/proc/self/status").text, "0{16}$", "capabilities")
    matches(p.run("--read-only", "--tmpfs", "/data", "IMAGE", "sh", "-c", "touch /x 2>&1; touch /data/x && echo tmp").text,
            "Read-only file system\ntmp$", "read-only")
    same(p.run("--init", "--hostname", "named", "IMAGE", "sh", "-c", "cat /proc/1/comm; hostname").text, "podman-init\nnamed", "init")
    same(p.run("--ulimit", "nofile=50:60", "--ulimit", "nproc=1000:1000", "IMAGE", "sh", "-c", "ulimit -n").text, "50", "limit")


@op("run --security-opt no-new-privileges, the default seccomp profile")
def _(p):
    seen = p.run("--security-opt", "no-new-privileges", "IMAGE", "grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status").text
    same(seen.split(), ["NoNewPrivs:", "1", "Seccomp:", "2"], "status")


@op("run --userns keep-id, --uidmap")
def _(p):
    same(p.run("--userns", "keep-id", "IMAGE", "id", "-u").text, str(UID), "uid")
    same(p.run("--uidmap", "0:1:1000", "IMAGE", "cat", "/proc/self/uid_map").text.split(), ["0", "1", "1000"], "map")


@op("run --network host, none")
def _(p):
    same(p.run("--network", "none", "IMAGE", "ls", "/sys/class/net").text, "lo", "none")
    same(p.run("--network", "host", "IMAGE", "readlink", "/proc/self/ns/net").text, os.readlink("/proc/self/ns/net"), "host")


@op("run --network slirp4netns")
def _(p):
    if not Path("/dev/net/tun").exists():
        raise Skip("no /dev/net/tun")
    result = p.run("--network", "slirp4netns", "IMAGE", "ip", "addr", "show", "tap0", expect=None)
    if "Permission denied" in result.err and "tun" in result.err:
        raise Skip("/dev/net/tun is closed to users here")
    matches(result.out, r"10\.0\.2\.100", "tap0: " + result.err)


@op("run --pid host, --privileged")
def _(p):
    p.run("--pid", "host", "IMAGE", "sh", "-c", "test $$ -gt 20 && ls /proc/1/comm")
    p.run("--privileged", "IMAGE", "sh", "-c", "mount -t tmpfs none /data && touch /data/x")


@op("pod: containers share net and ipc")
def _(p):
    p("pod", "create", "--infra-image", NAME, "--infra-command", "/bin/pause", "--name", "pod")
    one, two = p.up("--pod", "pod"), p.up("--pod", "pod")
    for namespace in ("net", "ipc"):
        same(os.readlink(f"/proc/{p.pid(one)}/ns/{namespace}"), os.readlink(f"/proc/{p.pid(two)}/ns/{namespace}"), namespace)


@op("build: RUN")
def _(p):
    (p.home / "Dockerfile").write_text(f"FROM {NAME}\nRUN echo built >/root/file\n")
    p("build", "-q", "--network", "host", "-t", "localhost/built", "-f", str(p.home / "Dockerfile"), str(p.home / "volume"))
    same(p("run", "--rm", "localhost/built", "cat", "/root/file").text, "built", "file")


@op("pause, --memory: limits of a user")
def _(p):
    if not V2_ONLY:
        raise Skip("cgroup v1 delegates nothing to a user: Podman refuses by itself")
    c = p.up("--memory", "64m")
    p("pause", c)
    p("unpause", c)


@op("20 containers in a row leave nothing")
def _(p):
    p.run("IMAGE", "true")
    before = counters(p.states)
    for number in range(20):
        same(p.run("IMAGE", "echo", str(number)).text, str(number), "output")
    nothing_left(before, p.states)
    holds(not any(entry.is_dir() and any(entry.iterdir()) for entry in map(Path, p.states)), "state left")
