//! Unit names from `cgroupsPath` in systemd's form, `slice:prefix:name`, and the cgroup path of a unit. Pure.

use anyhow::{Context as _, Result, bail, ensure};

/// Longest name of a unit in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The units of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// `machine.slice`
    pub slice: String,
    /// `libpod-ID.scope`
    pub unit: String,
}

/// Parses the three parts; an empty part, and an absent path, has its default (CG-1).
///
/// # Errors
/// Another number of parts, a slice name that is not valid, a unit name that is too long.
pub(crate) fn names(path: Option<&str>, id: &str, user: bool) -> Result<Names> {
    let path = path.unwrap_or("::");
    let field = "linux.cgroupsPath";
    let [slice, prefix, name] = path.split(':').collect::<Vec<_>>()[..] else {
        bail!("{field}: {path:?}: with systemd it is slice:prefix:name");
    };
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let slice = or(slice, if user { "user.slice" } else { "system.slice" });
    parents(&slice).with_context(|| format!("{field}: {path:?}"))?;
    let unit = format!("{}-{}.scope", escape(&or(prefix, "croci")), escape(&or(name, id)));
    ensure!(
        unit.len() <= MAX_NAME_BYTES,
        "{field}: the name of the unit {unit:?} has more than {MAX_NAME_BYTES} bytes"
    );
    Ok(Names { slice, unit })
}

/// Returns whether a unit can be one of [`names`].
pub(crate) fn is_scope(unit: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
    unit.strip_suffix(".scope").is_some_and(|name| name.contains('-') && name.bytes().all(allowed))
}

/// Returns the path of a scope below the manager's cgroup: the slice `a-b.slice` is in `a.slice`.
///
/// # Errors
/// A slice name that is not valid.
pub(crate) fn cgroup_path(names: &Names) -> Result<String> {
    let mut path = String::new();
    for slice in parents(&names.slice)? {
        path = format!("{path}/{slice}");
    }
    Ok(format!("{path}/{}", names.unit))
}

/// Returns the slice and its parents, the topmost first; `-.slice` is the root.
fn parents(slice: &str) -> Result<Vec<String>> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\".contains(&b);
    let name = slice.strip_suffix(".slice").filter(|name| !name.is_empty() && name.bytes().all(allowed));
    let Some(name) = name.filter(|_| slice.len() <= MAX_NAME_BYTES) else {
        bail!("{slice:?} is not the name of a slice")
    };
    if name == "-" {
        return Ok(Vec::new());
    }
    ensure!(name.split('-').all(|part| !part.is_empty()), "{slice:?} is not the name of a slice");
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Ok(ends.filter_map(|end| Some(format!("{}.slice", name.get(..end)?))).collect())
}

/// Escapes characters that a unit name may not contain, as systemd does: `\x2b` for `+`.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn cg_1_three_parts_with_defaults() {
        for (path, user, slice, unit) in [
            (None, false, "system.slice", "croci-c1.scope"),
            (None, true, "user.slice", "croci-c1.scope"),
            (Some("::"), false, "system.slice", "croci-c1.scope"),
            (Some("machine.slice:libpod:abc"), false, "machine.slice", "libpod-abc.scope"),
            (Some("a-b.slice:cri-containerd:x"), true, "a-b.slice", "cri-containerd-x.scope"),
            (Some("-.slice:p:n"), false, "-.slice", "p-n.scope"),
            (Some(":p:a+b/c@d"), false, "system.slice", "p-a\\x2bb\\x2fc\\x40d.scope"),
        ] {
            let expected = Names { slice: slice.to_owned(), unit: unit.to_owned() };
            assert_eq!(names(path, "c1", user).unwrap(), expected, "{path:?}");
        }
    }

    #[test]
    fn cg_1_what_names_no_unit_is_refused() {
        let long = format!("::{}", "x".repeat(250));
        for (path, text) in [
            ("/a/b", "slice:prefix:name"),
            ("a.slice:b", "slice:prefix:name"),
            ("a.slice:b:c:d", "slice:prefix:name"),
            ("a:b:c", "not the name of a slice"),
            (".slice:b:c", "not the name of a slice"),
            ("a--b.slice:b:c", "not the name of a slice"),
            ("-a.slice:b:c", "not the name of a slice"),
            ("a-.slice:b:c", "not the name of a slice"),
            ("a/b.slice:b:c", "not the name of a slice"),
            ("a b.slice:b:c", "not the name of a slice"),
            (&long, "more than 255 bytes"),
        ] {
            let err = base::error::describe(&names(Some(path), "c1", false).unwrap_err());
            assert!(err.starts_with("linux.cgroupsPath: ") && err.contains(text), "{path}: {err}");
        }
    }

    #[test]
    fn a_slice_is_in_the_slices_that_its_name_begins_with() {
        for (slice, expected) in [
            ("machine.slice", "/machine.slice/p-n.scope"),
            ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
            ("-.slice", "/p-n.scope"),
        ] {
            let names = names(Some(&format!("{slice}:p:n")), "c1", false).unwrap();
            assert_eq!(cgroup_path(&names).unwrap(), expected);
        }
    }
}
