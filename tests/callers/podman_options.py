"""Podman: the effect of each option of `podman run`, read inside the container or in its cgroup."""
import json
import os
import re
from pathlib import Path

from harness import Skip, V2_ONLY, call, cgroup_dir, holds, limit, matches, operation, same, status_field
from podman_base import Podman as Caller  # noqa: F401  (run looks for this name)

OPERATIONS = []

# (option line, shell script run inside, regular expression of its whole output)
INSIDE = [
    ("--cap-drop all", "grep -E 'Cap(Eff|Bnd)' /proc/self/status | cut -f2", r"0{16}\n0{16}"),
    ("--cap-drop all --cap-add net_admin", "grep CapEff /proc/self/status | cut -f2", "0000000000001000"),
    ("--cap-drop chown", "chown 1:1 /tmp 2>&1 || echo refused", ".*not permitted.*refused"),
    ("--security-opt no-new-privileges", "grep NoNewPrivs /proc/self/status | cut -f2", "1"),
    ("--security-opt unmask=/proc/acpi:/sys/firmware", "ls /sys/firmware | wc -l", "[1-9][0-9]*"),
    ("--security-opt mask=/data", "touch /data/x 2>&1 || ls -A /data | wc -l", ".*(0|Read-only.*)"),
    ("--privileged", "grep Seccomp: /proc/self/status | cut -f2; test -w /proc/sys/kernel && ls /dev/null /dev/zero", "0\n/dev/null\n/dev/zero"),
    ("--read-only", "touch /x 2>&1; touch /tmp/y && echo tmp", ".*Read-only file system\ntmp"),
    ("--read-only --read-only-tmpfs=false", "touch /tmp/y 2>&1", ".*Read-only file system"),
    ("--tmpfs /data:size=1m,mode=700", "grep ' /data ' /proc/mounts; stat -c %a /data", r"tmpfs /data tmpfs rw,nosuid,nodev,.*size=1024k,.*\n700"),
    ("--init", "cat /proc/1/comm", "podman-init"),
    ("--hostname given", "hostname", "given"),
    ("--uts host --network host", "hostname", re.escape(os.uname().nodename)),
    ("--network none", "ls /sys/class/net", "lo"),
    ("--ipc private", "test $(ls /dev/shm | wc -l) = 0 && echo own", "own"),
    ("--shm-size 5m", "df -k /dev/shm | tail -1 | awk '{print $2}'", "5120"),
    ("--ulimit nofile=100:200 --ulimit core=0 --ulimit nproc=300:300", "ulimit -n; ulimit -Hn; ulimit -c", "100\n200\n0"),
    ("--sysctl net.ipv4.ip_default_ttl=33", "cat /proc/sys/net/ipv4/ip_default_ttl", "33"),
    ("--sysctl kernel.shm_rmid_forced=1", "cat /proc/sys/kernel/shm_rmid_forced", "1"),
    ("--user 1000:2000 --group-add 33", "id -u; id -g; id -G", "1000\n2000\n2000 33"),
    ("--user user", "id -u; id -g", "1000\n1000"),
    ("--workdir /home/user", "pwd", "/home/user"),
    ("--env A=1 --env B", "echo $A $container", "1 podman"),
    ("--umask 0077", "umask", "0077"),
    ("--oom-score-adj 500", "cat /proc/self/oom_score_adj", "500"),
    ("--add-host there:10.1.1.1", "grep there /etc/hosts", r"10.1.1.1\s+there.*"),
    ("--dns 10.2.2.2 --network host", "cat /etc/resolv.conf", ".*nameserver 10.2.2.2.*"),
    ("--pid host", "test $$ -gt 2 && cat /proc/1/comm", "catatonit"),
    ("--cgroupns private", "cut -d: -f3 /proc/self/cgroup | sort -u", "/"),
    ("--device /dev/net/tun:/dev/mine:r", "ls -l /dev/mine | cut -c1; (exec 3</dev/mine) && (exec 3>/dev/mine) 2>&1", "c\n.*not permitted"),
    ("--device-cgroup-rule 'c 10:200 rwm' --cap-add mknod", "mknod /tmp/tun c 10 200 && (exec 3<>/tmp/tun) && echo allowed", "allowed"),
    ("--cap-add mknod", "mknod /tmp/mem c 1 1 && cat /tmp/mem 2>&1", ".*not permitted"),
    ("--uidmap 0:100000:5000 --gidmap 0:100000:5000", "cat /proc/self/uid_map; id -u; stat -c %u /bin/busybox", r"0\s+100000\s+5000\n0\n0"),
    ("--uidmap 0:100000:5000 --gidmap 0:100000:5000 -v VOLUME:/data:U", "touch /data/mine && stat -c %u /data/mine", "0"),
    ("--uidmap 0:100000:5000 --gidmap 0:100000:5000 --user 1000", "id -u; touch /tmp/x && stat -c %u /tmp/x; echo to >/dev/stdout; echo err >/dev/stderr", "1000\n1000\nto"),
    ("--systemd always", "grep -c ' /sys/fs/cgroup/systemd ' /proc/mounts; grep -o '^tmpfs /run ' /proc/mounts", "[1-9]\ntmpfs /run"),
    ("-v VOLUME:/data", "echo in >/data/file; cat /data/file", "in"),
    ("-v VOLUME:/data:ro", "touch /data/x 2>&1", ".*Read-only file system"),
    ("-v VOLUME:/data:noexec,nosuid", "grep ' /data ' /proc/mounts", ".*nosuid.*noexec.*"),
    ("-v VOLUME:/data:O", "echo over >/data/upper && cat /data/upper", "over"),
    ("-v VOLUME:/data:rshared", "grep ' /data ' /proc/self/mountinfo", ".* shared:.*"),
    ("--mount type=bind,src=VOLUME,dst=/new/place,ro=true", "touch /new/place/x 2>&1", ".*Read-only file system"),
    ("--mount type=devpts,destination=/dev/pts", "ls /dev/pts", "ptmx"),
    ("-v named:/home/user", "stat -c %u /home/user; touch /home/user/x && echo kept", "1000\nkept"),
    ("--tz UTC --annotation a=b --label c=d --stop-signal 10", "echo ran", "ran"),
    ("--entrypoint /bin/echo", None, "-c ran"),
    ("--cgroups disabled", "echo ran", "ran"),
    ("--personality LINUX32 --rm=true", "uname -m", "i686"),
]

