"""Bundles of the benchmarks: what `runc spec` writes, with a static busybox as the root file system."""
import json, os, shutil, sys

SPEC = {
 "ociVersion": "1.0.2",
 "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["true"],
  "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"], "cwd": "/",
  "capabilities": {k: ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"] for k in ("bounding", "effective", "permitted")},
  "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}], "noNewPrivileges": True},
 "root": {"path": "rootfs", "readonly": True}, "hostname": "runc",
 "mounts": [
  {"destination": "/proc", "type": "proc", "source": "proc"},
  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
  {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
  {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
  {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
  {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
  {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}],
 "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}]},
  "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")],
  "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
  "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]}}

def spec(args, view, rootfs, seccomp=None):
    s = json.loads(json.dumps(SPEC)); s["process"]["args"] = args; s["root"]["path"] = rootfs
    if view == "v2": s["linux"]["namespaces"].append({"type": "cgroup"})   # as `runc spec` does on v2
    if seccomp: s["linux"]["seccomp"] = seccomp
    return s

def make_rootfs(work):
    """Makes a root file system from the host's static busybox; returns its path."""
    busybox, root = shutil.which("busybox"), os.path.join(work, "rootfs")
    if not busybox: sys.exit("no busybox: apt-get install busybox-static")
    if os.path.isdir(root): return root
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc"): os.makedirs(os.path.join(root, name))
    shutil.copy(busybox, root + "/bin/busybox")
    for name in ("true", "sleep", "sh", "cat"): os.symlink("busybox", f"{root}/bin/{name}")
    return root

def seccomp_of(path):
    """Returns linux.seccomp of a file, which is that object or a whole config.json; None when there is no file."""
    found = json.load(open(path)) if path and os.path.exists(path) else None
    return found["linux"]["seccomp"] if found and "linux" in found else found

DOCKER_SECCOMP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "docker-seccomp.json")
ARGS = {"true": ["true"], "sleep": ["sleep", "1000000"], "seccomp": ["true"]}

def bundle(work, name, view="host", rootfs=None, seccomp=DOCKER_SECCOMP):
    """Makes a bundle of this name, a key of ARGS; returns its directory."""
    path = os.path.join(work, name); os.makedirs(path)
    profile = seccomp_of(seccomp) if name == "seccomp" else None
    with open(path + "/config.json", "w") as out: json.dump(spec(ARGS[name], view, rootfs or make_rootfs(work), profile), out, indent=1)
    return path
