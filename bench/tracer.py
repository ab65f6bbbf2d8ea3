"""ptrace(2) for the tools here: a command with its children, each until it runs another program."""
import ctypes, os, signal

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
TRACEME, PEEKUSER, POKEUSER, CONT, SINGLESTEP, DETACH, SYSCALL, SETOPTIONS = 0, 3, 6, 7, 9, 17, 24, 0x4200
SYSGOOD, FORK, VFORK, CLONE, EXEC, EXIT, EXITKILL = 1, 2, 4, 8, 16, 64, 1 << 20
EVENT_EXEC, EVENT_EXIT = 4, 6
WALL = 0x40000000


def ptrace(request, pid, address=0, data=0):
    return libc.ptrace(request, pid, address, data)


class Tracer:
    """Follows one command; a subclass sees the stops."""

    resume = CONT

    def on_exec(self, pid):
        """The command's own execve(2) has returned."""

    def on_trap(self, pid):
        """A SIGTRAP that is no event; returns whether it was expected."""
        return False

    def on_call(self, pid):
        """Entry to a system call, or exit from one."""

    def on_end(self, pid, main):
        """A process is about to end, or to run another program."""

    def on_leave(self, pid):
        """A child that lives on is about to be let go."""

    def run(self, argv):
        """Runs the command; returns its wait status."""
        children, main = set(), os.fork()
        if not main:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1):
                os.dup2(null, fd)
            ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execve(argv[0], argv, {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
        os.waitpid(main, 0)
        ptrace(SETOPTIONS, main, 0, SYSGOOD | FORK | VFORK | CLONE | EXEC | EXIT | EXITKILL)
        ptrace(CONT, main)
        self.started = False
        while True:
            pid, status = os.waitpid(-1, WALL)
            if not os.WIFSTOPPED(status):
                children.discard(pid)
                if pid == main:
                    for child in children:
                        self.leave(child)
                    return status
                continue
            if pid != main:
                children.add(pid)
            event, number = status >> 16, os.WSTOPSIG(status)
            if event == EVENT_EXEC and pid != main:
                self.on_end(pid, False)
                children.discard(pid)
                ptrace(DETACH, pid)
                continue
            if event == EVENT_EXEC:
                self.started = True
                self.on_exec(pid)
            elif event == EVENT_EXIT:
                self.on_end(pid, pid == main)
            elif number == signal.SIGTRAP | 0x80:
                self.on_call(pid)
            if event or number in (signal.SIGSTOP, signal.SIGTRAP | 0x80) or number == signal.SIGTRAP and self.on_trap(pid):
                number = 0
            ptrace(self.resume if self.started else CONT, pid, 0, number)

    def leave(self, pid):
        """Lets a child go that lives on when the command has ended."""
        os.kill(pid, signal.SIGSTOP)
        while True:
            _, status = os.waitpid(pid, WALL)
            if not os.WIFSTOPPED(status):
                return
            if os.WSTOPSIG(status) == signal.SIGSTOP:
                break
            if os.WSTOPSIG(status) == signal.SIGTRAP:
                self.on_trap(pid)
            ptrace(CONT, pid)
        self.on_leave(pid)
        ptrace(DETACH, pid)
