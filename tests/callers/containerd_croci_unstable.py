"""containerd of Debian unstable with croci's own shim, on the operations of containerd_croci.py."""
import os

import containerd_croci
from harness import unstable

OPERATIONS = containerd_croci.OPERATIONS


class Caller(containerd_croci.Caller):
    """containerd 2 with the shim by version 3 of the task service."""

    NAME = "containerd of unstable with croci's shim"
    ROW = 20
    PODS = int(os.environ.get("PODS", 30))

    def __init__(self, work, image, runtime):
        self.PROGRAMS = unstable("containerd", "containerd")
        super().__init__(work, image, runtime)
