"""Docker: a dockerd of its own, without a bridge, in whose configuration the runtime is `tested`."""
import subprocess

from harness import (Failure, Skip, alive, call, cgroup_dir, counters, first_in_path, holds, limit, matches, nothing_left,
                     on_terminal, operation, same, wait_for, TERMINAL)

OPERATIONS = []
IMAGE = "callers"


class Caller:
    """`docker` with a dockerd and socket of its own. `clean` removes every container."""

    NAME = "docker"
    PROGRAMS = ()  # directories of dockerd, docker and containerd, where they are not the installed ones

    def __init__(self, work, image, runtime):
        self.work, self.image, self.runtime = work, image, runtime
        self.env = first_in_path(*self.PROGRAMS)
        if call(["sh", "-c", "command -v dockerd"], expect=None, env=self.env).code:
            raise Skip("no docker.io here")
        work.mkdir()
        self.socket = f"unix://{work}/docker.sock"
        self.log = open(work / "log", "w+")
        self.daemon = subprocess.Popen(
            ["dockerd", "--data-root", str(work / "data"), "--exec-root", str(work / "exec"), "-H", self.socket,
             "--pidfile", str(work / "pid"), "--add-runtime", f"tested={runtime}", "--iptables=false", "--ip6tables=false",
             "--bridge=none", "--default-ulimit", "nofile=1024:4096"], stdout=self.log, stderr=self.log, env=self.env)
        try:
            wait_for("dockerd answers", lambda: self.daemon.poll() is not None or self("version", expect=None).code == 0)
            if self.daemon.poll() is not None:
                raise Skip("dockerd ends at once: " + (work / "log").read_text().strip()[-300:])
            self("import", "--change", "ENV PATH=/bin", str(image.tar), IMAGE)
        except (Failure, Skip):
            self.end()
            raise
        self.states = ["/run/docker/runtime-tested/moby", "/run/docker/runtime-runc/moby", "/run/croci"]

    def __call__(self, *arguments, **options):
        return call(["docker", "-H", self.socket, *arguments], env=self.env, **options)

    def run(self, *options, command, **how):
        return self("run", "--rm", "--runtime", "tested", "--network", "none", *options, IMAGE, *command, **how)

    def up(self, *options, command=("sleep", "1000")):
        return self("run", "-d", "--runtime", "tested", "--network", "none", *options, IMAGE, *command).text

    def field(self, container, template):
        return self("inspect", "--format", template, container).text

    def pid(self, container):
        return int(self.field(container, "{{.State.Pid}}"))

    def clean(self):
        for container in self("ps", "-aq", expect=None).out.split():
            self("rm", "-f", container, expect=None)

    def end(self):
        self.daemon.terminate()
        self.daemon.wait()


def op(title):
    return operation(OPERATIONS, title)


@op("run: output, exit status, 127, 126 also for a directory")
def _(d):
    same(d.run(command=["echo", "hello"]).out, "hello\n", "output")
    d.run(command=["sh", "-c", "exit 3"], expect=3)
    d.run(command=["no-such"], expect=127)
    d.run(command=["/no/such"], expect=127)
    d.run(command=["/etc/not-executable"], expect=126)
    d.run(command=["/etc"], expect=126)


@op("run -it: terminal, its size, exit status")
def _(d):
    code, seen = on_terminal(["docker", "-H", d.socket, "run", "--rm", "-it", "--runtime", "tested", "--network", "none", IMAGE, "sh"],
                             env=d.env, typed=[(r"# ", TERMINAL + "exit 5\n")])
    same(code, 5, "exit status")
    matches(seen, r"\n/dev/pts/0\n40 100\n", "terminal")


@op("run -d, ps, logs, top, wait")
def _(d):
    c = d.up(command=["sh", "-c", "echo logged; until [ -e /tmp/go ]; do sleep 0.05; done; exit 7"])
    matches(d("ps").out, c[:12], "ps")
    matches(d("top", c).out, "sleep|sh -c", "top")
    d("exec", c, "touch", "/tmp/go", expect=None)  # the container may end before the exec does
    same(d("wait", c).text, "7", "wait")
    same(d("logs", c).out, "logged\n", "logs")


