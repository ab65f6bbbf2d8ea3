"""The failures of a runtime: of the configuration, and of verbs and files."""


def put(pointer, value):
    """Returns an edit that sets a member, and makes the objects above it."""
    def edit(config):
        *above, last = pointer.split("/")
        for name in above:
            config = config[int(name)] if isinstance(config, list) else config.setdefault(name, {})
        if isinstance(config, list):
            config.append(value)
        else:
            config[last] = value
    return edit


def drop(*names):
    """Returns an edit that removes members of `linux`, `process` or the top."""
    def edit(config):
        for name in names:
            *above, last = name.split("/")
            place = config
            for part in above:
                place = place[part]
            del place[last]
    return edit


def both(*edits):
    """Returns an edit of several."""
    def edit(config):
        for one in edits:
            one(config)
    return edit


def mount(**fields):
    """Returns an edit that adds a mount."""
    return put("mounts/-", fields)


def args(*words):
    """Returns an edit of the program."""
    return put("process/args", list(words))


def script(text, **_):
    """Returns an edit of the program: a script of the container's shell."""
    return args("sh", "-c", text)


def resources(**fields):
    """Returns an edit of the limits."""
    return put("linux/resources", fields)


def seccomp(*rules, default="SCMP_ACT_ALLOW", **fields):
    """Returns an edit of the filter."""
    return put("linux/seccomp", {"defaultAction": default, "syscalls": list(rules), **fields})


def hook(kind, *words, **fields):
    """Returns an edit that adds a hook."""
    return put(f"hooks/{kind}", [{"path": words[0], "args": list(words), **fields}])


def without(kind):
    """Returns an edit that removes a namespace."""
    def edit(config):
        config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != kind]
    return edit


def namespace(kind, **fields):
    """Returns an edit that adds a namespace, in the place of one of its kind."""
    return both(without(kind), put("linux/namespaces/-", {"type": kind, **fields}))


USERNS = both(namespace("user"), put("linux/uidMappings", [{"containerID": 0, "hostID": 100000, "size": 1000}]),
              put("linux/gidMappings", [{"containerID": 0, "hostID": 100000, "size": 1000}]))

