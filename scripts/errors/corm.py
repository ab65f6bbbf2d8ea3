"""Runs the failures of an engine with corm and Podman, one after another in directories and stores of their own."""
import fnmatch
import os
import re
import shutil
import subprocess
import tempfile

from croci import SECONDS, rootfs

PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


class Engine:
    """corm or Podman, with a store that has the image `base`."""

    def __init__(self, name, programs, top, addresses):
        self.name, self.addresses = name, addresses
        self.work = tempfile.mkdtemp(dir=top)
        self.env = {"PATH": PATH, "HOME": f"{self.work}/home", "BASE": f"{top}/base.tar", "XDG_RUNTIME_DIR": f"{self.work}/run",
                    "CONTAINERS_REGISTRIES_CONF": f"{top}/registries.conf"}
        for directory in ("home", "run"):
            os.mkdir(f"{self.work}/{directory}", 0o700)
        store = f"{self.work}/store"
        if name == "corm":
            self.variable, self.call = "C", f"{programs['corm']} --runtime {programs['croci']} --root {store} --driver copy"
            self.load = f"{self.call} load -i $BASE"
        else:
            self.variable = "P"
            self.call = f"podman --cgroup-manager cgroupfs --runtime runc --storage-driver vfs --root {store} --runroot {self.work}/run/podman"
            self.load = f"{self.call} load -q -i $BASE && {self.call} tag localhost/base base"

    def run(self, script, work):
        """Runs a script in mounts of its own; returns its status and what its last command wrote to standard error."""
        for word, address in self.addresses.items():
            script = script.replace(word, address)
        env = {**self.env, self.variable: self.call}
        with open(f"{self.work}/err", "wb") as err:
            try:
                done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=env, cwd=work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=err, timeout=3 * SECONDS, start_new_session=True, check=False)
                status = done.returncode
            except subprocess.TimeoutExpired:
                status = "none, it hangs"
        with open(f"{self.work}/err", encoding="utf-8", errors="replace") as file:
            text = file.read()
        for word, address in self.addresses.items():
            text = text.replace(address, word[1:])
        for known, name in ((work, "DIR"), (self.work, "STORE")):
            text = text.replace(known, name)
        text = re.sub(r'time="[^"]*" ', "", text)
        return status, [line for line in text.splitlines() if line.strip()]

    def provoke(self, case):
        """Runs a failure; returns its status, its lines, and the containers that are left without a name that was asked for."""
        script = case[1] if self.name == "corm" else case[2]
        work = tempfile.mkdtemp(dir=self.work)
        os.mkdir(f"{work}/full")
        status, lines = self.run(script, work)
        quiet = {"shell": True, "env": self.env, "stdin": subprocess.DEVNULL, "capture_output": True, "check": False, "timeout": 120}
        left = subprocess.run(f"{self.call} ps -a --format '{{{{.Names}}}}'", **quiet).stdout.decode().split()
        images = subprocess.run(f"{self.call} images -q", **quiet).stdout.decode().split()
        for verb in ("rm -f -a", "volume rm -f -a" if self.name == "corm" else "volume prune -f"):
            subprocess.run(f"{self.call} {verb}", **quiet)
        shutil.rmtree(work, ignore_errors=True)
        return status, lines, [name for name in left if name != "u"] + images[2:]


def prepare(top, programs):
    """Makes the archive of the image `base`."""
    rootfs(f"{top}/tree")
    store = f"--root {top}/first --driver copy"
    corm = programs["corm"]
    subprocess.run(f"{corm} {store} init {top}/tree base && {corm} {store} save -o {top}/base.tar base", shell=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(f"{top}/registries.conf", "w", encoding="utf-8") as file:
        file.write('unqualified-search-registries = ["127.0.0.1:1"]\n')


def verdict(case, found):
    """What is wrong with corm's answer, or nothing."""
    _, _, _, code, words = case
    status, lines, left = found
    if status == 0:
        return "accepted"
    if not isinstance(status, int):
        return "hangs"
    errors = [line for line in lines if line.startswith("corm: ") and " warning: " not in line[:20]]
    if len(errors) != 1:
        return f"{len(errors)} lines"
    line = errors[0]
    if not re.fullmatch(r"corm: .* \[[a-z_.]+\]", line):
        return "another form"
    named = line[line.rindex("[") + 1:-1]
    if not any(fnmatch.fnmatch(named, one) for one in code.split("|")):
        return "another code"
    if not re.search(words, line):
        return "another cause"
    return f"left {left}" if left else ""
