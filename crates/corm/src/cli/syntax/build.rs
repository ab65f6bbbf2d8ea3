//! The flags of `build`.

use super::common::{ARCH, LABEL, OS, OUTPUT, VARIANT, VerbSpec, verb};
use super::registry::REMOTE;
use crate::cli::convert;
use base::cli_parser::Flag;
use base::cli_parser::HELP;
use base::cli_parser::many;
use base::cli_parser::one;
use base::cli_parser::switch;

/// Flags for what is built.
const WHAT: &[Flag] = &[
    many(
        "file",
        Some('f'),
        "FILE",
        "Containerfile, - for standard input; several are joined [default: Containerfile or Dockerfile] (repeatable)",
    ),
    one("ignorefile", None, "FILE", "File with what is left out [default: .containerignore or .dockerignore]"),
    many("tag", Some('t'), "NAME", "Name of the image (repeatable)"),
    one("target", None, "STAGE", "Stage to build, by name or number [default: the last one]"),
    many("build-arg", None, "K=V", "Set an argument (repeatable)"),
    many(
        "build-context",
        None,
        "NAME=PLACE",
        "Another context: a directory, an address, docker-image://REF, oci-layout://DIR[:TAG] (repeatable)",
    ),
    one("from", None, "IMAGE", "Image in the place of that of the first FROM"),
    many(
        "platform",
        None,
        "OS/ARCH",
        "Platform of the image, of several an index [default: this machine's] (repeatable)",
    ),
    OS,
    ARCH,
    VARIANT,
    LABEL,
    many("annotation", None, "K=V", "Set an annotation of the manifest (repeatable)"),
    many("env", None, "K=V", "Set a variable in the image (repeatable)"),
    many("unsetenv", None, "NAME", "Leave a variable out of the image (repeatable)"),
    one("os-version", None, "VERSION", "Set the version of the operating system"),
    many("os-feature", None, "FEATURE", "Set a feature of the operating system (repeatable)"),
    one("format", None, "FORMAT", "Form of the manifest: oci or docker [default: oci]"),
    one("timestamp", None, "SECONDS", "No time in the image is later than this [default: $SOURCE_DATE_EPOCH]"),
    switch("omit-history", None, "Leave the history out of the image"),
    switch("squash", None, "Replace the layers of the build by one"),
    switch("squash-all", None, "Replace all layers by one"),
];

/// Flags for how it is built.
const HOW: &[Flag] = &[
    switch("no-cache", None, "Use nothing of the cache"),
    many("no-cache-filter", None, "STAGE", "Stages that use nothing of the cache (repeatable)"),
    many("cache-from", None, "PLACE", "Use the cache of oci:DIR:TAG or docker://REF, too (repeatable)"),
    many("cache-to", None, "PLACE", "Write the cache of this build to oci:DIR:TAG or docker://REF (repeatable)"),
    switch("pull", None, "Pull base images: --pull=missing, always or never [default: missing; alone: always]"),
    many("secret", None, "id=ID,src=PATH", "Secret for RUN --mount=type=secret, or id=ID,env=NAME (repeatable)"),
    many("ssh", None, "ID[=SOCKET]", "SSH agent for RUN --mount=type=ssh [default: $SSH_AUTH_SOCK] (repeatable)"),
    switch("skip-unused-stages", None, "Build no stage that nothing needs [default: true]"),
    one("jobs", None, "N", "Commands of RUN that run at once, 0 for any number [default: 0]"),
];

