//! The tables of expected types: the Linux part of runtime-spec 1.3, with the range of each value.
//!
//! Properties that are not listed (other platforms, earlier versions such as `intelRdt.enableCMT`) are dropped before
//! oci-spec parses the value, so that they cannot make a configuration fail.

use super::enums;
use super::json_type::JsonType::{self, Bool, Choice, Int, List, Map, Name, Object, Text};
use super::json_type::{may, must};

const U16: JsonType = Int(0, u16::MAX as i128);
const U32: JsonType = Int(0, u32::MAX as i128);
const U64: JsonType = Int(0, u64::MAX as i128);
const I64: JsonType = Int(i64::MIN as i128, i64::MAX as i128);
/// A user or group ID. 2³²-1 is none, because setresuid(2) takes it as -1 for "no change" (PR-6, E6).
const ID: JsonType = Int(0, u32::MAX as i128 - 1);
/// The kernel's device numbers have 12 and 20 bits.
const MAJOR: JsonType = Int(0, 0xfff);
const MINOR: JsonType = Int(0, 0xf_ffff);

/// `config.json`
pub(super) const CONFIG: JsonType = Object(&[
    must("ociVersion", Text),
    must("root", Object(&[must("path", Text), may("readonly", Bool)])),
    may("mounts", MOUNTS),
    may("process", PROCESS),
    may("hostname", Name),
    may("domainname", Name),
    may("hooks", HOOKS),
    may("annotations", Map(&Text)),
    may("linux", LINUX),
]);

/// `mounts`
pub(super) const MOUNTS: JsonType = List(&Object(&[
    must("destination", Text),
    may("type", Name),
    may("source", Name),
    may("options", List(&Text)),
    may("uidMappings", ID_MAPPINGS),
    may("gidMappings", ID_MAPPINGS),
]));

const ID_MAPPINGS: JsonType = List(&Object(&[must("containerID", U32), must("hostID", U32), must("size", U32)]));

const HOOKS: JsonType = Object(&[
    may("prestart", HOOK_LIST),
    may("createRuntime", HOOK_LIST),
    may("createContainer", HOOK_LIST),
    may("startContainer", HOOK_LIST),
    may("poststart", HOOK_LIST),
    may("poststop", HOOK_LIST),
]);

const HOOK_LIST: JsonType = List(&Object(&[
    must("path", Text),
    may("args", List(&Text)),
    may("env", List(&Text)),
    // HK-8: 0 is not "no timeout"
    may("timeout", Int(1, i64::MAX as i128)),
]));

/// `process`, and the file of `exec --process`
pub(super) const PROCESS: JsonType = Object(&[
    may("terminal", Bool),
    may("consoleSize", Object(&[must("height", U16), must("width", U16)])),
    may(
        "user",
        Object(&[
            must("uid", ID),
            may("gid", ID),
            may("umask", Int(0, 0o777)),
            may("additionalGids", List(&ID)),
            may("username", Name),
        ]),
    ),
    may("args", List(&Text)),
    may("env", List(&Text)),
    must("cwd", Text),
    may("capabilities", CAPABILITIES),
    may(
        "rlimits",
        List(&Object(&[must("type", Choice("resource limit", enums::RLIMITS)), must("hard", U64), must("soft", U64)])),
    ),
    may("noNewPrivileges", Bool),
    may("apparmorProfile", Name),
    may("oomScoreAdj", Int(-1000, 1000)),
    may("selinuxLabel", Name),
    may(
        "ioPriority",
        Object(&[must("class", Choice("I/O priority class", enums::IO_CLASSES)), may("priority", Int(0, 7))]),
    ),
    may("scheduler", SCHEDULER),
    may("execCPUAffinity", Object(&[may("initial", Name), may("final", Name)])),
]);

const CAPABILITIES: JsonType = Object(&[
    may("bounding", List(&Text)),
    may("effective", List(&Text)),
    may("inheritable", List(&Text)),
    may("permitted", List(&Text)),
    may("ambient", List(&Text)),
]);

const SCHEDULER: JsonType = Object(&[
    must("policy", Choice("scheduler policy", enums::SCHEDULER_POLICIES)),
    may("nice", Int(-20, 19)),
    may("priority", Int(0, 99)),
    may("flags", List(&Choice("scheduler flag", enums::SCHEDULER_FLAGS))),
    may("runtime", U64),
    may("deadline", U64),
    may("period", U64),
]);

