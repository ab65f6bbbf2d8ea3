"""Podman with directories of its own; what podman.py and podman_options.py run their operations on."""
import json
import os

from harness import call, wait_for
from image import NAME

# `default_ulimits`: Podman asks root's containers for a million files and processes, which only CAP_SYS_RESOURCE may give.
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
    """`podman` with its storage, state and configuration below `work`. Every container it makes is gone after `clean`."""

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
        """`podman run --rm ARGUMENTS`; the image's name stands as `IMAGE` among them."""
        return self("run", "--rm", *(NAME if a == "IMAGE" else a for a in arguments), **options)

    def up(self, *options, command=("sleep", "1000")):
        """A container in the background; gives its ID."""
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
