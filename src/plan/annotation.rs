//! Extensions set by annotations, as in crun (checklist part 24), each value checked.
//!
//! Pure. `runtime::criu` reads `org.criu.config`, only for a checkpoint or restore.

use base::coded;
use std::collections::HashMap;
use std::ffi::CStr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use oci_spec::runtime::Spec;

use super::hook::OutputPaths;

/// Extensions that croci refuses, because the container would run without a requested property.
const REFUSED: &[(&str, &str)] = &[
    ("run.oci.handler", "croci runs programs of the kernel's own formats, not by way of a WebAssembly or VM library"),
    ("run.oci.seccomp.plugins", "croci loads no libraries: an agent at listenerPath can do the same"),
    ("run.oci.systemd.force_cgroup_v1", "the hierarchies are mounted as the machine has them"),
    ("run.oci.systemd.subgroup", "the process is in the scope itself, as with an empty value"),
    ("run.oci.delegate-cgroup", "mount the container's own cgroup writable in a cgroup namespace instead"),
];

/// All other annotations `run.oci.` that have a meaning here.
const KNOWN: &[&str] = &[
    "run.oci.hooks.stderr",
    "run.oci.hooks.stdout",
    "run.oci.keep_original_groups",
    "run.oci.mount_context_type",
    "run.oci.pidfd_receiver",
    "run.oci.seccomp.receiver",
    "run.oci.seccomp_bpf_data",
    "run.oci.seccomp_fail_unknown_syscall",
];

/// The annotation of images whose program is a WebAssembly module.
const WASM: &str = "module.wasm.image/variant";

/// Refuses a program that needs a WebAssembly library. The value `compat-smart` leaves other programs alone: engines pass
/// it to every container of a pod.
fn refuse_wasm(spec: &Spec, variant: &str) -> Result<()> {
    let program = spec.process().as_ref().and_then(|process| process.args().as_ref()?.first().cloned());
    let is_module = program.is_some_and(|program| program.ends_with(".wasm") || program.ends_with(".wat"));
    match variant {
        "compat" => bail!(coded!(
            ConfigUnsupported,
            "annotations[{WASM:?}]: {variant:?} is not supported: croci runs no WebAssembly"
        )),
        "compat-smart" if is_module => {
            bail!("annotations[{WASM:?}]: {variant:?}: the program is a WebAssembly module, which croci cannot run")
        }
        _ => Ok(()),
    }
}

/// Returns one warning that names the annotations `run.oci.` without a meaning here, if there are any.
pub(crate) fn unknown(spec: &Spec) -> Option<String> {
    let is_known = |key: &str| KNOWN.contains(&key) || REFUSED.iter().any(|(refused, _)| *refused == key);
    let keys = spec.annotations().iter().flatten().map(|(key, _)| key.as_str());
    let mut keys: Vec<&str> = keys.filter(|key| key.starts_with("run.oci.") && !is_known(key)).collect();
    keys.sort_unstable();
    (!keys.is_empty()).then(|| format!("annotations: unknown, without an effect: {}", keys.join(", ")))
}

/// The extensions that a configuration's annotations set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extensions {
    /// The socket of the seccomp agent where `listenerPath` is not set.
    pub receiver: Option<PathBuf>,
    /// A system call in the seccomp profile that this machine does not have is an error.
    pub fail_unknown_syscall: bool,
    /// A BPF program in place of `linux.seccomp`: the bytes of `struct sock_filter`.
    pub seccomp_program: Option<Vec<u8>>,
    /// The process keeps the caller's supplementary groups.
    pub keep_groups: bool,
    /// The socket that receives a pidfd of init, as with `--pidfd-socket`.
    pub pidfd_receiver: Option<PathBuf>,
    /// Files for the standard output and error of hooks.
    pub hook_output: OutputPaths,
    /// The mount option that sets `linux.mountLabel` on file systems.
    pub label_option: &'static CStr,
}

/// Parses the annotations of a configuration.
///
/// # Errors
/// A wrong value, or an extension that croci does not have; the error names the key.
pub(crate) fn read(spec: &Spec) -> Result<Extensions> {
    let none = HashMap::new();
    let annotations = spec.annotations().as_ref().unwrap_or(&none);
    let text = |key: &str| annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
    for (key, why) in REFUSED {
        if let Some(value) = text(key) {
            bail!(coded!(ConfigUnsupported, "annotations[{key:?}]: {value:?} is not supported: {why}"));
        }
    }
    if let Some(variant) = text(WASM) {
        refuse_wasm(spec, variant)?;
    }
    let path = |key: &str| -> Result<Option<PathBuf>> {
        let path = text(key).map(PathBuf::from);
        ensure!(path.as_ref().is_none_or(|path| path.is_absolute()), "annotations[{key:?}]: is not an absolute path");
        Ok(path)
    };
    // crun documents "=1" and accepts every value but 0
    let flag = |key: &str| text(key).is_some_and(|value| value != "0");
    let program = "run.oci.seccomp_bpf_data";
    Ok(Extensions {
        receiver: path("run.oci.seccomp.receiver")?,
        fail_unknown_syscall: flag("run.oci.seccomp_fail_unknown_syscall"),
        seccomp_program: text(program)
            .map(|value| BASE64.decode(value).ok().with_context(|| format!("annotations[{program:?}]: is not base64")))
            .transpose()?,
        keep_groups: flag("run.oci.keep_original_groups"),
        pidfd_receiver: path("run.oci.pidfd_receiver")?,
        hook_output: OutputPaths { stdout: path("run.oci.hooks.stdout")?, stderr: path("run.oci.hooks.stderr")? },
        label_option: label_option(text("run.oci.mount_context_type"))?,
    })
}

