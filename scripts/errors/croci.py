"""Runs the failures of a runtime with croci, runc and crun, one after another in directories of their own."""
import copy
import fnmatch
import glob
import json
import os
import re
import shutil
import subprocess
import tempfile

from croci_cases import CONFIGS, VERBS

BASE = {
    "ociVersion": "1.0.2",
    "process": {"terminal": False, "user": {"uid": 0, "gid": 0}, "args": ["true"], "env": ["PATH=/bin"], "cwd": "/"},
    "root": {"path": "rootfs"},
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666", "mode=0620"]},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
              "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]},
}
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
SECONDS = 20
# the v2 hierarchy beside those of v1
UNIFIED = "/sys/fs/cgroup/unified"


def elf(machine, loader=b""):
    """The bytes of a 64-bit program of a machine, with a dynamic loader."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + machine.to_bytes(2, "little") + (1).to_bytes(4, "little")
    head += (0x400000).to_bytes(8, "little") + (64).to_bytes(8, "little") + bytes(8) + bytes(4)
    head += b"".join(size.to_bytes(2, "little") for size in (64, 56, 1, 64, 0, 0))
    name = loader + b"\0"
    part = (3).to_bytes(4, "little") + (4).to_bytes(4, "little") + (120).to_bytes(8, "little") + bytes(16)
    return head + part + len(name).to_bytes(8, "little") * 2 + (1).to_bytes(8, "little") + name


def rootfs(path):
    """A root file system of busybox, with the programs that cannot be executed in /data."""
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "data"):
        os.makedirs(f"{path}/{name}")
    shutil.copy("/bin/busybox", f"{path}/bin/busybox")
    for name in ("sh", "sleep", "true", "ls", "echo", "cat"):
        os.symlink("busybox", f"{path}/bin/{name}")
    files = {
        "plain": (b"#!/bin/sh\n", 0o644), "script": (b"#!/usr/bin/python9\n", 0o755), "crlf": (b"#!/bin/sh\r\necho\r\n", 0o755),
        "dynamic": (elf(62, b"/lib/ld-missing.so.2"), 0o755), "foreign": (elf(183), 0o755), "empty": (b"", 0o755),
        "text": (b"hello\n", 0o755), "private": (b"#!/bin/sh\n", 0o700), "good": (b"#!/bin/sh\n", 0o755),
    }
    for name, (content, mode) in files.items():
        with open(f"{path}/data/{name}", "wb") as file:
            file.write(content)
        os.chmod(f"{path}/data/{name}", mode)
    os.symlink("loop", f"{path}/data/loop")
    os.mkdir(f"{path}/data/closed", 0o700)
    with open(f"{path}/etc/passwd", "w", encoding="utf-8") as file:
        file.write("root:x:0:0::/:/bin/sh\n")


def replaced(value, words):
    """A JSON value with words of its texts replaced."""
    text = json.dumps(value)
    for word, meant in words.items():
        text = text.replace(word, meant)
    return json.loads(text)


class Place:
    """The directory of one failure with one runtime."""

    def __init__(self, runtime, number, top):
        self.runtime, self.id = runtime, f"err{os.getpid()}-{number}"
        self.work = tempfile.mkdtemp(dir=top)
        self.bundle, self.state, self.user = (f"{self.work}/{name}" for name in ("bundle", "state", "user"))
        for path in (self.bundle, self.state, self.user):
            os.mkdir(path)
        os.chmod(self.work, 0o755)
        os.chown(self.user, 1000, 1000)
        rootfs(f"{self.bundle}/rootfs")

    def config(self, edit, program):
        """Writes config.json with an edit."""
        config = copy.deepcopy(BASE)
        config["process"]["args"] = program
        edit(config)
        config = replaced(config, {"ROOTFS": f"{self.bundle}/rootfs", "WORK": self.work, "IDENT": self.id})
        with open(f"{self.bundle}/config.json", "w", encoding="utf-8") as file:
            json.dump(config, file, indent=1)

    def call(self, script):
        """Runs a script; returns its status and the lines that its last command wrote to standard error."""
        env = {"PATH": "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "RUNTIME": self.runtime, "B": self.bundle, "S": self.state,
               "U": self.user, "ID": self.id, "R": f"{self.runtime} --root {self.state}", "HOME": "/root"}
        if os.path.basename(self.runtime) == "crun" and os.path.ismount(UNIFIED):
            # crun refuses every container where controllers are in both hierarchies
            script = f"umount {UNIFIED}; {script}"
        with open(f"{self.work}/err", "wb") as err:
            try:
                done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=err, timeout=SECONDS, start_new_session=True, check=False)
                status = done.returncode
            except subprocess.TimeoutExpired:
                status = "none, it hangs"
        with open(f"{self.work}/err", encoding="utf-8", errors="replace") as file:
            text = file.read()
        for known, name in ((self.work, "DIR"), (self.id, "ID"), (self.runtime, os.path.basename(self.runtime))):
            text = text.replace(known, name)
        text = re.sub(r'time="[^"]*" |^\d{4}-\d\d-\d\dT\S+ ', "", text, flags=re.M)
        return status, [line for line in text.splitlines() if line.strip()]

    def left(self):
        """What is left of the container that should not be: names of its state and cgroups."""
        names = [name for name in os.listdir(self.state) if not name.startswith(".")]
        return names + glob.glob(f"/sys/fs/cgroup/*/{self.id}*")

    def clear(self):
        """Ends what the failure has left, and removes the directory."""
        for name in os.listdir(self.state) if os.path.isdir(self.state) else []:
            subprocess.run([self.runtime, "--root", self.state, "delete", "--force", name], **QUIET, check=False, timeout=60)
        for directory in sorted(glob.glob(f"/sys/fs/cgroup/*/{self.id}*"), key=len, reverse=True):
            try:
                os.rmdir(directory)
            except OSError:
                pass
        # runc leaves the hierarchies for a path with "..", and makes a plain directory beside them
        shutil.rmtree(f"/sys/fs/cgroup/{self.id}", ignore_errors=True)
        shutil.rmtree(self.work, ignore_errors=True)


def provoke(runtime, number, case, top):
    """Runs a failure; returns its status, its lines, and what was left of a `run` or `create` that failed."""
    _, how, _, _ = case
    place = Place(runtime, number, top)
    try:
        if callable(how):
            place.config(how, ["true"])
            status, lines = place.call("$R run -b $B $ID")
            return status, lines, place.left()
        place.config(lambda config: None, ["sleep", "60"])
        status, lines = place.call(how)
        return status, lines, []
    finally:
        place.clear()


def verdict(case, found):
    """What is wrong with croci's answer, or nothing."""
    _, _, code, words = case
    status, lines, left = found
    if status == 0:
        return "accepted"
    if not isinstance(status, int):
        return "hangs"
    if len(lines) != 1 and not (lines and " [usage." in lines[0]):
        return f"{len(lines)} lines"
    line = lines[0]
    if not re.fullmatch(r"croci: error: .* \[[a-z_.]+\]", line):
        return "another form"
    named = line[line.rindex("[") + 1:-1]
    if code and not any(fnmatch.fnmatch(named, one) for one in code.split("|")):
        return "another code"
    if not re.search(words, line):
        return "another cause"
    return f"left {left}" if left else ""


def names_cause(case, found):
    """Whether a runtime failed in one line that has the cause."""
    status, lines, _ = found
    return status != 0 and isinstance(status, int) and len(lines) == 1 and re.search(case[3], lines[0])


def cases():
    """All failures."""
    return CONFIGS + VERBS
