"""Operations on the socket and the command line of croci's shim, for what no program of containerd of Debian asks of a shim."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from harness import call as harness_call
from harness import Failure, alive, cgroup_dir, counters, holds, limit, nothing_left, operation, same, status_field, wait_for
from ttrpc import Refused, any_of, ask, call, connected, fields, message

OPERATIONS = []
SERVICES = ("containerd.task.v2.Task", "containerd.task.v3.Task")
SANDBOX = "containerd.runtime.sandbox.v1.Sandbox"
SHIM = "containerd-shim-croci-v2"
RESOURCES = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"


def op(title):
    return operation(OPERATIONS, title)


def address(c, name):
    """Returns the address of a container's shim."""
    return (Path(c.states[-1]) / name / "address").read_text()


def refused(code, *arguments):
    """Fails unless the call is refused with the code."""
    try:
        call(*arguments)
    except Refused as error:
        same(error.code, code, f"code of {error}")
    else:
        raise Failure(f"{arguments} was not refused")


@op("Update: memory, pids and shares of a running container")
def _(c):
    name = c.up("--memory-limit", str(64 << 20))
    pid = c.pid(name)
    for number, service in enumerate(SERVICES):
        memory = (48 + 16 * number) << 20
        resources = {"memory": {"limit": memory}, "pids": {"limit": 77 + number}, "cpu": {"shares": 512}}
        call(address(c, name), service, "Update", message((1, name), (2, any_of(RESOURCES, json.dumps(resources)))))
        same(limit(pid, "memory.limit_in_bytes", "memory.max"), str(memory), "memory")
        same(limit(pid, "pids.max", "pids.max"), str(77 + number), "pids")
    same(limit(pid, "cpu.shares", "cpu.weight"), "512" if (cgroup_dir(pid, "cpu") / "cpu.shares").exists() else "59", "shares")
    refused(5, address(c, name), SERVICES[0], "Update", message((1, "another"), (2, any_of(RESOURCES, "{}"))))
    wrong = message((1, name), (2, any_of(RESOURCES, '{"memory": {"limit": "much"}}')))
    refused(2, address(c, name), SERVICES[0], "Update", wrong)
    same(limit(pid, "pids.max", "pids.max"), "78", "pids after a wrong one")


def started(c, name, bundle, *parameters, env=()):
    """Starts a shim as containerd 2.3 does; returns its address and its pid."""
    bundle.mkdir(exist_ok=True)
    given = message((1, name), (2, "callers"), (3, -4), (4, "2.3.0"), (5, f"unix://{c.work}/containerd.sock.ttrpc"), (7, "/usr/bin/containerd"), *parameters)
    argv = [SHIM, "-namespace", "callers", "-address", f"{c.work}/containerd.sock", "-publish-binary", "x", "-id", name, "start"]
    # a shim that knows the parameters answers by a message whatever this variable is
    env = {**c.env, "MAX_SHIM_VERSION": "2", **dict(env)}
    answer = fields(subprocess.run(argv, cwd=bundle, env=env, input=given, capture_output=True, check=True).stdout)
    same((answer[1], answer[3]), ([3], [b"ttrpc"]), "version and protocol")
    where = answer[2][0].decode()
    return where, call(where, SERVICES[1], "Connect", message((1, name)))[1][0]


@contextlib.contextmanager
def ended(*pids):
    """Kills the processes at the end if they still live."""
    try:
        yield
    finally:
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


@op("start by the parameters of containerd 2.3: answer, directory of the socket, ShimCgroup")
def _(c):
    bundle, sockets = c.work / "bundle", Path("/run/other")
    bundle.mkdir(exist_ok=True)
    (bundle / "config.json").write_text("{}")
    cgroup = cgroup_dir(os.getpid(), "pids") / "of-shims"
    cgroup.mkdir(exist_ok=True)
    before = counters([])
    options = any_of("containerd.runc.v1.Options", message((3, "/of-shims")))
    other = any_of("containerd.io/cri.v1.Other", b"\1")
    where, pid = started(c, "b1", bundle, (8, message((1, other))), (8, message((1, options))), (9, str(sockets)))
    with ended(pid):
        holds(where.startswith(f"unix://{sockets}/"), f"the address is {where}")
        same((cgroup / "cgroup.procs").read_text().split(), [str(pid)], "processes of the shim's cgroup")
        call(where, SERVICES[1], "Shutdown", message((1, "b1")))
        wait_for("the shim has ended", lambda: not alive(pid))
        holds(not any(sockets.iterdir()), "its socket is left")
        nothing_left(before, [])
    cgroup.rmdir()


def pod_config(sysctl="kernel.shm_rmid_forced"):
    """Encodes a pod's configuration: all namespaces are the pod's."""
    dns = message((1, "192.0.2.1"), (2, "example.org"), (3, "ndots:2"))
    linux = message((1, "/pods"), (2, message((1, message((1, 0), (2, 0), (3, 0))))), (3, message((1, sysctl), (2, "1"))))
    return any_of("runtime.v1.PodSandboxConfig", message((2, "podhost"), (4, dns), (8, linux)))


