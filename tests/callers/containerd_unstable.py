"""containerd of Debian unstable, unpacked and not installed, on the operations of containerd.py."""
import containerd
from harness import unstable

OPERATIONS = containerd.OPERATIONS


class Caller(containerd.Caller):
    """containerd 2 and its shim and ctr, which are first in the PATH."""

    NAME = "containerd of unstable"
    ROW = 20

    def __init__(self, work, image, runtime):
        self.PROGRAMS = unstable("containerd", "containerd")
        super().__init__(work, image, runtime)