# what is wrong, the edit of config.json, croci's code, and words of the cause of which one must be in the message
CONFIGS = [
    ("a program that is not in the PATH", args("frobnicate"), "exec.not_found", "frobnicate"),
    ("a program by a path that is not there", args("/opt/app/server"), "exec.not_found", "/opt/app/server"),
    ("a program below a file", args("/etc/passwd/x"), "exec.*", "/etc/passwd/x"),
    ("a program that is a directory", args("/etc"), "exec.directory", "/etc.*directory|directory.*/etc"),
    ("a program without the execute bit", args("/data/plain"), "exec.denied", "/data/plain"),
    ("a script whose interpreter is missing", args("/data/script"), "exec.interpreter", "/usr/bin/python9"),
    ("a script whose first line ends in CR", args("/data/crlf"), "exec.interpreter", r"/bin/sh\\r|carriage"),
    ("a program whose loader is missing", args("/data/dynamic"), "exec.interpreter", "ld-missing|/lib64/ld"),
    ("a program of another architecture", args("/data/foreign"), "exec.format", "aarch64|architecture"),
    ("an empty file as program", args("/data/empty"), "exec.format", "/data/empty"),
    ("a text without #! as program", args("/data/text"), "exec.format", "/data/text"),
    ("a symbolic link in a circle as program", args("/data/loop"), "exec.*", "/data/loop"),
    ("a user who may not execute the program", both(args("/data/private"), put("process/user/uid", 1000)), "exec.denied", "/data/private"),
    ("a program on a noexec mount", both(mount(destination="/data", type="bind", source="ROOTFS/data", options=["bind", "noexec"]), args("/data/good")), "exec.denied", "noexec"),
    ("a PATH without the program", both(args("ls"), put("process/env", ["PATH=/nowhere"])), "exec.not_found", "ls.*PATH|PATH.*ls"),
    ("process missing", drop("process"), "config.required", "process"),
    ("process.args missing", drop("process/args"), "config.required", "args"),
    ("process.args a text", put("process/args", "sleep 1"), "config.type", "args"),
    ("process.args[1] a number", put("process/args", ["sleep", 1]), "config.type", "args"),
    ("process.args with a NUL", put("process/args", ["echo", "a\0b"]), "config.invalid", r"args"),
    ("process.cwd missing", drop("process/cwd"), "config.required", "cwd"),
    ("process.cwd a file", put("process/cwd", "/etc/passwd"), "process.cwd", "/etc/passwd"),
    ("process.cwd a dangling link", put("process/cwd", "/data/loop"), "process.cwd", "/data/loop"),
    ("process.cwd with ..", put("process/cwd", "../x"), "process.cwd", "cwd|\\.\\./x"),
    ("process.env[0] a number", put("process/env", [5]), "config.type", "env"),
    ("process.env[1] without a name", put("process/env", ["A=b", "=x"]), "config.invalid", "env"),
    ("process.terminal a text", put("process/terminal", "yes"), "config.type", "terminal"),
    ("process.user.uid a text", put("process/user/uid", "root"), "config.type", "uid"),
    ("process.user.uid above 32 bits", put("process/user/uid", 1 << 33), "process.user|config.*", "uid"),
    ("process.user.umask above 0777", put("process/user/umask", 4096), "config.*|process.*", "umask"),
    ("process.user.additionalGids a number", put("process/user/additionalGids", 7), "config.type", "additionalGids"),
    ("process.user.uid not mapped", both(USERNS, put("process/user/uid", 5000)), "process.user", "uid|5000|map"),
    ("a capability as a number", put("process/capabilities", {"bounding": [7]}), "config.type", "capabilities|bounding"),
    ("capabilities as a list", put("process/capabilities", ["CAP_KILL"]), "config.type", "capabilities"),
    ("a soft limit above the hard one", put("process/rlimits", [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 5}]), "config.invalid|process.limit", "rlimit|NOFILE"),
    ("a limit twice", put("process/rlimits", [{"type": "RLIMIT_CORE", "soft": 1, "hard": 1}] * 2), "config.invalid", "rlimit|CORE"),
    ("RLIMIT_NOFILE above fs.nr_open", put("process/rlimits", [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]), "process.limit", "rlimit|NOFILE"),
    ("an unknown policy of the scheduler", put("process/scheduler", {"policy": "SCHED_FAST"}), "config.unknown_value", "SCHED_FAST"),
    ("a nice value out of range", put("process/scheduler", {"policy": "SCHED_OTHER", "nice": 40}), "config.invalid", "nice"),
    ("an I/O priority out of range", put("process/ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 9}), "config.invalid", "ioPriority|priority"),
    ("a CPU affinity that is no set", put("process/execCPUAffinity", {"initial": "1-"}), "config.*", "execCPUAffinity"),
    ("oomScoreAdj a text", put("process/oomScoreAdj", "high"), "config.type", "oomScoreAdj"),
    ("an SELinux label without SELinux", put("process/selinuxLabel", "u:r:t:s0"), "lsm.failed", "[sS][eE][lL]inux"),
    ("ociVersion a number", put("ociVersion", 1), "config.type", "ociVersion"),
    ("ociVersion not a version", put("ociVersion", "one"), "config.version", "ociVersion|version"),
    ("root.path a file", put("root/path", "config.json"), "rootfs.*", "config.json|root"),
    ("root.path missing", drop("root/path"), "config.required", "root"),
    ("root.readonly a text", put("root/readonly", "true"), "config.type", "readonly"),
    ("hostname with its namespace missing", without("uts"), "config.*|namespace.*", "hostname|uts"),
    ("domainname too long", put("domainname", "d" * 70), "config.invalid", "domainname"),
    ("mounts an object", put("mounts", {}), "config.type", "mounts"),
    ("a mount without destination", mount(type="tmpfs", source="tmpfs"), "config.required", "destination"),
    ("a bind mount of nothing", mount(destination="/a", type="bind", source="/no/such/dir", options=["rbind"]), "mount.source_missing", "/no/such/dir"),
    ("a file system that the kernel does not have", mount(destination="/a", type="frobfs", source="x"), "mount.*", "frobfs"),
    ("a tmpfs with an unknown option", mount(destination="/a", type="tmpfs", source="tmpfs", options=["sizes=1m"]), "mount.*", "sizes"),
    ("a tmpfs with a wrong size", mount(destination="/a", type="tmpfs", source="tmpfs", options=["size=big"]), "mount.*", "size|big"),
    ("a block device that is none", mount(destination="/a", type="ext4", source="/etc/passwd"), "mount.*", "/etc/passwd|ext4"),
    ("a directory mounted on a file", mount(destination="/etc/passwd", type="bind", source="/etc", options=["bind"]), "mount.*", "/etc/passwd"),
    ("a mount on a symbolic link to a file's child", mount(destination="/etc/passwd/x", type="tmpfs", source="tmpfs"), "mount.*", "/etc/passwd"),
    ("an overlay without lowerdir", mount(destination="/a", type="overlay", source="overlay", options=["upperdir=/x"]), "mount.*", "overlay|upperdir"),
    ("mount options a text", mount(destination="/a", type="tmpfs", source="x", options="ro"), "config.type", "options"),
    ("a mount with two propagations", mount(destination="/a", type="bind", source="/etc", options=["bind", "idmap=x"]), "mount.*|config.*", "idmap"),
    ("proc in a user namespace without a pid namespace", both(USERNS, without("pid")), "mount.*|rootfs.*|namespace.*", "proc|pid"),
    ("a namespace by a path that is no namespace", namespace("ipc", path="/etc/hostname"), "namespace.join", "/etc/hostname"),
    ("a namespace of another kind", namespace("ipc", path="/proc/self/ns/net"), "namespace.*", "/proc/self/ns/net|ipc"),
    ("a namespace with a relative path", namespace("network", path="ns/net"), "config.invalid|namespace.*", "ns/net"),
    ("a namespace without type", put("linux/namespaces/-", {"path": "/proc/1/ns/net"}), "config.required", "type"),
    ("no mount namespace, and masked paths", without("mount"), "config.*|namespace.*|rootfs.*", "mount"),
    ("ID maps without a user namespace", put("linux/uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}]), "config.*", "uidMappings|user namespace"),
    ("ID maps that overlap", both(USERNS, put("linux/uidMappings", [{"containerID": 0, "hostID": 1, "size": 9}, {"containerID": 5, "hostID": 100, "size": 9}])), "config.*|namespace.*", "uidMappings|overlap|uid_map"),
    ("a time offset without its namespace", put("linux/timeOffsets", {"monotonic": {"secs": 5}}), "config.*", "timeOffsets|time namespace"),
    ("an unknown clock", both(namespace("time"), put("linux/timeOffsets", {"realtime": {"secs": 5}})), "config.*", "timeOffsets|realtime"),
    ("a device without a type", put("linux/devices", [{"path": "/dev/x", "major": 1, "minor": 3}]), "config.*", "type|devices"),
    ("a device of an unknown type", put("linux/devices", [{"path": "/dev/x", "type": "d", "major": 1, "minor": 3}]), "config.*", "type|devices"),
    ("a device with a relative path", put("linux/devices", [{"path": "x", "type": "c", "major": 1, "minor": 3}]), "config.*", "path|devices"),
    ("a device rule with wrong access", resources(devices=[{"allow": True, "access": "rwx"}]), "config.*", "access|devices"),
    ("a device with the major as a text", put("linux/devices", [{"path": "/dev/x", "type": "c", "major": "1", "minor": 3}]), "config.type", "major"),
    ("cgroupsPath a number", put("linux/cgroupsPath", 5), "config.type", "cgroupsPath"),
    ("cgroupsPath with ..", put("linux/cgroupsPath", "/a/../../IDENT"), "config.*|cgroup.*", "cgroupsPath"),
    ("a memory limit as a text", resources(memory={"limit": "64m"}), "config.type", "memory|limit"),
    ("a memory limit that no process fits in", resources(memory={"limit": 4096}), "cgroup.*", "memory"),
    ("a reservation above the limit", resources(memory={"limit": 1 << 26, "swap": 1 << 20}), "config.*|cgroup.*", "memory|swap"),
    ("a swappiness above 100", resources(memory={"swappiness": 300}), "config.*|cgroup.*", "swappiness"),
    ("CPUs that the machine has not", resources(cpu={"cpus": "900-901"}), "cgroup.*", "cpus|900"),
    ("a CPU list that is none", resources(cpu={"cpus": "one"}), "config.*|cgroup.*", "cpus"),
    ("memory nodes that the machine has not", resources(cpu={"mems": "77"}), "cgroup.*", "mems|77"),
    ("a CPU quota below its minimum", resources(cpu={"quota": 10, "period": 100000}), "config.*|cgroup.*", "quota"),
    ("a CPU period above its maximum", resources(cpu={"quota": 100000, "period": 5000000}), "config.*|cgroup.*", "period"),
    ("a pids limit as a text", resources(pids={"limit": "ten"}), "config.type", "pids|limit"),
    ("a huge page size that is none", resources(hugepageLimits=[{"pageSize": "3MB", "limit": 0}]), "config.*|cgroup.*", "3MB|hugepage"),
    ("a block I/O weight out of range", resources(blockIO={"weight": 5000}), "config.*|cgroup.*", "weight"),
    ("a throttle of a device that is none", resources(blockIO={"throttleReadBpsDevice": [{"major": 250, "minor": 99, "rate": 1}]}), "cgroup.*", "throttleReadBpsDevice|250:99|blkio"),
    ("RDMA limits where there is no RDMA", resources(rdma={"mlx5_9": {"hcaHandles": 1}}), "cgroup.*", "rdma"),
    ("a raw cgroup file that is not there", resources(unified={"memory.frob": "1"}), "config.*|cgroup.*", "unified|memory.frob"),
    ("a class ID as a text", resources(network={"classID": "x"}), "config.type", "classID"),
    ("a seccomp rule without names", seccomp({"action": "SCMP_ACT_ERRNO"}), "config.*|seccomp.*", "names|syscalls"),
    ("a seccomp rule with an unknown action", seccomp({"names": ["read"], "action": "SCMP_ACT_STOP"}), "config.unknown_value", "SCMP_ACT_STOP|action"),
    ("a seccomp rule with a seventh argument", seccomp({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}), "config.*|seccomp.*", "index|args"),
    ("a seccomp rule with an unknown operator", seccomp({"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_IS"}]}), "config.unknown_value", "SCMP_CMP_IS|op"),
    ("a seccomp errno out of range", seccomp({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}), "config.*|seccomp.*", "errnoRet"),
    ("an unknown seccomp flag", seccomp(flags=["SECCOMP_FILTER_FLAG_FAST"]), "config.unknown_value", "SECCOMP_FILTER_FLAG_FAST|flag"),
    ("a seccomp agent that does not listen", seccomp({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}, listenerPath="WORK/no-agent.sock"), "seccomp.agent", "no-agent"),
    ("a filter without execve", seccomp({"names": ["execve"], "action": "SCMP_ACT_ERRNO"}), "seccomp.exec", "execve|seccomp"),
    ("a sysctl of the host", put("linux/sysctl", {"vm.swappiness": "1"}), "config.*|sysctl.*", "vm.swappiness"),
    ("a sysctl as a number", put("linux/sysctl", {"net.ipv4.ip_forward": 1}), "config.type", "sysctl"),
    ("a sysctl with a wrong value", put("linux/sysctl", {"net.ipv4.ip_unprivileged_port_start": "99999999"}), "sysctl.failed", "ip_unprivileged_port_start"),
    ("a sysctl of a namespace that is shared", both(without("network"), put("linux/sysctl", {"net.ipv4.ip_forward": "1"})), "config.*", "net.ipv4.ip_forward|network"),
    ("a readonly path that is relative", put("linux/readonlyPaths", "proc"), "config.type", "readonlyPaths"),
    ("an unknown personality flag", put("linux/personality", {"domain": "LINUX", "flags": ["X"]}), "config.*", "personality"),
    ("an interface that is not there", put("linux/netDevices", {"nosuch9": {"name": "eth0"}}), "network.device", "nosuch9"),
    ("an RDT class without resctrl", put("linux/intelRdt", {"closID": "x", "l3CacheSchema": "L3:0=f"}), "rdt.failed", "[rR]dt|resctrl"),
    ("a memory policy that is none", put("linux/memoryPolicy", {"mode": "MPOL_X", "nodes": "0"}), "config.*", "memoryPolicy"),
    ("a hook that is not there", hook("createRuntime", "/no/such/hook"), "hook.missing", "/no/such/hook"),
    ("a hook that is a directory", hook("createRuntime", "/etc"), "hook.missing", "directory"),
    ("a hook whose interpreter is missing", hook("createRuntime", "ROOTFS/data/script"), "hook.missing", "interpreter"),
    ("an argument of 200 000 characters", args("true", "x" * 200000), "exec.too_long", r"args\[1\].*200000|[aA]rgument list too long"),
    ("a variable of 140 000 characters", put("process/env", ["PATH=/bin", "BIG=" + "x" * 140000]), "exec.too_long", "BIG|[aA]rgument list too long"),
    ("arguments of 9 MB together", args("true", *["x" * 100000] * 90), "exec.too_long", "[aA]rgument list too long"),
    ("a mount point that cannot be made", both(USERNS, mount(destination="/new", type="tmpfs", source="tmpfs")), "rootfs.invalid", "/new.*(mount point|create|mkdir)|mkdir.*/new"),
    ("a device below a file", put("linux/devices", [{"path": "/etc/passwd/null", "type": "c", "major": 1, "minor": 3}]), "device.failed", "/etc/passwd"),
    ("a filter without read", seccomp({"names": ["read"], "action": "SCMP_ACT_ERRNO"}), "seccomp.exec", "seccomp.*read"),
    ("a filter that kills at write", seccomp({"names": ["write"], "action": "SCMP_ACT_KILL_PROCESS"}), "seccomp.exec", "seccomp.*write"),
    ("a filter without setresuid, without noNewPrivileges", seccomp({"names": ["setresuid", "setuid"], "action": "SCMP_ACT_ERRNO"}), "seccomp.exec", "seccomp.*set"),
    ("a filter that kills at setresgid", seccomp({"names": ["setresgid", "setgid"], "action": "SCMP_ACT_KILL_PROCESS"}), "seccomp.exec", "seccomp"),
    ("an ID map of size 0", both(namespace("user"), put("linux/uidMappings", [{"containerID": 0, "hostID": 0, "size": 0}]), put("linux/gidMappings", [{"containerID": 0, "hostID": 0, "size": 1}])), "config.invalid", "uidMappings.*size|size"),
    ("limits of cgroup v2 on v1", resources(unified={"memory.high": "1000000"}), "cgroup.controller", "unified|memory.high"),
    ("a destination through a circle of links", mount(destination="/data/loop/x", type="tmpfs", source="tmpfs"), "mount.destination", "/data/loop"),
    ("a namespace of another type", namespace("network", path="/proc/self/ns/uts"), "namespace.*", "/proc/self/ns/uts"),
    ("an offset of a clock that there is not", both(namespace("time"), put("linux/timeOffsets", {"realtime": {"secs": 5}})), "config.*", "realtime"),
    ("a filter that kills at each call", seccomp(default="SCMP_ACT_KILL_PROCESS"), "seccomp.exec", "seccomp"),
    ("a hook that is not executable", hook("createRuntime", "/etc/passwd"), "hook.missing|hook.*", "/etc/passwd"),
    ("a hook with a relative path", hook("prestart", "hook.sh"), "config.invalid|hook.*", "hook.sh"),
    ("a hook that exits with 3 and says why", hook("createRuntime", "/bin/sh", "-c", "echo no disk left >&2; exit 3"), "hook.failed", "no disk left"),
    ("a hook that a signal kills", hook("createRuntime", "/bin/sh", "-c", "kill -SEGV $$"), "hook.failed", "SEGV|signal|segmentation"),
    ("a hook over its time", hook("createRuntime", "/bin/sh", "-c", "sleep 60", timeout=1), "hook.timeout", "time|deadline"),
    ("a hook in the container that is not there", hook("startContainer", "/no/such/hook"), "hook.missing", "/no/such/hook"),
    ("a hook in the container that fails", hook("createContainer", "/bin/sh", "-c", "echo broken >&2; exit 9"), "hook.failed", "broken"),
    ("a hook with a time-out of 0", hook("poststart", "/bin/true", timeout=0), "config.invalid|hook.*", "timeout"),
    ("hooks a list", put("hooks", []), "config.type", "hooks"),
    ("a rootfs propagation that is none", put("linux/rootfsPropagation", "both"), "config.unknown_value", "both|rootfsPropagation"),
    ("a mount label without SELinux", put("linux/mountLabel", 5), "config.type", "mountLabel"),
    ("annotations a list", put("annotations", ["x"]), "config.type", "annotations"),
    ("a bind mount of a socket's child", mount(destination="/a", type="bind", source="/etc/passwd/x", options=["bind"]), "mount.*", "/etc/passwd/x"),
]

# what is wrong, a script of sh with $R (the runtime), $B (a bundle), $ID; its last command is judged; code, words
VERBS = [
    ("an unknown verb", "$R launch $ID", "usage.verb", "launch"),
    ("an unknown flag", "$R create --detatch -b $B $ID", "usage.flag", "detatch"),
    ("a flag without its value", "$R create $ID --pid-file", "usage.arguments", "pid-file"),
    ("an ID with a slash", "$R create -b $B a/b", "container.id_invalid", "a/b"),
    ("an ID that is empty", "$R create -b $B ''", "container.id_invalid", "id|ID"),
    ("an ID of 1 025 characters", "$R create -b $B $(printf %01025d 0)", "container.id_invalid", "id|ID|long"),
    ("two IDs", "$R create -b $B a b", "usage.arguments", "argument|b"),
    ("no ID", "$R create -b $B", "usage.arguments", "argument|ID|CONTAINER"),
    ("a bundle that is not there", "$R create -b /no/bundle $ID", "bundle.missing", "/no/bundle"),
    ("a bundle that is a file", "$R create -b $B/config.json $ID", "bundle.missing", "config.json"),
    ("a bundle without config.json", "rm $B/config.json; $R create -b $B $ID", "config.missing", "config.json"),
    ("config.json a directory", "rm $B/config.json; mkdir $B/config.json; $R create -b $B $ID", "config.*|file.*", "config.json"),
    ("config.json cut in the middle", "head -c 300 $B/config.json >$B/x; mv $B/x $B/config.json; $R create -b $B $ID", "config.syntax", "line|EOF|JSON|json|parse|end"),
    ("config.json with a comma too much", "sed -i '1s/{/{,/' $B/config.json; $R create -b $B $ID", "config.syntax", "line|character|JSON|parse"),
    ("config.json not UTF-8", "printf '{\"ociVersion\":\"\\377\"}' >$B/config.json; $R create -b $B $ID", "config.syntax", "UTF|config"),
    ("config.json with a byte order mark", "(printf '\\357\\273\\277'; cat $B/config.json) >$B/x; mv $B/x $B/config.json; $R create -b $B $ID", "config.syntax", "UTF|BOM|byte|character|config"),
    ("config.json of 100 000 nested lists", "(printf '{\"a\":'; head -c 100000 /dev/zero | tr '\\0' '[') >$B/config.json; $R create -b $B $ID", "config.syntax", "nest|depth|deep|line"),
    ("the root file system is empty", "rm -r $B/rootfs; mkdir $B/rootfs; $R run -b $B $ID", "exec.not_found", "sleep"),
    ("the root file system is not there", "rm -r $B/rootfs; $R run -b $B $ID", "rootfs.missing", "rootfs"),
    ("a pid file in no directory", "$R create --pid-file /no/dir/pid -b $B $ID", "file.missing", "/no/dir"),
    ("a pid file that is a directory", "$R create --pid-file /etc -b $B $ID", "file.*", "/etc"),
    ("a log file in no directory", "$R --log /no/dir/log create -b $B $ID", "file.missing|usage.value", "/no/dir"),
    ("an unknown log format", "$R --log-format xml create -b $B $ID", "usage.value", "xml|format"),
    ("a state directory that is a file", "$RUNTIME --root /etc/passwd create -b $B $ID", "state.*|file.*", "/etc/passwd"),
    ("a state directory on a read-only file system", "$RUNTIME --root /proc/x create -b $B $ID", "state.*|host.*|file.*", "/proc/x"),
    ("a console socket that is not there", "sed -i 's/\"terminal\": false/\"terminal\": true/' $B/config.json; $R create --console-socket $B/none -b $B $ID", "terminal.no_listener", "none"),
    ("a console socket without a terminal", "$R create --console-socket $B/none -b $B $ID", "terminal.*|usage.*", "console|terminal|tty"),
    ("a terminal for a detached container", "sed -i 's/\"terminal\": false/\"terminal\": true/' $B/config.json; $R create -b $B $ID", "terminal.missing", "console|terminal|tty"),
    ("descriptors that are not open", "$R create --preserve-fds 7 -b $B $ID", "fd.invalid", "[fF][dD]|descriptor"),
    ("an ID that is in use", "$R create -b $B $ID </dev/null >/dev/null 2>&1; $R create -b $B $ID", "container.exists", "exist"),
    ("start of nothing", "$R start none", "container.not_found", "none"),
    ("start twice", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R start $ID", "container.status", "running|state"),
    ("state of nothing", "$R state none", "container.not_found", "none"),
    ("kill of nothing", "$R kill none", "container.not_found", "none"),
    ("kill by an unknown signal", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R kill $ID SIGFROB", "signal.unknown", "FROB"),
    ("kill by signal 99", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R kill $ID 99", "signal.unknown", "99"),
    ("kill of what has ended", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R kill $ID KILL; sleep 0.3; $R kill $ID TERM", "container.not_running", "not running|stopped"),
    ("delete of what runs", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R delete $ID", "container.not_stopped", "running|not stopped"),
    ("delete of nothing", "$R delete none", "container.not_found", "none"),
    ("exec in nothing", "$R exec none true", "container.not_found", "none"),
    ("exec in what is created only", "$R create -b $B $ID </dev/null >/dev/null 2>&1; $R exec $ID frob", "exec.not_found", "frob|created"),
    ("exec of what is not there", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R exec $ID frob", "exec.not_found", "frob"),
    ("exec in a directory that is not there", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R exec --cwd /no/dir $ID true", "process.cwd", "/no/dir"),
    ("exec as a user that is not there", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R exec --user nobodyx $ID true", "process.user|usage.value", "nobodyx"),
    ("exec with a variable without a value", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R exec --env =x $ID true", "usage.value|config.*", "env|=x"),
    ("exec with a process file that is no JSON", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; echo x >$B/p; $R exec --process $B/p $ID", "config.syntax|file.*", "/p|JSON|json|character|parse"),
    ("exec in a paused container", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R pause $ID; $R exec $ID true", "container.status", "paused"),
    ("exec in what has ended", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R kill $ID KILL; sleep 0.3; $R exec $ID true", "container.not_running", "stopped|not running"),
    ("pause of what is paused", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R pause $ID; $R pause $ID", "container.status", "paused"),
    ("resume of what runs", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R resume $ID", "container.status", "paused|not running|running"),
    ("an update with a size that is none", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R update --memory lots $ID", "usage.value", "lots"),
    ("an update below what is used", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R update --memory 4096 $ID", "cgroup.*", "memory"),
    ("an update of a quota below its minimum", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R update --cpu-quota 5 $ID", "usage.value|cgroup.value", "quota"),
    ("an update of memory above the swap", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R update --memory 100M --memory-swap 50M $ID", "usage.value|cgroup.value", "swap"),
    ("a ps with a flag that ps has not", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R ps $ID --frob", "usage.value", "frob"),
    ("procfs that is not mounted", "umount -l /proc; $R create -b $B $ID", "host.unsupported", "/proc"),
    ("an update from a file that is no JSON", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; echo '{' >$B/r; $R update -r $B/r $ID", "config.syntax", "/r|JSON|json|EOF|parse"),
    ("an update of CPUs that the machine has not", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R update --cpuset-cpus 800 $ID", "cgroup.*", "800|cpus"),
    ("events of nothing", "$R events --stats none", "container.not_found", "none"),
    ("ps of nothing", "$R ps none", "container.not_found", "none"),
    ("ps in an unknown format", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R ps --format xml $ID", "usage.value", "xml|format"),
    ("list in an unknown format", "$R list --format xml", "usage.value", "xml|format"),
    ("spec where config.json is", "cd $B; $R spec", "file.exists", "config.json"),
    ("a checkpoint of nothing", "$R checkpoint none", "container.not_found", "none"),
    ("features with an argument", "$R features x", "usage.arguments", "x|argument"),
    ("a state that is damaged", "$R create -b $B $ID </dev/null >/dev/null 2>&1; for f in $S/$ID/*.json $S/$ID/status $S/$ID/config; do [ -f $f ] && echo x >$f; done; $R state $ID", "container.damaged|state.*", "state|status|json|JSON|parse|character"),
    ("a console socket's path over 107 bytes", "sed -i 's/\"terminal\": false/\"terminal\": true/' $B/config.json; $R create --console-socket $B/$(printf %0120d 0) -b $B $ID", "terminal.*|file.*|usage.*", "long|socket|missing|no such"),
    ("a state root below another user's directory", "mkdir $U/s; $RUNTIME --root $U/s create -b $B $ID", "state.unsafe", "user"),
    ("a state root below a file", "$RUNTIME --root $B/config.json/s create -b $B $ID", "state.root", "config.json"),
    ("systemd's cgroups without systemd", "$RUNTIME --systemd-cgroup --root $S create -b $B $ID", "cgroup.systemd", "systemd"),
    ("exec in a cgroup that is not there", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R exec --cgroup /no/such $ID true", "file.missing", "no/such"),
    ("an update of a weight out of range", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R update --blkio-weight 5 $ID", "usage.value", "blkio-weight|weight"),
    ("an update of CPUs that is no list", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; $R update --cpuset-cpus abc $ID", "config.type|usage.value", "cpuset-cpus|cpus"),
    ("a full disk below the state", "mount -t tmpfs -o size=4k,nr_inodes=2 x $U; mkdir $U/s; (head -c 100000 /dev/zero >$U/f) 2>/dev/null; $RUNTIME --root $U/s create -b $B $ID", "host.limit", "[nN]o space"),
    ("no descriptor left", "prlimit --nofile=6 $RUNTIME --root $S create -b $B $ID", "host.limit", "open files|descriptors"),
    ("the binary of another root's container", "$R run -d -b $B $ID </dev/null >/dev/null 2>&1; mkdir $B/other; $RUNTIME --root $B/other state $ID", "container.not_found", "ID"),
]