const LINUX: JsonType = Object(&[
    may("namespaces", List(&Object(&[must("type", Choice("namespace", enums::NAMESPACES)), may("path", Name)]))),
    may("uidMappings", ID_MAPPINGS),
    may("gidMappings", ID_MAPPINGS),
    may("timeOffsets", Map(&Object(&[may("secs", I64), may("nanosecs", Int(0, 999_999_999))]))),
    may("devices", DEVICES),
    may("netDevices", Map(&Object(&[may("name", Name)]))),
    may("cgroupsPath", Name),
    may("resources", RESOURCES),
    may("sysctl", Map(&Text)),
    may("seccomp", SECCOMP),
    may("rootfsPropagation", Choice("mount propagation", enums::PROPAGATIONS)),
    may("maskedPaths", List(&Text)),
    may("readonlyPaths", List(&Text)),
    may("mountLabel", Name),
    may(
        "intelRdt",
        Object(&[
            may("closID", Name),
            may("schemata", List(&Text)),
            may("l3CacheSchema", Name),
            may("memBwSchema", Name),
            may("enableMonitoring", Bool),
        ]),
    ),
    may(
        "memoryPolicy",
        Object(&[
            must("mode", Choice("memory policy", enums::MEMORY_POLICIES)),
            may("nodes", Name),
            may("flags", List(&Choice("memory policy flag", enums::MEMORY_POLICY_FLAGS))),
        ]),
    ),
    may(
        "personality",
        Object(&[must("domain", Choice("personality domain", &["LINUX", "LINUX32"])), may("flags", List(&Text))]),
    ),
]);

const DEVICES: JsonType = List(&Object(&[
    must("path", Text),
    must("type", Choice("device type", &["c", "b", "u", "p"])),
    may("major", MAJOR),
    may("minor", MINOR),
    may("fileMode", U32),
    may("uid", ID),
    may("gid", ID),
]));

const SECCOMP: JsonType = Object(&[
    must("defaultAction", ACTION),
    may("defaultErrnoRet", U32),
    may("architectures", List(&Choice("seccomp architecture", enums::SECCOMP_ARCHS))),
    may("flags", List(&Choice("seccomp flag", enums::SECCOMP_FLAGS))),
    may("listenerPath", Name),
    may("listenerMetadata", Name),
    may(
        "syscalls",
        List(&Object(&[
            must("names", List(&Text)),
            must("action", ACTION),
            may("errnoRet", U32),
            may(
                "args",
                List(&Object(&[
                    must("index", Int(0, 5)),
                    must("value", U64),
                    may("valueTwo", U64),
                    must("op", Choice("seccomp operator", enums::SECCOMP_OPERATORS)),
                ])),
            ),
        ])),
    ),
]);

const ACTION: JsonType = Choice("seccomp action", enums::SECCOMP_ACTIONS);

/// `linux.resources`, and the document of `update --resources`
pub(super) const RESOURCES: JsonType = Object(&[
    may("devices", DEVICE_RULES),
    may(
        "memory",
        Object(&[
            may("limit", I64),
            may("reservation", I64),
            may("swap", I64),
            may("kernel", I64),
            may("kernelTCP", I64),
            may("swappiness", Int(0, 100)),
            may("disableOOMKiller", Bool),
            may("useHierarchy", Bool),
            may("checkBeforeUpdate", Bool),
        ]),
    ),
    may(
        "cpu",
        Object(&[
            may("shares", U64),
            may("quota", I64),
            may("burst", U64),
            may("period", U64),
            may("realtimeRuntime", I64),
            may("realtimePeriod", U64),
            may("cpus", Name),
            may("mems", Name),
            may("idle", Int(0, 1)),
        ]),
    ),
    may("pids", Object(&[may("limit", I64)])),
    may("blockIO", BLOCK_IO),
    may("hugepageLimits", List(&Object(&[must("pageSize", Text), must("limit", U64)]))),
    may(
        "network",
        Object(&[may("classID", U32), may("priorities", List(&Object(&[must("name", Text), must("priority", U32)])))]),
    ),
    may("rdma", Map(&Object(&[may("hcaHandles", U32), may("hcaObjects", U32)]))),
    may("unified", Map(&Text)),
]);

/// Device rules. Some callers write -1 for "any" number; an absent number means the same.
const DEVICE_RULES: JsonType = List(&Object(&[
    must("allow", Bool),
    may("type", Choice("device type", &["a", "c", "b"])),
    may("major", Int(-1, u32::MAX as i128)),
    may("minor", Int(-1, u32::MAX as i128)),
    may("access", Name),
]));

const BLOCK_IO: JsonType = Object(&[
    may("weight", U16),
    may("leafWeight", U16),
    may(
        "weightDevice",
        List(&Object(&[must("major", MAJOR), must("minor", MINOR), may("weight", U16), may("leafWeight", U16)])),
    ),
    may("throttleReadBpsDevice", THROTTLE),
    may("throttleWriteBpsDevice", THROTTLE),
    may("throttleReadIOPSDevice", THROTTLE),
    may("throttleWriteIOPSDevice", THROTTLE),
]);

const THROTTLE: JsonType = List(&Object(&[must("major", MAJOR), must("minor", MINOR), must("rate", U64)]));
