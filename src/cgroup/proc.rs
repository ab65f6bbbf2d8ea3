//! The cgroups of a process, `/proc/PID/cgroup`: see cgroups(7). A line is `HIERARCHY:CONTROLLERS:PATH`.

use std::borrow::Cow;

/// One line: a hierarchy and the path of the process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership<'a> {
    /// The hierarchy is that of cgroup v2, whose number is 0.
    pub unified: bool,
    /// The controllers of a v1 hierarchy, or its name: `cpu`, `name=systemd`; empty for v2.
    pub controllers: Vec<&'a str>,
    /// The path below the mount point, as bytes because a container may name its cgroups with any bytes.
    pub path: &'a [u8],
}

impl<'a> Membership<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let (hierarchy, controllers) = (fields.next()?, std::str::from_utf8(fields.next()?).ok()?);
        let controllers = controllers.split(',').filter(|name| !name.is_empty()).collect();
        Some(Membership { unified: hierarchy == b"0", controllers, path: fields.next()? })
    }

    /// Reports whether this is the v1 hierarchy with the controller or name.
    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// The path as text; invalid UTF-8 is replaced.
    pub(crate) fn path_text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.path)
    }
}

/// Parses the text of the file, in its order; skips malformed lines.
pub(crate) fn parse(text: &[u8]) -> Vec<Membership<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(Membership::parse).collect()
}

/// Returns the path in the hierarchy of cgroup v2.
pub(crate) fn unified_path(text: &[u8]) -> Option<&[u8]> {
    parse(text).into_iter().find(|membership| membership.unified).map(|membership| membership.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_versions() {
        let text = b"12:cpu,cpuacct:/a\n1:name=systemd:/b:c\n\nx\n3:memory\n10:pids:/d \xff\n0::/e\n";
        let of = |unified, controllers: &[&'static str], path: &'static [u8]| Membership {
            unified,
            controllers: controllers.to_vec(),
            path,
        };
        let want = [
            of(false, &["cpu", "cpuacct"], b"/a"),
            of(false, &["name=systemd"], b"/b:c"),
            of(false, &["pids"], b"/d \xff"),
            of(true, &[], b"/e"),
        ];
        assert_eq!(parse(text), want);
        assert_eq!(want.map(|membership| membership.path_text().into_owned()), ["/a", "/b:c", "/d \u{fffd}", "/e"]);
    }

    #[test]
    fn a_hierarchy_is_found_by_each_of_its_controllers() {
        let text = b"12:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/e\n";
        for (name, found) in [
            ("cpu", Some("/a")),
            ("cpuacct", Some("/a")),
            ("name=systemd", Some("/b")),
            ("systemd", None),
            ("", None),
            ("memory", None),
        ] {
            let path = parse(text).into_iter().find(|membership| membership.has(name)).map(|it| it.path_text());
            assert_eq!(path.as_deref(), found, "{name}");
        }
    }

    #[test]
    fn the_path_of_version_2() {
        for (text, path) in [
            (&b"1:name=systemd:/b\n0::/e:f\n"[..], Some(&b"/e:f"[..])),
            (b"0::/", Some(b"/")),
            (b"10:pids:/d\n", None),
            (b"", None),
        ] {
            assert_eq!(unified_path(text), path);
        }
    }
}