# (option line, cgroup v1 file, cgroup v2 file, content)
LIMITS = [
    ("--memory 64m", "memory.limit_in_bytes", "memory.max", str(64 << 20)),
    ("--memory 64m --memory-reservation 32m", "memory.soft_limit_in_bytes", "memory.low", str(32 << 20)),
    ("--memory 64m --memory-swap 64m", "memory.memsw.limit_in_bytes", "memory.swap.max", str(0 if V2_ONLY else 64 << 20)),
    ("--memory-swappiness 7", "memory.swappiness", "memory.swappiness", "7"),
    ("--cpus 0.5", "cpu.cfs_quota_us", "cpu.max", "50000 100000" if V2_ONLY else "50000"),
    ("--cpu-shares 512", "cpu.shares", "cpu.weight", "20" if V2_ONLY else "512"),
    ("--cpuset-cpus 0", "cpuset.cpus", "cpuset.cpus", "0"),
    ("--pids-limit 42", "pids.max", "pids.max", "42"),
    ("--blkio-weight 300", "blkio.weight", "io.weight", "300"),
]

SECCOMP = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
           "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}


def words(line, p):
    volume = p.work / "volume"
    volume.mkdir(exist_ok=True)
    return [word.strip("'").replace("VOLUME", str(volume)) for word in re.findall(r"(?:'[^']*'|\S)+", line)]


def needs(line):
    """Skips the operation where this Podman does not have the option, or the machine does not have its device."""
    option = line.split()[0]
    if option not in call(["podman", "run", "--help"]).out:
        raise Skip(f"this podman has no {option}")
    if ("10:200" in line or "tun" in line) and not Path("/dev/net/tun").exists():
        raise Skip("no /dev/net/tun")


