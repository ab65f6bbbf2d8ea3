from podman_base import Podman as Caller
from harness import operation
OPERATIONS=[]
@operation(OPERATIONS,"dbg")
def _(p):
    ns={}; exec(open("/tmp/pm/dbg.py").read(),ns); ns["go"](p)
