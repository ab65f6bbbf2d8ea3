"""Buildah: `run`, `bud`, both with isolation oci."""
import os
import signal
import subprocess
from pathlib import Path

from harness import call, counters, holds, matches, nothing_left, on_terminal, operation, same, wait_for
from image import NAME
from podman_base import CONF

OPERATIONS = []
STATE_DIRS = ["/run/croci", "/run/runc", "/run/crun"]


class Caller:
    """Buildah with storage of its own. `clean` removes every working container."""

    NAME = "buildah"

    def __init__(self, work, image, runtime):
        self.work, self.image, self.runtime = work, image, runtime
        work.mkdir()
        (work / "containers.conf").write_text(CONF)
        self.env = {**os.environ, "CONTAINERS_CONF": str(work / "containers.conf"), "HOME": str(work),
                    "CONTAINERS_REGISTRIES_CONF": "/dev/null", "BUILDAH_ISOLATION": "oci"}
        self.argv = ["buildah", "--root", str(work / "root"), "--runroot", str(work / "runroot")]
        scratch = self("from", "scratch").text
        self("copy", "-q", scratch, str(image.rootfs), "/")
        self("config", "--env", "PATH=/bin", "--cmd", "/bin/sh", scratch)
        self("commit", "-q", scratch, NAME)
        self.clean()

    def __call__(self, *arguments, **options):
        return call([*self.argv, *arguments], env=self.env, **options)

    def run(self, *arguments, **options):
        """Runs `buildah run OPTIONS CONTAINER -- COMMAND`, with the arguments before and after the word `--`."""
        at = arguments.index("--")
        container = self("from", NAME).text
        return self("run", "--runtime", self.runtime, *arguments[:at], container, *arguments[at:], **options)

    def clean(self):
        self("rm", "--all", expect=None)

    def end(self):
        self("umount", "--all", expect=None)


def op(title):
    return operation(OPERATIONS, title)


def bud(b, dockerfile, *options, **how):
    context = b.work / "context"
    context.mkdir(exist_ok=True)
    (context / "Dockerfile").write_text(dockerfile)
    (context / "given").write_text("given\n")
    return b("bud", "--runtime", b.runtime, "-q", *options, "-t", "localhost/built", str(context), **how)


@op("run: output and exit status")
def _(b):
    same(b.run("--", "echo", "hello").out, "hello\n", "output")
    b.run("--", "sh", "-c", "exit 3", expect=3)


@op("run: program missing: error, nothing left")
def _(b):
    b.run("--", "true")
    b.clean()
    before = counters(STATE_DIRS)
    result = b.run("--", "no-such", expect=None)
    holds(result.code != 0, "it worked")
    matches(result.err, "not found", "error")
    b.clean()
    nothing_left(before, STATE_DIRS)


@op("run: what it writes is in the image")
def _(b):
    container = b("from", NAME).text
    b("run", "--runtime", b.runtime, container, "--", "sh", "-c", "echo kept >/root/file")
    b("commit", "-q", container, "localhost/kept")
    other = b("from", "localhost/kept").text
    same(b("run", "--runtime", b.runtime, other, "--", "cat", "/root/file").text, "kept", "file")


@op("run --terminal")
def _(b):
    container = b("from", NAME).text
    code, seen = on_terminal([*b.argv, "run", "--runtime", b.runtime, "--terminal", container, "--", "sh"], env=b.env,
                             typed=[(r"# ", "tty; exit 5\n")])
    same(code, 5, "exit status")
    matches(seen, r"\n/dev/(pts/0|console)\n", "terminal")


@op("run --user, --workingdir, --env, --hostname, --volume, --mount")
def _(b):
    (b.work / "given").write_text("given\n")
    seen = b.run("--user", "1000", "--workingdir", "/tmp", "--env", "A=b", "--hostname", "named", "--volume", f"{b.work}:/data:ro",
                 "--", "sh", "-c", "id -u; pwd; echo $A; hostname; cat /data/given; touch /data/x 2>&1; true").text
    matches(seen, r"^1000\n/tmp\nb\nnamed\ngiven\n.*Read-only file system$", "inside")
    same(b.run("--mount", "type=tmpfs,dst=/data", "--", "sh", "-c", "touch /data/x && grep -c ' /data tmpfs' /proc/mounts").text,
         "1", "tmpfs")


@op("run --cap-drop, --cap-add")
def _(b):
    def effective(*options):
        return int(b.run(*options, "--", "grep", "CapEff", "/proc/self/status").text.split()[1], 16)
    holds(not effective("--cap-drop", "CAP_CHOWN") & 1, "CHOWN kept")
    holds(effective("--cap-add", "CAP_NET_ADMIN") >> 12 & 1, "NET_ADMIN missing")


@op("run --isolation rootless")
def _(b):
    same(b.run("--isolation", "rootless", "--", "echo", "hello").text, "hello", "output")


@op("run interrupted: container and state are gone")
def _(b):
    b.run("--", "true")
    container = b("from", NAME).text
    before = counters(STATE_DIRS)
    ready = b.work / "ready"
    child = subprocess.Popen([*b.argv, "run", "--runtime", b.runtime, "--volume", f"{b.work}:/data", container, "--",
                              "sh", "-c", "echo >/data/ready; exec sleep 1000"], env=b.env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("running", ready.exists)
    child.send_signal(signal.SIGINT)
    child.wait(timeout=30)
    nothing_left(before, STATE_DIRS)


@op("bud: RUN, COPY, WORKDIR, USER, ENV, SHELL form and exec form")
def _(b):
    bud(b, f"""FROM {NAME}
ENV A=b
WORKDIR /made
COPY given /made/copied
RUN echo $A >env && pwd >dir && cat copied
RUN ["/bin/sh", "-c", "id -u >uid"]
RUN mkdir /mine && chown user /mine
USER user
RUN id -u >/mine/uid
""")
    container = b("from", "localhost/built").text
    top = Path(b("mount", container).text)
    same([(top / name).read_text().strip() for name in ("made/env", "made/dir", "made/uid", "mine/uid")],
         ["b", "/made", "0", "1000"], "files")
    b("umount", container)


@op("bud: a failing RUN fails the build, nothing left")
def _(b):
    bud(b, f"FROM {NAME}\nRUN true\n")
    b.clean()
    before = counters(STATE_DIRS)
    matches(bud(b, f"FROM {NAME}\nRUN exit 42\n", expect=None).err, "exit status 42", "error")
    nothing_left(before, STATE_DIRS)


@op("bud --memory, --ulimit, --build-arg, --layers, --volume")
def _(b):
    bud(b, f"""FROM {NAME}
ARG WORD
RUN echo $WORD >/word; ulimit -n >/limit; cat /sys/fs/cgroup/memory$(grep memory: /proc/self/cgroup | cut -d: -f3)/memory.limit_in_bytes >/memory || true
RUN test -e /data/given
""", "--build-arg", "WORD=spoken", "--ulimit", "nofile=77:88", "--memory", "64m", "--layers", "--volume", f"{b.work}/context:/data:ro")
    container = b("from", "localhost/built").text
    top = Path(b("mount", container).text)
    same([(top / name).read_text().strip() for name in ("word", "limit")], ["spoken", "77"], "files")
    b("umount", container)


@op("20 builds in a row leave nothing")
def _(b):
    bud(b, f"FROM {NAME}\nRUN true\n")
    before = counters(STATE_DIRS)
    for number in range(20):
        bud(b, f"FROM {NAME}\nRUN echo {number}\n")
    nothing_left(before, STATE_DIRS)