def new_pod(c, name, config):
    """Starts a shim and creates a sandbox there; returns the shim's address, its pid, and the bundle."""
    bundle, network = c.work / name, Path("/run/netns") / name
    if not network.exists():
        harness_call(["ip", "netns", "add", name])
    where, pid = started(c, name, bundle)
    call(where, SANDBOX, "CreateSandbox", message((1, name), (2, str(bundle)), (4, config), (5, str(network))))
    return where, pid, bundle


def member(c, where, pod, name, script):
    """Runs a container in the namespaces of process `pod`; returns its output."""
    bundle = c.work / name
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir()
    harness_call([c.runtime, "spec", "--bundle", str(bundle)], env=c.env)
    spec = json.loads((bundle / "config.json").read_text())
    del spec["hostname"]  # the container would rename the pod
    spec["root"] = {"path": str(c.image.rootfs)}
    spec["process"].update(args=["sh", "-c", script], terminal=False)
    spec["linux"]["namespaces"] = [{"type": "mount"}] + [
        {"type": kind, "path": f"/proc/{pod}/ns/{file}"} for kind, file in (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"))]
    (bundle / "config.json").write_text(json.dumps(spec))
    log = bundle / "log"
    call(where, SERVICES[1], "Create", message((1, name), (2, str(bundle)), (6, f"file://{log}")))
    call(where, SERVICES[1], "Start", message((1, name)))
    call(where, SERVICES[1], "Wait", message((1, name)))
    call(where, SERVICES[1], "Delete", message((1, name)))
    call(where, SERVICES[1], "Shutdown", message((1, name)))  # as containerd does after the end of a container
    return log.read_text()


def before_pods(c):
    """Returns the counters before pods, when what is made once is there."""
    c.run(command=["true"])
    for verb in ("add", "del"):
        harness_call(["ip", "netns", verb, "first"])  # it mounts the directory
    return counters(c.states)


@op("sandbox service: the pod's process, its containers, its end")
def _(c):
    before = before_pods(c)
    where, shim, bundle = new_pod(c, "p1", pod_config())
    with ended(shim):
        one = message((1, "p1"))
        refused(6, where, SANDBOX, "CreateSandbox", message((1, "p2"), (2, str(bundle))))
        refused(5, where, SANDBOX, "PingSandbox", message((1, "p2")))
        same(fields(call(where, SANDBOX, "Platform", one)[1][0])[1], [b"linux"], "platform")
        pod = call(where, SANDBOX, "StartSandbox", one)[1][0]
        status = call(where, SANDBOX, "SandboxStatus", one)
        same((status[2], status[3]), ([pod], [b"SANDBOX_READY"]), "status")
        holds(call(where, SANDBOX, "SandboxMetrics", one)[1], "no metrics")
        lines = Path(f"/proc/{pod}/status").read_text()
        for line in ("Uid:\t65534", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Threads:\t1"):
            holds(line in lines, f"{line} is not in {lines}")
        same(os.stat(f"/proc/{pod}/ns/net").st_ino, os.stat("/run/netns/p1").st_ino, "network namespace")
        holds(str(cgroup_dir(pod, "memory")).endswith("/pods/p1"), f"cgroup {cgroup_dir(pod, 'memory')}")
        script = ("cat /etc/resolv.conf; hostname; cat /proc/sys/kernel/shm_rmid_forced; echo seen >/dev/shm/file;"
                  " ls /proc/1/root/ /proc/1/cwd/ 2>&1; cat /proc/1/cmdline | tr '\\0' ' '")
        seen = member(c, where, pod, "m1", script)
        holds(seen.startswith("search example.org\nnameserver 192.0.2.1\noptions ndots:2\npodhost\n1\n"), seen)
        holds(seen.endswith("/pause pause "), f"the first process is not the pod's: {seen}")
        same(seen.count("Permission denied"), 2, f"ways into the pod's process that are closed: {seen}")
        same(member(c, where, pod, "m2", "cat /dev/shm/file"), "seen\n", "shared memory")
        holds(alive(shim), "the shim has ended with a container")
        call(where, SANDBOX, "StopSandbox", one)
        same(call(where, SANDBOX, "WaitSandbox", one)[1], [137], "exit status")
        same(call(where, SANDBOX, "SandboxStatus", one)[3], [b"SANDBOX_NOTREADY"], "status")
        holds(not alive(pod), "the pod's process lives")
        call(where, SANDBOX, "ShutdownSandbox", one)
        wait_for("the shim has ended", lambda: not alive(shim))
    harness_call(["ip", "netns", "del", "p1"])
    remove_parent()
    nothing_left(before, c.states)


def remove_parent():
    """Removes the cgroup of the pods, which is Kubernetes' own."""
    parent = cgroup_dir(os.getpid(), "memory") / "pods"
    for path in [parent, *Path("/sys/fs/cgroup").glob("*/pods")]:
        if path.is_dir():
            path.rmdir()


@op("sandbox service: a start that fails and a shim that is killed leave nothing")
def _(c):
    before = before_pods(c)
    where, shim, bundle = new_pod(c, "p1", pod_config("vm.swappiness"))
    with ended(shim):
        try:
            call(where, SANDBOX, "StartSandbox", message((1, "p1")))
            raise AssertionError("a pod with the host's sysctl was started")
        except Refused as error:
            holds("vm.swappiness" in str(error), str(error))
        same(call(where, SANDBOX, "SandboxStatus", message((1, "p1")))[3], [b"SANDBOX_NOTREADY"], "status")
        call(where, SANDBOX, "ShutdownSandbox", message((1, "p1")))
        wait_for("the shim has ended", lambda: not alive(shim))
    where, shim, bundle = new_pod(c, "p1", pod_config())
    pod = call(where, SANDBOX, "StartSandbox", message((1, "p1")))[1][0]
    os.kill(shim, signal.SIGKILL)
    wait_for("the shim is dead", lambda: not alive(shim))
    holds(alive(pod), "the pod's process has ended with the shim")
    harness_call([SHIM, "-namespace", "callers", "-address", f"{c.work}/containerd.sock", "-id", "p1", "-bundle", str(bundle), "delete"], env=c.env, cwd=bundle)
    holds(not alive(pod), "the pod's process lives")
    harness_call(["ip", "netns", "del", "p1"])
    remove_parent()
    nothing_left(before, c.states)


@op("sandbox service: the shim stays half a second after ShutdownSandbox for a client that has not closed its connection")
def _(c):
    before = before_pods(c)
    where, shim, _ = new_pod(c, "p1", pod_config())
    with ended(shim), connected(where) as connection:
        call(where, SANDBOX, "StartSandbox", message((1, "p1")))
        asked = time.monotonic()
        ask(connection, SANDBOX, "ShutdownSandbox", message((1, "p1")))
        same(connection.recv(1), b"", "what follows the answer")
        stayed = time.monotonic() - asked
        holds(stayed >= 0.5, f"the connection has ended after {stayed:.3f} s, perhaps together with the answer")
        wait_for("the shim has ended", lambda: not alive(shim))
    harness_call(["ip", "netns", "del", "p1"])
    remove_parent()
    nothing_left(before, c.states)


PROCESS = "types.containerd.io/opencontainers/runtime-spec/1/Process"


def children(parent):
    """Returns the pids of the children of a process."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            if int(status_field(pid, "PPid")) == parent:
                found.append(pid)
    return found


def announce(c, name, exec_id, script, log=""):
    """Calls `Exec`, and waits until the shim has a process that prepares it. Announces another one where it has ended before that was seen."""
    where, service = address(c, name), SERVICES[1]
    shim, init = (call(where, service, "Connect", message((1, name)))[number][0] for number in (1, 2))
    spec = json.loads((Path(c.states[-1]) / name / "config.json").read_text())["process"]
    process = any_of(PROCESS, json.dumps({**spec, "args": ["sh", "-c", script]}))

    def prepared():
        return [pid for pid in children(shim) if pid != init and alive(pid)]

    for number in range(20):
        call(where, service, "Exec", message((1, name), (2, f"{exec_id}{number}"), (5, log), (7, process)))
        end = time.monotonic() + 1
        while time.monotonic() < end:
            if pids := prepared():
                return f"{exec_id}{number}", pids[0], prepared
        call(where, service, "Delete", message((1, name), (2, f"{exec_id}{number}")))
    raise Failure("no process prepares what is announced")


@op("an exec that is announced and not started: nothing is left of it; started late it runs")
def _(c):
    c.run(command=["true"])
    c.without_shims()
    states = c.states[:2] + c.states[3:]
    before = counters(states)
    name = c.up()
    where, service = address(c, name), SERVICES[1]
    processes = len(c("task", "ps", name).out.splitlines())
    exec_id, _, prepared = announce(c, name, "deleted", "touch /tmp/seen")
    same(len(c("task", "ps", name).out.splitlines()), processes, "processes of the container")
    call(where, service, "Delete", message((1, name), (2, exec_id)))
    wait_for("its process has ended", lambda: not prepared())
    log = c.work / "late"
    exec_id, _, prepared = announce(c, name, "late", "ls /tmp/seen; echo late", f"file://{log}")
    wait_for("its process has ended", lambda: not prepared())
    call(where, service, "Start", message((1, name), (2, exec_id)))
    same(call(where, service, "Wait", message((1, name), (2, exec_id))).get(1, [0]), [0], "exit status")
    same(log.read_text(), "ls: /tmp/seen: No such file or directory\nlate\n", "output")
    exec_id, pid, _ = announce(c, name, "killed", "touch /tmp/seen")
    init = c.pid(name)
    os.kill(call(where, service, "Connect", message((1, name)))[1][0], signal.SIGKILL)
    wait_for("the process that prepares it is dead", lambda: not alive(pid))
    wait_for("the container is dead", lambda: not alive(init))
    wait_for("the task is gone", lambda: c.status(name) in ("gone", "STOPPED", "UNKNOWN"))
    c.clean()
    nothing_left(before, states)