def inside(line, script, wanted):
    def body(p):
        needs(line)
        command = ["sh", "-c", script] if script else ["-c", "ran"]
        result = p.run(*words(line, p), "IMAGE", *command, expect=None)
        holds(result.code != 125 and not (result.code and not result.out), f"status {result.code}: {result.err.strip()[-400:]}")
        holds(re.fullmatch(wanted, result.text, re.S), f"{result.out!r} is not {wanted!r}; {result.err.strip()[-300:]}")
    return body


def read_back(line, v1, v2, wanted):
    def body(p):
        needs(line)
        file = (cgroup_dir(os.getpid(), (v2 if V2_ONLY else v1).split(".")[0]) / (v2 if V2_ONLY else v1))
        if not file.exists():
            raise Skip(f"no {file.name} on this kernel")
        same(limit(p.pid(p.up(*words(line, p))), v1, v2), wanted, file.name)
    return body


for _line, _script, _wanted in INSIDE:
    operation(OPERATIONS, "run " + _line.replace("VOLUME", "DIR"))(inside(_line, _script, _wanted))
for _line, _v1, _v2, _wanted in LIMITS:
    operation(OPERATIONS, f"run {_line}: read back")(read_back(_line, _v1, _v2, _wanted))


def op(title):
    return operation(OPERATIONS, title)


@op("run --security-opt seccomp=FILE, unconfined, default")
def _(p):
    profile = p.work / "seccomp.json"
    profile.write_text(json.dumps(SECCOMP))
    seen = p.run("--security-opt", f"seccomp={profile}", "IMAGE", "sh", "-c", "mkdir /tmp/d 2>&1 || touch /tmp/f && echo ok")
    matches(seen.text, r"not implemented\nok$", "filtered")
    for option, mode in (("seccomp=unconfined", "0"), ("label=disable", "2")):
        seen = p.run("--security-opt", option, "IMAGE", "sh", "-c", "grep Seccomp: /proc/self/status").text
        same(seen.split()[-1], mode, option)


@op("run --pid container:, --network container:, --ipc container:")
def _(p):
    first = p.up("--ipc", "shareable")
    for kind, namespace in (("pid", "pid"), ("network", "net"), ("ipc", "ipc")):
        second = p.up(f"--{kind}", f"container:{first}")
        same(os.readlink(f"/proc/{p.pid(second)}/ns/{namespace}"), os.readlink(f"/proc/{p.pid(first)}/ns/{namespace}"), kind)


@op("run --pid host: kill and rm -f end every process of the container")
def _(p):
    c = p.up("--pid", "host", command=("sh", "-c", "sleep 998 & sleep 997"))
    cgroup = cgroup_dir(p.pid(c), "memory")
    p("rm", "-f", "-t", "0", c)
    holds(not cgroup.exists(), f"{cgroup} is left")


@op("run --cgroup-parent")
def _(p):
    c = p.up("--cgroup-parent", "/given/parent")
    matches(str(cgroup_dir(p.pid(c), "memory")), f"/given/parent/libpod-{c}", "cgroup")


@op("run --userns auto")
def _(p):
    if "containers:" not in Path("/etc/subuid").read_text():
        raise Skip("no ids of a user `containers` in /etc/subuid")
    matches(p.run("--userns", "auto", "IMAGE", "cat", "/proc/self/uid_map").text, r"^\s*0\s+[1-9]", "map")


@op("run --rootfs DIR")
def _(p):
    same(p("run", "--rm", "--rootfs", str(p.image.rootfs), "/bin/echo", "hello").text, "hello", "output")


@op("run --log-driver none, passthrough and --pidfile")
def _(p):
    p.run("--log-driver", "none", "IMAGE", "true")
    file = p.work / "pidfile"
    c = p.up("--pidfile", str(file))
    same(file.read_text().strip(), str(p.pid(c)), "pid file")
    matches(status_field(p.pid(c), "Name"), "sleep", "its process")


@op("run under Podman's own default seccomp profile: 40 ordinary programs")
def _(p):
    script = "for c in 'ls /' 'ps' 'df' 'id' 'date' 'uname -a' 'mktemp' 'sort /etc/passwd' 'find /etc' 'tar c /etc'; do $c >/dev/null || exit 1; done"
    p.run("IMAGE", "sh", "-c", " ; ".join([script] * 4))
