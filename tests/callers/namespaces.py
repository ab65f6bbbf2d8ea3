"""Mount, network, pid and cgroup namespaces of a run's own, below a directory of its own, so that the host's services, images,
sockets and cgroups are neither used nor touched, and what is left over dies with the namespaces.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def hierarchies():
    """Returns (mount point, type, options) of every cgroup file system below /sys/fs/cgroup."""
    for line in open("/proc/self/mountinfo"):
        before, after = line.split(" - ")
        point, (kind, _, options) = Path(before.split()[4]), after.split()
        if kind in ("cgroup", "cgroup2") and point.is_relative_to(CGROUPS):
            controllers = [o for o in options.split(",") if o not in ("rw", "ro", "relatime") and not o.startswith("release_agent")]
            yield point, kind, ",".join(controllers)


def own_cgroups(name):
    """Creates a cgroup of this run in every v1 hierarchy and the unified one beside them, which is the root for the callers."""
    made = [point / name for point, kind, _ in hierarchies() if point != CGROUPS]
    for path in made:
        path.mkdir()
        for file in ("cpuset.cpus", "cpuset.mems"):  # empty in a new v1 cgroup, to which no process can be moved
            if (path / file).exists():
                (path / file).write_text((path.parent / file).read_text())
        if (path / "pids.max").exists():
            (path / "pids.max").write_text("10000")
    return made


def remove_cgroups(tops):
    for top in tops:
        for path, _, _ in os.walk(top, topdown=False):
            for _ in range(100):
                try:
                    os.rmdir(path)
                    break
                except OSError:
                    time.sleep(0.02)


def prefer(cgroups):
    """Gives a run nearly all processors, as far as it wants them, so that what it measures is not the load of others."""
    for path in cgroups:
        if (path / "cpu.shares").exists():
            (path / "cpu.shares").write_text("262144")


def run_inside(program, argv, prefix, preferred=False):
    """Prepares a directory and cgroups, runs `program ARGV --inside DIRECTORY` in new namespaces, and removes both. Returns
    its exit status. `preferred`: before others, by `prefer`."""
    work = Path(tempfile.mkdtemp(prefix=prefix))
    work.chmod(0o755)
    cgroups = own_cgroups(work.name)
    if preferred:
        prefer(cgroups)

    def enter():
        for path in cgroups:
            (path / "cgroup.procs").write_text("0")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the `finally` blocks run
    try:
        unshare = ["unshare", "--mount", "--net", "--pid", "--cgroup", "--propagation", "private", "--fork",
                   "--kill-child", "--mount-proc", "catatonit", "--", sys.executable, program]
        return subprocess.run([*unshare, *argv, "--inside", str(work)], preexec_fn=enter).returncode
    finally:
        remove_cgroups(cgroups)
        shutil.rmtree(work, ignore_errors=True)


def private_mounts(view):
    """Mounts new /run and /dev/shm, and the hierarchies again so that this run's cgroup is their root."""
    def mount(*arguments):
        subprocess.run(["mount", *map(str, arguments)], check=True)
    found = [h for h in hierarchies() if h[0] != CGROUPS and not (view == "v1" and h[1] == "cgroup2")]
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm")
    if any(kind == "cgroup" for _, kind, _ in found):
        subprocess.run(["umount", "-R", CGROUPS], check=True)
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", CGROUPS)
        for point, kind, controllers in found:
            point.mkdir(parents=True, exist_ok=True)
            mount("-t", kind, *(["-o", controllers] if kind == "cgroup" else []), kind, point)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
