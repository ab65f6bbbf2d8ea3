"""Docker and containerd of Debian unstable, unpacked and not installed, on the operations of docker.py."""
import docker
from harness import unstable

OPERATIONS = docker.OPERATIONS


class Caller(docker.Caller):
    """dockerd 28 with containerd 2, which are first in the PATH."""

    NAME = "docker of unstable"

    def __init__(self, work, image, runtime):
        self.PROGRAMS = [*unstable("docker.io", "dockerd"), *unstable("docker-cli", "docker"), *unstable("containerd", "containerd")]
        super().__init__(work, image, runtime)
