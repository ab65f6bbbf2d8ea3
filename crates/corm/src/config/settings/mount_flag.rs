//! `--mount`: key and value pairs for a bind mount, a volume, or a file system in memory.

use anyhow::{Context as _, Result, bail, ensure};
use base::coded;

use super::tmpfs::Tmpfs;
use crate::config::volume;
use crate::config::volume::Volume;
use base::cli_parser::values;

/// A parsed `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A bind mount, or a volume.
    Volume(Volume),
    /// A file system in memory.
    Tmpfs(Tmpfs),
}

/// The keys of one `--mount`.
#[derive(Debug, Default)]
struct Keys<'a> {
    kind: Option<&'a str>,
    source: Option<&'a str>,
    destination: Option<&'a str>,
    options: Vec<String>,
}

/// Parses `type=TYPE,KEY[=VALUE],...`; the type is `volume` by default, as in Docker and Podman.
///
/// # Errors
/// An unknown type or key, a value that a key does not take, a missing source or destination.
pub fn parse(text: &str) -> Result<Mount> {
    let mut keys = Keys::default();
    for part in text.split(',') {
        let (key, value) = part.split_once('=').map_or((part, None), |(key, value)| (key, Some(value)));
        keys.add(key, value).with_context(|| format!("{part:?}"))?;
    }
    let destination = keys.destination.context("destination is missing")?;
    match keys.kind.unwrap_or("volume") {
        "bind" => {
            let source = keys.source.context("source is missing")?;
            volume::bind(source, destination, &keys.options_of_volume()?).map(Mount::Volume)
        }
        "volume" => volume::of_store(keys.source, destination, &keys.options_of_volume()?).map(Mount::Volume),
        "tmpfs" => {
            ensure!(keys.source.is_none(), coded!(UsageValue, "a tmpfs has no source"));
            let options = keys.options.iter().map(|option| option.trim_start_matches("tmpfs-").to_owned()).collect();
            Tmpfs::new(destination, options).map(Mount::Tmpfs)
        }
        other => bail!(coded!(UsageValue, "type {other:?}: must be bind, volume or tmpfs")),
    }
}

impl<'a> Keys<'a> {
    /// Returns the options of a bind mount or volume.
    fn options_of_volume(&self) -> Result<Vec<&str>> {
        let of_tmpfs = self.options.iter().any(|option| option.starts_with("tmpfs-"));
        ensure!(!of_tmpfs, coded!(UsageValue, "tmpfs-size and tmpfs-mode are of a tmpfs"));
        Ok(self.options.iter().map(String::as_str).collect())
    }

    fn add(&mut self, key: &'a str, value: Option<&'a str>) -> Result<()> {
        let need = || value.filter(|value| !value.is_empty()).context("needs a value");
        let is_on = || value.map_or(Ok(true), values::parse_bool);
        match key {
            "type" => self.kind = Some(need()?),
            "src" | "source" => self.source = Some(need()?),
            "dst" | "destination" | "target" => self.destination = Some(need()?),
            "ro" | "readonly" => self.options.push(if is_on()? { "ro" } else { "rw" }.to_owned()),
            "rw" => self.options.push(if is_on()? { "rw" } else { "ro" }.to_owned()),
            "bind-propagation" => self.options.push(need()?.to_owned()),
            "bind-nonrecursive" => self.options.push(if is_on()? { "bind" } else { "rbind" }.to_owned()),
            "bind-recursive" => match need()? {
                "enabled" => self.options.push("rbind".to_owned()),
                "disabled" => self.options.push("bind".to_owned()),
                _ => bail!(coded!(UsageValue, "must be enabled or disabled")),
            },
            "relabel" => match need()? {
                "shared" => self.options.push("z".to_owned()),
                "private" => self.options.push("Z".to_owned()),
                _ => bail!(coded!(UsageValue, "must be shared or private")),
            },
            "U" | "chown" if is_on()? => self.options.push("U".to_owned()),
            "U" | "chown" => {}
            "tmpfs-size" => self.options.push(format!("tmpfs-size={}", need()?)),
            "tmpfs-mode" => self.options.push(format!("tmpfs-mode={}", need()?)),
            "tmpcopyup" | "notmpcopyup" if is_on()? => self.options.push(key.to_owned()),
            "volume-nocopy" if is_on()? => self.options.push("nocopy".to_owned()),
            // of desktops: without an effect on these mounts
            "consistency" | "volume-nocopy" => {}
            "suid" | "nosuid" | "dev" | "nodev" | "exec" | "noexec" | "private" | "rprivate" | "shared" | "rshared"
            | "slave" | "rslave" | "unbindable" | "runbindable" | "z" | "Z" | "O" => {
                ensure!(value.is_none(), coded!(UsageValue, "takes no value"));
                self.options.push(key.to_owned());
            }
            _ => bail!(coded!(UsageValue, "unknown key")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn mounts_have_a_type_and_keys() {
        let Mount::Volume(volume) = parse("type=bind,src=/tmp,dst=/x,ro,bind-propagation=rslave").unwrap() else {
            panic!()
        };
        assert!(volume.read_only && volume.options == ["rslave"] && volume.source.is_absolute());
        let Mount::Volume(volume) = parse("type=bind,source=/tmp,target=/x,readonly=false,bind-nonrecursive").unwrap()
        else {
            panic!()
        };
        assert!(!volume.read_only && volume.options == ["bind"]);
        let wanted = Tmpfs::parse("/x:size=1m,mode=700").unwrap();
        assert_eq!(parse("type=tmpfs,destination=/x,tmpfs-size=1m,tmpfs-mode=700").unwrap(), Mount::Tmpfs(wanted));
        let Mount::Volume(volume) = parse("type=volume,src=data,dst=/x,volume-nocopy,ro").unwrap() else { panic!() };
        assert!(volume.is_named("data") && volume.read_only && !volume.copies_up());
        let Mount::Volume(volume) = parse("dst=/x,U").unwrap() else { panic!() };
        assert!(volume.name.is_none() && volume.source.as_os_str().is_empty() && volume.chown);
        for bad in [
            "",
            "type=volume,src=/tmp,dst=/x",
            "type=volume,src=data,dst=/x,tmpfs-size=1m",
            "type=bind,dst=/x",
            "type=bind,src=/tmp",
            "type=bind,src=/no/such,dst=/x",
            "type=bind,src=/tmp,dst=/x,tmpfs-size=1m",
            "type=tmpfs,src=/tmp,dst=/x",
            "type=image,src=a,dst=/x",
            "type=bind,src=/tmp,dst=/x,ro=maybe",
            "type=bind,src=/tmp,dst=/x,what",
            "type=bind,src=/tmp,dst=/x,ro,ro",
            "type=tmpfs,dst=/proc",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