/// Flags for the containers of `RUN`.
const RUN: &[Flag] = &[
    one("network", None, "MODE", "Network of RUN: none, host, pasta, slirp4netns or the name of one [default: none]"),
    many("allow", None, "WHAT", "Let instructions have network.host or security.insecure (repeatable)"),
    many("add-host", None, "NAME:IP", "Add a line to /etc/hosts of RUN (repeatable)"),
    switch("no-hosts", None, "Leave the image's /etc/hosts as it is in RUN"),
    many("dns", None, "ADDRESS", "Name server of RUN, or none for the image's /etc/resolv.conf (repeatable)"),
    many("dns-search", None, "DOMAIN", "Search domain of RUN (repeatable)"),
    many("dns-option", None, "OPTION", "Option in /etc/resolv.conf of RUN (repeatable)"),
    switch("http-proxy", None, "Pass corm's variables about proxies on to RUN [default: true]"),
    many("volume", Some('v'), "SRC:DST[:OPTIONS]", "Bind a path of the host in RUN (repeatable)"),
    many("cap-add", None, "NAME", "Add a capability for RUN, or ALL (repeatable)"),
    many("cap-drop", None, "NAME", "Drop a capability for RUN, or ALL (repeatable)"),
    many("security-opt", None, "OPTION", "As of corm run, for RUN (repeatable)"),
    many("device", None, "SRC[:DST][:rwm]", "Add a device of the host for RUN (repeatable)"),
    one("pid", None, "MODE", "PID namespace of RUN: private, host or ns:PATH"),
    one("ipc", None, "MODE", "IPC namespace of RUN: private, host or ns:PATH"),
    one("uts", None, "MODE", "UTS namespace of RUN: private, host or ns:PATH"),
    one("cgroup-parent", None, "PATH", "Cgroup below which those of RUN are made"),
    one("cgroupns", None, "MODE", "Cgroup namespace of RUN: private or host [default: private on cgroup v2]"),
    one("memory", Some('m'), "SIZE", "Memory limit of RUN in bytes, or with a unit: k, m, g or t"),
    one("memory-swap", None, "SIZE", "Limit of memory and swap of RUN, -1 for unlimited"),
    one("cpu-shares", Some('c'), "N", "Relative weight of the CPU time of RUN"),
    one("cpu-period", None, "US", "Period of --cpu-quota in microseconds"),
    one("cpu-quota", None, "US", "CPU time of RUN in each period in microseconds"),
    one("cpuset-cpus", None, "LIST", "CPUs of RUN, such as 0-3,5"),
    one("cpuset-mems", None, "LIST", "Memory nodes of RUN"),
    one("shm-size", None, "SIZE", "Size of /dev/shm of RUN"),
    many("ulimit", None, "NAME=SOFT[:HARD]", "Resource limit of RUN (repeatable)"),
];

/// Flags for what is written and printed.
const OUT: &[Flag] = &[
    one(OUTPUT.name, OUTPUT.short, "SPEC", "Also write the result: type=local|tar|oci|docker,dest=PATH"),
    one("manifest", None, "NAME", "Add the image to an index, which is created where there is none"),
    switch("push", None, "Push the image by its names"),
    one("iidfile", None, "FILE", "Write the ID of the image to a file"),
    one("metadata-file", None, "FILE", "Write names and digests of the image to a file, as JSON"),
    one("logfile", None, "FILE", "Write to this file what standard error would get"),
    one("progress", None, "KIND", "auto, plain or quiet [default: auto]"),
    switch("quiet", Some('q'), "Print the ID only"),
];

/// Flags of scripts for Docker, Podman and Buildah that say what corm does anyway.
const ANYWAY: &[Flag] = &[
    switch("layers", None, "A layer for each step; false: one, and nothing of the cache [default: true]"),
    switch("rm", None, "Always so: no container of a step is kept"),
    switch("force-rm", None, "Always so: no container of a step is kept"),
    switch("load", None, "Always so: the image is in the store"),
    switch("compress", None, "No effect"),
    switch("disable-compression", Some('D'), "No effect"),
    switch("disable-content-trust", None, "No effect"),
    switch("identity-label", None, "No effect: no label names corm"),
    one("isolation", None, "KIND", "oci or default: RUN is a container"),
    one("provenance", None, "false", "No attestation is made"),
    one("sbom", None, "false", "No attestation is made"),
];

/// The verb.
pub(super) const VERBS: &[VerbSpec] = &[verb(
    "build",
    "Create an image from a Containerfile",
    "[CONTEXT]",
    (0, 1),
    &[WHAT, HOW, RUN, OUT, REMOTE, ANYWAY, HELP],
    convert::build::build,
)];