fn label_option(value: Option<&str>) -> Result<&'static CStr> {
    Ok(match value {
        None | Some("context") => c"context",
        Some("fscontext") => c"fscontext",
        Some("defcontext") => c"defcontext",
        Some("rootcontext") => c"rootcontext",
        Some(other) => bail!("annotations[\"run.oci.mount_context_type\"]: {other:?} is no kind of SELinux context"),
    })
}

/// Standard base64 with padding. Unused bits of the last digit may be set, because other decoders accept them.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_one(key: &str, value: &str) -> Result<Extensions> {
        let mut spec = Spec::default();
        spec.set_annotations(Some(HashMap::from([(key.to_owned(), value.to_owned())])));
        read(&spec)
    }

    #[test]
    fn without_annotations_nothing_changes() {
        let plain = read(&Spec::default()).unwrap();
        assert_eq!((plain.receiver, plain.seccomp_program, plain.hook_output), (None, None, OutputPaths::default()));
        assert!(!plain.keep_groups && !plain.fail_unknown_syscall && plain.label_option == c"context");
        assert_eq!(read_one("run.oci.unknown", "x").unwrap(), read(&Spec::default()).unwrap());
        assert!(!read_one("run.oci.keep_original_groups", "0").unwrap().keep_groups);
        assert!(read_one("run.oci.keep_original_groups", "1").unwrap().keep_groups);
    }

    #[test]
    fn wrong_values_and_unsupported_extensions_are_named() {
        for (key, value) in [
            ("run.oci.seccomp.receiver", "agent.sock"),
            ("run.oci.pidfd_receiver", "./x"),
            ("run.oci.hooks.stdout", "log"),
            ("run.oci.seccomp_bpf_data", "???"),
            ("run.oci.mount_context_type", "nosuch"),
            ("run.oci.handler", "krun"),
            ("run.oci.handler", "wasm"),
            ("run.oci.seccomp.plugins", "/lib/x.so"),
            ("run.oci.systemd.force_cgroup_v1", "/sys/fs/cgroup/systemd"),
            ("run.oci.delegate-cgroup", "sub"),
            ("run.oci.systemd.subgroup", "container"),
            ("module.wasm.image/variant", "compat"),
        ] {
            let err = read_one(key, value).unwrap_err().to_string();
            assert!(err.starts_with(&format!("annotations[{key:?}]: ")), "{key}={value}: {err}");
        }
    }

    #[test]
    fn a_variant_for_modules_leaves_other_programs_alone() {
        let with_program = |program: &str| {
            let process = serde_json::json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": [program]});
            let mut spec = Spec::default();
            spec.set_process(Some(serde_json::from_value(process).unwrap()));
            spec.set_annotations(Some(HashMap::from([(WASM.to_owned(), "compat-smart".to_owned())])));
            read(&spec)
        };
        assert!(with_program("/bin/sh").is_ok() && with_program("/app.wasm").is_err());
    }

    #[test]
    fn unknown_keys_are_named_once() {
        let mut spec = Spec::default();
        let keys = ["run.oci.b", "run.oci.a", "run.oci.handler", "run.oci.systemd.subgroup", "org.x"];
        spec.set_annotations(Some(keys.iter().map(|key| ((*key).to_owned(), String::new())).collect()));
        assert_eq!(unknown(&spec).unwrap(), "annotations: unknown, without an effect: run.oci.a, run.oci.b");
        assert_eq!(unknown(&Spec::default()), None);
    }

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zh==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmFy", "foobar"),
            ("/+A=", ""),
        ] {
            let got = BASE64.decode(text).unwrap();
            assert!(got == bytes.as_bytes() || text == "/+A=" && got == [0xff, 0xe0], "{text}: {got:?}");
        }
        for bad in ["Z", "Zg", "Zg=", "Z===", "Zg==Zg==", "Zm9v\n", "Zm-v", "====="] {
            assert!(BASE64.decode(bad).is_err(), "{bad:?}");
        }
    }
}
