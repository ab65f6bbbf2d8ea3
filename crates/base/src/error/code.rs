//! The codes of errors: stable names such as `mount.source_missing`, each with its meaning and what to do.
//!
//! The one source of the log's `code` and `hint`, of `explain`, and of docs/reference/error-codes.md. `coded`
//! attaches a code to an error.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use super::Report;
use crate::coded;
use crate::suggest::did_you_mean;

/// Defines [`Code`]: a row is the variant, its name, its meaning, what to do in few words (the hint, which follows the
/// message on standard error; empty where messages have their own), and more for `explain`.
macro_rules! codes {
    ($($variant:ident $name:literal $meaning:literal $hint:literal $more:literal;)*) => {
        /// A kind of error, with a name that does not change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $meaning] $variant,)* }

        impl Code {
            /// All codes, in the order of the reference.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// Returns the stable name: a domain and a kind.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// Returns what went wrong, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Code::$variant => $meaning,)* }
            }

            /// Returns what to do, in a few words without a capital letter and a full stop; empty where the message
            /// itself has it.
            pub const fn hint(self) -> &'static str {
                match self { $(Code::$variant => $hint,)* }
            }

            /// Returns the rest of the explanation: usual causes and what to look at.
            const fn more(self) -> &'static str {
                match self { $(Code::$variant => $more,)* }
            }
        }
    };
}