@op("exec: output, status, user, environment, terminal")
def _(d):
    c = d.up()
    same(d("exec", "-e", "A=b", "-u", "1000", "-w", "/tmp", c, "sh", "-c", "echo $A $(id -u) $(pwd)").text, "b 1000 /tmp", "inside")
    d("exec", c, "sh", "-c", "exit 9", expect=9)
    holds(d("exec", c, "no-such", expect=None).code in (126, 127), "exit status of a missing program")
    code, seen = on_terminal(["docker", "-H", d.socket, "exec", "-it", c, "sh"], env=d.env, typed=[(r"# ", "tty; exit 6\n")])
    same(code, 6, "exit status")
    matches(seen, r"\n/dev/pts/\d\n", "terminal")


@op("stop, kill, restart, rm -f")
def _(d):
    c = d.up(command=["sh", "-c", "trap 'exit 4' TERM; trap 'exit 8' USR1; echo ready; while :; do sleep 0.05; done"])
    wait_for("ready", lambda: "ready" in d("logs", c).out)
    d("stop", "-t", "10", c)
    same(d.field(c, "{{.State.ExitCode}}"), "4", "exit code after stop")
    d("restart", c)
    wait_for("ready again", lambda: d("logs", c).out.count("ready") == 2)
    d("kill", "-s", "USR1", c)
    same(d("wait", c).text, "8", "exit code after kill")
    deaf = d.up()
    pid = d.pid(deaf)
    cgroup = cgroup_dir(pid, "memory")
    d("rm", "-f", deaf)
    holds(not alive(pid) and not cgroup.exists(), "process or cgroup left")


@op("pause, unpause")
def _(d):
    c = d.up()
    d("pause", c)
    holds(limit(d.pid(c), "freezer.state", "cgroup.freeze") in ("FROZEN", "1"), "not frozen")
    same(d.field(c, "{{.State.Status}}"), "paused", "status")
    d("unpause", c)
    same(d.field(c, "{{.State.Status}}"), "running", "status")


@op("update: --memory, --cpus, --pids-limit read back; the devices stay")
def _(d):
    c = d.up("--memory", "32m")
    d("update", "--memory", "48m", "--memory-swap", "48m", "--cpus", "0.5", "--pids-limit", "33", c)
    pid = d.pid(c)
    same(limit(pid, "memory.limit_in_bytes", "memory.max"), str(48 << 20), "memory")
    same(limit(pid, "cpu.cfs_quota_us", "cpu.max").split()[0], "50000", "cpu")
    same(limit(pid, "pids.max", "pids.max"), "33", "pids")
    d("exec", c, "cat", "/dev/null")


@op("stats")
def _(d):
    c = d.up("--memory", "64m")
    matches(d("stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", c).text, r"^1 [0-9.]+[kKM]iB / 64MiB", "stats")


@op("run --cap-drop, --read-only, --tmpfs, -v, --device, --init, --hostname, --ulimit, --sysctl, --user, --security-opt")
def _(d):
    seen = d.run("--cap-drop", "all", "--read-only", "--tmpfs", "/tmp", "-v", f"{d.work}:/data:ro", "--device", "/dev/kmsg", "--init",
                 "--hostname", "named", "--ulimit", "nofile=50:60", "--sysctl", "net.ipv4.ip_default_ttl=33", "--user", "1000:1000",
                 "--security-opt", "no-new-privileges",
                 command=["sh", "-c", "grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | cut -f2; touch /x 2>&1; "
                          "touch /tmp/x && echo tmp; touch /data/x 2>&1; ls -l /dev/kmsg | cut -c1; hostname; ulimit -n; "
                          "cat /proc/sys/net/ipv4/ip_default_ttl; id -u; cat /proc/1/comm"]).text
    matches(seen, r"^0{16}\n1\n2\n.*Read-only file system\ntmp\n.*Read-only file system\nc\nnamed\n50\n33\n1000\n(docker-init|tini)$", "inside")


@op("commit, cp, diff")
def _(d):
    c = d.up(command=["sh", "-c", "echo kept >/root/file; sleep 1000"])
    wait_for("file written", lambda: d("exec", c, "cat", "/root/file", expect=None).code == 0)
    matches(d("diff", c).out, "A /root/file", "diff")
    d("commit", c, "committed")
    same(d("run", "--rm", "--runtime", "tested", "--network", "none", "committed", "cat", "/root/file").text, "kept", "file")


@op("20 containers in a row leave nothing")
def _(d):
    d.run(command=["true"])
    before = counters(d.states)
    for number in range(20):
        same(d.run(command=["echo", str(number)]).text, str(number), "output")
    nothing_left(before, d.states)
