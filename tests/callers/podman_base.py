"""Podman with directories of its own, on which podman.py and podman_options.py run their operations."""
import json
import os

from harness import call, wait_for
from image import NAME

# `default_ulimits`: Podman gives root's containers limits of a million files and processes, which needs CAP_SYS_RESOURCE.
# `lock_type`: the harness mounts a /dev/shm of its own.
CONF = """
[containers]
netns = "none"
default_ulimits = ["nofile=1024:4096", "nproc=1024:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "shm"
runtime_supports_json = ["croci", "crun", "runc"]
runtime_supports_nocgroup = ["croci", "crun"]
"""


class Podman:
    """`podman` with its storage, state and configuration below `work`. `clean` removes every container."""

    NAME = "podman"

    def __init__(self, work, image, runtime):
        self.work, self.image, self.runtime = work, image, runtime
        work.mkdir()
        (work / "containers.conf").write_text(CONF)
        self.env = {**os.environ, "CONTAINERS_CONF": str(work / "containers.conf"), "HOME": str(work),
                    "CONTAINERS_REGISTRIES_CONF": "/dev/null", "XDG_RUNTIME_DIR": ""}
        self.argv = ["podman", "--runtime", runtime, "--root", str(work / "root"), "--runroot", str(work / "runroot"),
                     "--tmpdir", str(work / "tmp")]
        self("load", "-q", "-i", str(image.archive))

    def __call__(self, *arguments, **options):
        return call([*self.argv, *arguments], env=self.env, **options)

    def run(self, *arguments, **options):
        """Runs `podman run --rm ARGUMENTS`, in which `IMAGE` stands for the image's name."""
        return self("run", "--rm", *(NAME if a == "IMAGE" else a for a in arguments), **options)

    def up(self, *options, command=("sleep", "1000")):
        """Starts a container in the background and returns its ID."""
        return self("run", "-d", *options, NAME, *command).text

    def field(self, container, template):
        return self("inspect", "--type", "container", "--format", template, container).text

    def inspect(self, container):
        return json.loads(self("inspect", "--type", "container", container).out)[0]

    def pid(self, container):
        return int(self.field(container, "{{.State.Pid}}"))

    def stopped(self, container):
        wait_for(f"{container} has exited", lambda: self.field(container, "{{.State.Status}}") == "exited")

    def clean(self):
        self("pod", "rm", "-f", "-t", "0", "-a", expect=None)
        self("rm", "-f", "-t", "0", "-a", expect=None)

    def end(self):
        self.clean()