codes! {
    UsageVerb "usage.verb" "The command line names no verb, or one that does not exist." ""
        "`PROGRAM --help` lists the verbs. Flags of the program itself stand before the verb.";
    UsageFlag "usage.flag" "The command line has a flag that the verb does not know." ""
        "`PROGRAM VERB --help` lists the flags of a verb. Flags of the program itself (`--root`, `--log`) stand before the verb.";
    UsageValue "usage.value" "The value of a flag is not one that it takes." ""
        "The message names the flag, the value, and what it must be.";
    UsageArguments "usage.arguments" "A verb has too few or too many operands, or flags that exclude each other." ""
        "`PROGRAM VERB --help` shows the operands.";
    ConfigMissing "config.missing" "There is no config.json in the bundle." "name the bundle with --bundle; `croci spec` writes a template"
        "croci reads config.json from the current directory or from the one of `--bundle`.";
    BundleMissing "bundle.missing" "The bundle is no directory, or is not there." "name the bundle with --bundle"
        "A bundle is a directory with a config.json and a root file system. `corm bundle IMAGE DIR` makes one from an image.";
    ConfigSyntax "config.syntax" "config.json is not valid JSON." "correct it at the place that is named; `jq . config.json` finds it too"
        "Comments, a comma after the last element and duplicate keys are no JSON.";
    ConfigType "config.type" "A property of config.json has a value of another JSON type." ""
        "The message names the property, the type that it must have and what was found.";
    ConfigRequired "config.required" "A property of config.json is missing, or needs another one." "add it"
        "`croci validate` lists all problems of a configuration at once; `croci spec` writes a template with all required properties.";
    ConfigUnknown "config.unknown_value" "A property of config.json has a word that is not among those it may have." ""
        "Names of namespaces, actions, architectures, rlimits, capabilities and the like are those of the runtime specification; `croci features` lists those that are supported here.";
    ConfigVersion "config.version" "ociVersion names a version of the specification that is not supported." "set it to 1.0.2 or later"
        "`croci --version` prints the newest version of the specification that this croci knows.";
    ConfigInvalid "config.invalid" "A property of config.json has a value that it may not have." ""
        "The message names the property, its value and the reason. `croci validate` lists all problems at once.";
    ConfigUnsupported "config.unsupported" "config.json asks for something that this host, this kernel or croci does not have." "leave it out, or use a host that has it"
        "Ignoring it would make another container than the one that is configured. `croci validate --host` checks a configuration against this machine.";
    IdInvalid "container.id_invalid" "The container ID has a character that is not allowed, is empty or too long." "use letters, digits and _ + - . only"
        "An ID becomes the name of a directory and of a cgroup.";
    ContainerExists "container.exists" "There is a container with this ID already." "choose another ID, or remove that container first with `delete`"
        "`croci list` shows the containers of this state root; one that has stopped keeps its ID until it is deleted.";
    ContainerNotFound "container.not_found" "There is no container with this ID or name." ""
        "Each user and each `--root` has containers of its own: the default is /run/croci for root and $XDG_RUNTIME_DIR/croci for others. containerd, Docker and CRI-O use roots of their own.";
    ContainerNotRunning "container.not_running" "The verb needs a container that runs, and its program has ended." "`croci why ID` shows what became of it"
        "A container that has stopped stays in `croci list` until it is deleted.";
    ContainerStatus "container.status" "The container is in a status in which the verb is not allowed." ""
        "created: waits for `start`. running: its program runs. paused: `resume` continues it. stopped: only `delete` is left.";
    ContainerNotStopped "container.not_stopped" "A container that has not stopped cannot be deleted." "kill it first, or use --force"
        "By the runtime specification `delete` takes stopped containers only; `delete --force` kills the container first.";
    ContainerBusy "container.busy" "Another process works on the container and did not finish in time." "try again; `fuser` on the state directory shows the process"
        "Verbs that change a container hold a lock on its state directory. A hook that does not end holds it too.";
    ContainerKilled "container.killed" "The container's process was ended from outside while it was being created or started." "look for what kills it: the kernel log, a watchdog, another croci"
        "Not the program but croci's own init was killed, by a signal, the OOM killer, or a seccomp filter.";
    ContainerDamaged "container.damaged" "The container's state files are damaged." "`croci delete --force ID` removes what is left of it"
        "The files in the state directory were changed by something else, or the disk was full.";
    StateRoot "state.root" "The state directory cannot be used." "choose another directory with --root"
        "The root of the state must be a directory that only its owner can write to, on a file system that is not read-only.";
    StateUnsafe "state.unsafe" "Other users may write to a directory or file that must be trusted." "correct owner and mode, for example with `chmod go-w`"
        "Whoever can write there could make croci or corm act on files of their choice.";
    RootfsMissing "rootfs.missing" "The directory of root.path is not there." "create it, or correct root.path"
        "A relative root.path begins at the bundle.";
    RootfsInvalid "rootfs.invalid" "The root file system has something at a path that does not fit." "correct the root file system or the path"
        "A path of the configuration meets a file where a directory is needed, a symlink loop, or a file of another type.";
    MountSourceMissing "mount.source_missing" "The source of a bind mount is not there." "create it, or correct the source"
        "A relative source begins at the bundle. A source on the host must exist: croci creates mount points, but no sources.";
    MountDenied "mount.denied" "The kernel or an LSM forbids a mount." "in a user namespace bind the host's file system, or run as root"
        "In a user namespace only some file systems can be mounted (proc, sysfs, tmpfs, devpts, mqueue, cgroup, overlay, fuse), and only those whose namespaces belong to it. proc and sysfs also need that the ones of the host are visible without covers.";
    MountUnknownFs "mount.unknown_fs" "The kernel does not know the file system." "correct the type, or load its module; /proc/filesystems lists what there is"
        "The mount's type is misspelt, or its module is not loaded.";
    MountOptions "mount.options" "An option of a mount is wrong, or the kernel refuses the options together." "correct mounts[].options; the kernel log may name the option"
        "Words that are no mount options go to the file system, which may refuse them.";
    MountDestination "mount.destination" "The destination of a mount cannot be used." "correct mounts[].destination"
        "It leads outside of what may be mounted over, or meets a file where a directory is needed.";
    MountFailed "mount.failed" "A mount failed." "mount(2) lists what the error at the end means; `dmesg` may have more"
        "The message names the mount. EBUSY: the source is in use, or is mounted already with other options. EIO and EUCLEAN: its file system is damaged. ESTALE: the server of a network file system has forgotten it.";
    DeviceFailed "device.failed" "A device node cannot be made." "correct linux.devices, or bind the host's node"
        "Device nodes need privilege on the host; rootless containers get binds of the host's nodes.";
    NamespaceJoin "namespace.join" "A namespace to join is not there, is of another type, or cannot be entered." "correct linux.namespaces[].path"
        "A path such as /proc/PID/ns/net is gone when the process has ended.";
    NamespaceDenied "namespace.denied" "The kernel forbids a new namespace." "without root add a user namespace (`croci spec --rootless`), and see that user namespaces are allowed"
        "Ordinary users need a user namespace. /proc/sys/user/max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns can forbid it.";
    NamespaceLimit "namespace.limit" "There are too many namespaces." "raise the number in /proc/sys/user/max_*_namespaces"
        "The limit holds for a user and all namespaces below; user namespaces nest 32 deep at most.";
    IdMapping "idmap.failed" "ID mappings cannot be written or used." "see /etc/subuid and /etc/subgid, and that newuidmap is installed"
        "Ordinary users may map their own ID, and those of /etc/subuid and /etc/subgid by newuidmap and newgidmap (Debian: package uidmap).";
    CgroupDenied "cgroup.denied" "The cgroup cannot be created or changed for lack of permission." "run as root, delegate a cgroup (systemd: Delegate=yes), or use --cgroup-manager disabled"
        "Ordinary users have cgroups only where one was delegated to them, usually by systemd on cgroup v2.";
    CgroupController "cgroup.controller" "A limit needs a cgroup controller that is not available." "enable the controller, or leave the limit out"
        "On cgroup v2 the controller must be in cgroup.subtree_control of all parents, on v1 its hierarchy must be mounted.";
    CgroupValue "cgroup.value" "The kernel refuses a value of linux.resources." "correct the value"
        "The message names the property and the file of the cgroup. A child's limit may not exceed what the parent has (cpusets, realtime).";
    CgroupPidsLimit "cgroup.pids_limit" "The limit of processes of the cgroup is reached." "raise linux.resources.pids.limit, or end processes of the container"
        "Each thread counts. The limit of a parent cgroup counts too.";
    CgroupMemory "cgroup.oom" "The OOM killer ended the process because a memory limit is reached." "raise linux.resources.memory.limit"
        "`croci events --stats ID` shows the use of memory. The limit of a parent cgroup counts too.";
    CgroupBusy "cgroup.busy" "The cgroup is in use, frozen, or cannot be removed." "end the processes in it, thaw it, or name another linux.cgroupsPath"
        "cgroup.procs lists its processes.";
    CgroupSystemd "cgroup.systemd" "systemd refused the scope of the container, or does not answer." "see `journalctl -u UNIT`, or use --cgroup-manager cgroupfs"
        "--systemd-cgroup needs systemd as init, or the user's systemd and its D-Bus socket.";
    CgroupFailed "cgroup.failed" "A cgroup cannot be created, changed or joined." "cgroups(7) lists what the error at the end means"
        "The message names the cgroup and, for a limit, the file. ENOENT: something else has removed the cgroup meanwhile. EBUSY: it has processes or children. EINVAL: a parent does not allow it, or on cgroup v2 the parent is threaded.";
    ExecNotFound "exec.not_found" "The program is not in the container." "install it in the image, or correct process.args"
        "A name without a slash is looked up in the PATH of process.env, inside the container's root.";
    ExecInterpreter "exec.interpreter" "The program is there, but its interpreter or dynamic loader is not." "install the interpreter that is named, or build the program statically"
        "The first line of a script (#!) or the ELF header names it; images without a shell or libc lack it.";
    ExecDenied "exec.denied" "The program may not be executed." "`chmod +x` it in the image, mount it without noexec, or correct process.args"
        "It lacks the execute permission for the user of process.user, is on a noexec mount, or an LSM forbids it.";
    ExecDirectory "exec.directory" "The program is a directory." "correct process.args"
        "process.args[0] must be a file.";
    ExecFormat "exec.format" "The program is not in a format that the kernel can execute." "use an image for this machine's architecture, or begin the script with #!"
        "It is built for another architecture (then binfmt_misc with QEMU can run it), an empty file, or a script without its first line.";
    ExecTooLong "exec.too_long" "The arguments and the environment of the program are longer than the kernel takes." "shorten them, or pass the data in a file"
        "The kernel takes 128 KiB for each argument and each variable, and for all of process.args and process.env a quarter of the soft limit RLIMIT_STACK, but 6 MiB at most.";
    ExecCwd "process.cwd" "The working directory cannot be entered." "create it in the image, or correct process.cwd"
        "It is not there, is no directory, or the user of process.user may not enter it.";
    ExecFailed "exec.failed" "The program cannot be executed." "execve(2) lists what the error at the end means"
        "The message names the program. ETXTBSY: another process writes to the program. EIO: the file system or the ELF header is damaged.";
    ProcessUser "process.user" "The user or group does not exist, or cannot be used." "correct process.user or --user"
        "Names are looked up in /etc/passwd and /etc/group of the container. In a user namespace the IDs must be mapped.";
    ProcessCapability "process.capability" "A capability is unknown or cannot be had." "leave it out; /proc/sys/kernel/cap_last_cap has the last one of this kernel"
        "croci cannot give what its own bounding set does not have.";
    ProcessLimit "process.limit" "A resource limit (rlimit) cannot be set." "lower the limit, or run as root"
        "Only root may raise a hard limit, and RLIMIT_NOFILE not above fs.nr_open.";
    ProcessFailed "process.failed" "An attribute of the process cannot be set." "correct or leave out the property that is named, or run as root"
        "The message names the property of `process`.";
    LsmFailed "lsm.failed" "An AppArmor profile or SELinux label cannot be applied." "load the profile, or leave it out"
        "`aa-status` lists the loaded profiles. The LSM must be enabled on this machine.";
    SeccompInvalid "seccomp.invalid" "linux.seccomp is not a profile that can be compiled or loaded." "correct the rule that is named"
        "The message names the rule.";
    SeccompExec "seccomp.exec" "The seccomp filter forbids a call that is needed to start the program." "allow execve (and what is named) in linux.seccomp; `croci run --record-seccomp FILE` writes a profile that fits"
        "The filter is in force before the program's first instruction.";
    SeccompKilled "seccomp.killed" "The seccomp filter killed the program at a system call that it forbids." "allow the call in linux.seccomp; `croci why ID` names it where the kernel log can be read"
        "The program ended by SIGSYS. A filter that answers with an errno (SCMP_ACT_ERRNO) makes the call fail instead.";
    SeccompAgent "seccomp.agent" "The seccomp agent cannot be reached." "start the agent that listens on linux.seccomp.listenerPath"
        "SCMP_ACT_NOTIFY needs a program that accepts the notification descriptor.";
    HookFailed "hook.failed" "A hook failed." "run the hook by hand with the container's state on its standard input"
        "The message has the hook's kind, number, path and the end of its output.";
    HookTimeout "hook.timeout" "A hook took longer than its time-out and was killed." "raise hooks.*[].timeout, or see why it hangs"
        "Also its children are killed.";
    HookMissing "hook.missing" "The program of a hook is not there or cannot be executed." "correct hooks.*[].path, or `chmod +x` it"
        "Hooks run on the host, but createContainer and startContainer in the container's namespaces.";
    SysctlFailed "sysctl.failed" "A kernel parameter of linux.sysctl cannot be set." "correct it; `ls /proc/sys` shows what this kernel has"
        "Only parameters that belong to a namespace of the container can be set.";
    TerminalListener "terminal.no_listener" "Nobody listens on the console socket." "start the program that receives the terminal first, for example runc's recvtty"
        "`--console-socket` names a Unix socket on which a program accepts the terminal's descriptor.";
    TerminalNone "terminal.missing" "A terminal is asked for and there is none." "run it on a terminal, give --console-socket, or set process.terminal to false"
        "`create` and `--detach` hand the terminal over by --console-socket; in the foreground standard input must be a terminal.";
    TerminalFailed "terminal.failed" "The container's terminal cannot be made." "mount a devpts at /dev/pts with newinstance and ptmxmode=0666"
        "The terminal is opened in the container's own devpts.";
    FdInvalid "fd.invalid" "A descriptor that the caller names is not open." "open it before croci is called"
        "--preserve-fds N passes the descriptors 3 to 2 + N; LISTEN_FDS those of socket activation.";
    SignalUnknown "signal.unknown" "There is no signal of this name or number." "`kill -l` lists the signals"
        "Names are taken with and without SIG, in any case.";
    NetDevice "network.device" "A network interface cannot be moved or configured." "see `ip link`"
        "Moving interfaces needs root, and the container needs a network namespace of its own.";
    RdtFailed "rdt.failed" "Intel RDT cannot be configured." "mount resctrl, or leave linux.intelRdt out"
        "Needs a CPU with RDT, and /sys/fs/resctrl.";
    CriuMissing "criu.missing" "CRIU is not installed." "install it (Debian: package criu), or name it with --criu"
        "checkpoint and restore are done by the program criu.";
    CriuFailed "criu.failed" "CRIU failed." "see its log in the work path"
        "The message has the last error of dump.log or restore.log.";
    VerifyDiffers "verify.difference" "The process differs from its configuration before its program runs." "report it: this is an error of croci or of the kernel; --no-verify goes without the check"
        "croci compares credentials, namespaces, seccomp, cgroups and mounts with the plan.";
    RunSignal "run.signal" "A signal ended the program before it was done." ""
        "croci was interrupted, and has undone its work.";
    HostLimit "host.limit" "The host has reached a limit: descriptors, processes, memory or disk space." "free what is exhausted, or raise the limit (`ulimit -a`, `df`, `free`)"
        "EMFILE and ENFILE: open files. EAGAIN: processes of the user (ulimit -u) or of the cgroup. ENOMEM: memory. ENOSPC: disk space, inodes or watches. EDQUOT: quota.";
    HostUnsupported "host.unsupported" "This kernel does not have what is needed." "use a newer kernel, or see what forbids the call (seccomp of a surrounding container)"
        "docs/user/install.md lists the kernels that are supported.";
    HostDenied "host.denied" "The kernel does not permit it to this user." "run as root, or see docs/user/rootless.md"
        "EPERM and EACCES: a missing capability, the mode of a file or directory above it, or an LSM.";
    HostReadOnly "host.read_only" "The file system is read-only." "choose another directory, or mount it writable"
        "";
    FileMissing "file.missing" "A file or directory that is named is not there." "correct the path, or create it"
        "";
    FileExists "file.exists" "A file or directory that is to be created is there already." "remove it, or choose another name"
        "croci and corm do not overwrite what they have not made.";
    FileInvalid "file.invalid" "A file is not of the kind or in the form that is needed." ""
        "The message names the file and what it must be.";
    ImageNotFound "image.not_found" "The image is not in the store." ""
        "`corm images` lists what there is, `corm pull NAME` fetches an image. Each user and each --root has a store of its own.";
    ImageName "image.name" "The name of an image is not of the form REGISTRY/NAME:TAG or REGISTRY/NAME@DIGEST." "write it as REGISTRY/NAME:TAG, in lower case"
        "Short names are searched in the registries of registries.conf.";
    ImageInUse "image.in_use" "The image is used by a container, or has several names." ""
        "Remove the container first (`corm ps --all`), or name the image by one of its names.";
    ImagePlatform "image.platform" "The image is not for the platform that is asked for." "choose one of those with --platform OS/ARCH"
        "`corm manifest inspect NAME` lists the platforms of an image.";
    ImageInvalid "image.invalid" "A manifest, a configuration or a layer of the image is malformed, or over a limit." "tell who made the image; limits of layers are set by --layer-limit"
        "Malformed images are refused before anything of them is used.";
    ImageDigest "image.digest" "Content does not have the digest or size by which it was asked for." "try again; if it stays so, the registry or archive is damaged"
        "Nothing of it was kept.";
    RegistryAuth "registry.login" "The registry wants a login, or does not allow this user to do it." "`corm login REGISTRY` stores a login"
        "Many registries answer in this way also for a repository that does not exist.";
    RegistryNotFound "registry.not_found" "The registry does not have this repository or tag." "see the name and tag; `corm tags NAME` lists the tags"
        "";
    RegistryLimit "registry.limit" "The registry limits the number of requests." "wait, or log in with `corm login`"
        "Docker Hub limits anonymous pulls.";
    RegistryTls "registry.certificate" "The certificate of the registry is not trusted." "put the CA's certificate into /etc/containers/certs.d/HOST:PORT/ca.crt"
        "Or use --tls-verify=false, which does not check who answers.";
    RegistryPlain "registry.plain_http" "The registry speaks plain HTTP, and HTTPS is required." "use --tls-verify=false, or set insecure = true in registries.conf"
        "Only a registry on this machine or in a trusted network should be used without TLS.";
    RegistryUnreachable "registry.unreachable" "The registry cannot be reached." "see the name, the network, and HTTPS_PROXY"
        "";
    RegistryConfig "registry.config" "A file about registries (registries.conf, policy.json, stored credentials) is malformed." "correct the file that is named"
        "containers-registries.conf(5) has the form of registries.conf, containers-auth.json(5) that of stored credentials.";
    RegistryCut "registry.cut" "The connection ended before all bytes had come." "try again: what has come is kept where the registry can continue"
        "";
    RegistryAnswer "registry.answer" "The answer is not that of a registry." "see the host's name and port: a web page or a proxy answers there"
        "";
    RegistryFailed "registry.failed" "The registry reported an error." "the message has its answer; try again later if the fault is the server's"
        "";
    ArchiveInvalid "archive.invalid" "The file is no archive of images, or is damaged." "give a file of `corm save`, `docker save` or an OCI layout"
        "";
    StoreUnsafe "store.unsafe" "The store of images cannot be used." "choose another one with --root"
        "";
    StoreDamaged "store.damaged" "Something in the store of images is damaged." "`corm fsck` lists it; `corm rmi` and `corm pull` fetch it again"
        "";
    BuildInvalid "build.invalid" "A Containerfile, its context or a flag of one of its instructions is wrong." ""
        "The message names the file, the line and the word. docs/user/build.md has the language.";
    VolumeNotFound "volume.not_found" "There is no volume of this name." "`corm volume ls` lists the volumes"
        "";
    VolumeInUse "volume.in_use" "The volume is used by a container." "remove the container first"
        "`corm ps --all --filter volume=NAME` lists the containers that use it.";
    NetworkNotFound "network.not_found" "There is no network of this name." "`corm network ls` lists the networks"
        "";
    NetworkInUse "network.in_use" "The network is used by a container." ""
        "`corm ps --all --filter network=NAME` lists the containers that use it.";
    NetworkFailed "network.failed" "The network of the container cannot be set up." "see that the program that is named is installed, or use --network none"
        "";
    NameTaken "name.taken" "The name is in use already." "choose another name, or remove the other first"
        "";
    RuntimeFailed "runtime.failed" "The runtime below corm failed." ""
        "The message has the runtime's own error.";
    Failed "failed" "Something failed that has no code of its own." "`--log-level debug` shows the steps before it"
        "";
}

impl Code {
    /// Returns the code of a name.
    pub fn named(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Returns the text of `explain`, with its last newline.
    pub fn explain(self, program: &str) -> String {
        let mut text = format!("{}: {}\n", self.name(), self.meaning());
        if !self.more().is_empty() {
            let _ = writeln!(text, "\n{}", self.more().replace("PROGRAM", program));
        }
        if !self.hint().is_empty() {
            let _ = writeln!(text, "\nWhat to do: {}.", self.hint());
        }
        text
    }
}

/// Returns the text of `explain`: of a code, of a line that has a code or an error's text, or of all codes.
///
/// # Errors
/// There is no such code.
pub fn explain(program: &str, words: &[String]) -> Result<String> {
    let text = words.join(" ");
    let code = match Code::named(text.trim_matches(['[', ']'])) {
        _ if text.is_empty() => return Ok(list()),
        Some(code) => code,
        None if text.contains(' ') => match Report::of_text(&text).code {
            Code::Failed => bail!(coded!(UsageValue, "{text:?} has no code in brackets at its end")),
            code => code,
        },
        None => {
            let known = Code::ALL.iter().map(|code| code.name());
            match did_you_mean(&text, known) {
                near if near.is_empty() => {
                    bail!(coded!(UsageValue, "unknown code {text:?} (without an operand all are listed)"))
                }
                near => bail!(coded!(UsageValue, "unknown code {text:?}{near}")),
            }
        }
    };
    Ok(code.explain(program))
}

/// Returns a table of all codes with their meanings, for `explain` without an operand.
fn list() -> String {
    let width = Code::ALL.iter().map(|code| code.name().len()).max().unwrap_or_default();
    Code::ALL.iter().map(|code| format!("{:width$}  {}\n", code.name(), code.meaning())).collect()
}

/// Returns docs/reference/error-codes.md.
pub fn reference() -> String {
    let mut text = String::from(
        "# Error codes\n\n<!-- written by the test `the_reference_is_current` of crates/base; do not edit -->\n\n\
         Each error of croci and corm has a code that does not change. It stands in brackets at the end of the line on\n\
         standard error, and in the lines of `croci --log FILE --log-format json` with these members:\n\n\
         | member | value |\n|---|---|\n\
         | `level`, `msg`, `time` | as runc has them; `msg` has no code and no hint |\n\
         | `code` | the code |\n\
         | `field` | the property of config.json or the flag that the error is about, if it names one |\n\
         | `path` | the path that the error is about, if it names one |\n\
         | `errno` | the name of the kernel's error (`ENOENT`), if there is one |\n\
         | `hint` | what to do, if the message does not have it already |\n\n\
         `croci explain CODE` and `corm explain CODE` print a row of the table below; instead of the code, a whole line of\n\
         an error can be given.\n\n\
         | code | meaning | what to do | more |\n|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let cell = |text: &str| text.replace('|', "\\|").replace("PROGRAM", "croci");
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            code.name(),
            cell(code.meaning()),
            cell(code.hint()),
            cell(code.more())
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_are_unique_and_of_one_form() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        for name in &names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b)), "{name}");
            assert_eq!(Code::named(name).map(Code::name), Some(*name));
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    /// Callers search errors for these texts, so that a hint with one of them would change what they do.
    #[test]
    fn hints_have_no_text_that_callers_match() {
        const MATCHED: &[&str] = &[
            "permission denied",
            "operation not permitted",
            "executable file not found",
            "no such file",
            "open executable",
            "does not exist",
            "is a directory",
            "not a directory",
            "container not running",
            "no such process",
            "already finished",
            "invalid process",
            "flag needs an argument",
            "requires an argument",
        ];
        for code in Code::ALL {
            let hint = code.hint().to_lowercase();
            assert!(MATCHED.iter().all(|text| !hint.contains(text)), "{}: {hint}", code.name());
            assert!(!hint.ends_with('.') && !hint.contains('\n'), "{}: {hint}", code.name());
            assert!(code.meaning().ends_with('.'), "{}", code.name());
        }
    }

    #[test]
    fn no_hint_is_told_twice() {
        for code in Code::ALL.iter().filter(|code| !code.hint().is_empty()) {
            let first = |text: &str| text.split([' ', '(']).next().unwrap_or_default().to_owned();
            let same = first(code.hint()) == first(code.more()) || code.more().contains(code.hint());
            assert!(!same, "{}: {:?} and {:?}", code.name(), code.hint(), code.more());
        }
    }

    #[test]
    fn the_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/error-codes.md");
        if std::env::var_os("WRITE").is_some() {
            std::fs::write(path, reference()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), reference(), "WRITE=1 cargo test writes it");
    }
}
