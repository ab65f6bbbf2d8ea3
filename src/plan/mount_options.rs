//! The parser of `mounts[].options`: the option table of the specification, the options of mount(8), and the rest,
//! which is data for the file system.
//!
//! Pure. `plan::mount` checks which options a kind of mount may have.

use base::coded;
use std::ffi::CStr;

use anyhow::{Result, anyhow, bail};

use crate::config::enums::PROPAGATIONS;
use crate::id_mapping::IdMapping;
use crate::id_mapping::IdMappings;
use base::suggest::did_you_mean;
use linux::mount::ATTR_ATIME_MASK;
use linux::mount::ATTR_NOATIME;
use linux::mount::ATTR_NODEV;
use linux::mount::ATTR_NODIRATIME;
use linux::mount::ATTR_NOEXEC;
use linux::mount::ATTR_NOSUID;
use linux::mount::ATTR_NOSYMFOLLOW;
use linux::mount::ATTR_RDONLY;
use linux::mount::ATTR_RELATIME;
use linux::mount::ATTR_STRICTATIME;

/// The flags that a bind mount loses when other flags are named.
const CLEARED: u64 = ATTR_RDONLY | ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC | ATTR_NOSYMFOLLOW;

/// `relatime` among named access time options, because its attribute is 0.
pub(crate) const NAMED_RELATIME: u64 = 1 << 40;

/// Mount flags to set and to clear; the last option for a flag is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attr {
    /// `ATTR_*` bits.
    pub set: u64,
    /// `ATTR_*` bits.
    pub clear: u64,
}

impl Attr {
    fn on(&mut self, bits: u64) {
        self.set |= bits;
        self.clear &= !bits;
    }

    fn off(&mut self, bits: u64) {
        self.set &= !bits;
        self.clear |= bits;
    }

    /// For the kernel the access time options are one value: clears all their bits, then sets one. As in mount(2), which
    /// has a flag for each, `strictatime` beats `noatime`, and that beats `relatime`, in any order.
    fn atime(&mut self, value: u64) {
        let rank = |value| [ATTR_RELATIME, ATTR_NOATIME, ATTR_STRICTATIME].iter().position(|known| *known == value);
        let before = self.set & ATTR_ATIME_MASK;
        self.off(ATTR_ATIME_MASK);
        self.set |= if rank(before) > rank(value) { before } else { value };
    }

    /// Takes an access time option back: what remains is another that was given, or the kernel's default.
    fn not_atime(&mut self, value: u64) {
        let before = self.set & ATTR_ATIME_MASK;
        self.off(ATTR_ATIME_MASK);
        self.set |= if before == value { ATTR_RELATIME } else { before };
    }

    /// Reports whether there is nothing to change.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Combines both; `other` has precedence.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { set: self.set & !other.clear | other.set, clear: self.clear & !other.set | other.clear }
    }
}

/// One change of propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`.
    pub kind: u64,
    /// The change is for the whole tree.
    pub recursive: bool,
}

/// The option `idmap` or `ridmap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdmapOption {
    /// `ridmap`: the whole tree.
    pub recursive: bool,
    /// `idmap=uids=…;gids=…`; `None`: the mapping of the mount or the container.
    pub custom: Option<CustomMap>,
}

/// `uids=…;gids=…`. The flag of each is set by `@`: host IDs are IDs of the container's user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CustomMap {
    /// `uids=`
    pub uids: (bool, IdMappings),
    /// `gids=`
    pub gids: (bool, IdMappings),
}

/// A parsed list of options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// `bind`: Some(false), `rbind`: Some(true).
    pub bind: Option<bool>,
    /// `remount`
    pub remount: bool,
    /// Flags of this mount alone.
    pub attr: Attr,
    /// A flag of the mount or of the superblock was named, be it to set or to clear.
    pub names_flags: bool,
    /// The access time options that were named and not taken back: `ATTR_*` bits and [`NAMED_RELATIME`].
    pub times: u64,
    /// The access time options that were taken back, such as `atime`.
    pub times_off: u64,
    /// Flags of the whole tree, from the options with `r` in front.
    pub recursive: Attr,
    /// Changes of propagation, in order.
    pub propagation: Vec<Propagation>,
    /// Flags of the superblock: `sync`, `dirsync`, `mand`, `lazytime`.
    pub superblock: Vec<&'static CStr>,
    /// `idmap`, `ridmap`
    pub idmap: Option<IdmapOption>,
    /// `tmpcopyup`
    pub tmpcopyup: bool,
    /// `copy-symlink`
    pub copy_symlink: bool,
    /// `src-nofollow`
    pub src_nofollow: bool,
    /// `dest-nofollow`
    pub dest_nofollow: bool,
    /// `nofail`: a missing source is no error.
    pub nofail: bool,
    /// All other options, unchanged: data for the file system.
    pub data: Vec<String>,
}

impl Options {
    /// Returns the flags of a bind, as mount(2) sets them with MS_REMOUNT: if any flag is named, those that are not named
    /// are cleared, and access times change only when one of their options is named.
    pub(crate) fn of_bind(&self) -> Attr {
        if !self.names_flags {
            return Attr::default();
        }
        let set = self.attr.set & CLEARED;
        let mut attr = Attr { set, clear: CLEARED & !set };
        if self.times != 0 {
            attr.off(ATTR_ATIME_MASK);
            if self.times & ATTR_NODIRATIME == 0 {
                attr.off(ATTR_NODIRATIME);
            } else {
                attr.on(ATTR_NODIRATIME);
            }
            attr.set |= [ATTR_STRICTATIME, ATTR_NOATIME].into_iter().find(|bit| self.times & bit != 0).unwrap_or(0);
        }
        attr
    }

    /// Returns the flags that were named to be cleared: `ATTR_*` bits and [`NAMED_RELATIME`].
    pub(crate) fn named_off(&self) -> u64 {
        self.attr.clear & CLEARED | self.times_off
    }

    fn name_time(&mut self, value: u64, on: bool) {
        let bit = if value == ATTR_RELATIME { NAMED_RELATIME } else { value };
        let (add, remove) =
            if on { (&mut self.times, &mut self.times_off) } else { (&mut self.times_off, &mut self.times) };
        *add |= bit;
        *remove &= !bit;
    }
}

enum Effect {
    On(u64),
    Off(u64),
    Atime(u64),
    NotAtime(u64),
    Super(&'static CStr),
    NotSuper(&'static CStr),
    Nothing,
}

/// Parses an option for a flag of the mount or the superblock. Each also exists with `r` in front, for the whole tree.
fn flag(word: &str) -> Option<Effect> {
    use Effect::{Atime, NotAtime, NotSuper, Nothing, Off, On, Super};
    Some(match word {
        "ro" => On(ATTR_RDONLY),
        "rw" => Off(ATTR_RDONLY),
        "nosuid" => On(ATTR_NOSUID),
        "suid" => Off(ATTR_NOSUID),
        "nodev" => On(ATTR_NODEV),
        "dev" => Off(ATTR_NODEV),
        "noexec" => On(ATTR_NOEXEC),
        "exec" => Off(ATTR_NOEXEC),
        "nodiratime" => On(ATTR_NODIRATIME),
        "diratime" => Off(ATTR_NODIRATIME),
        "nosymfollow" => On(ATTR_NOSYMFOLLOW),
        "symfollow" => Off(ATTR_NOSYMFOLLOW),
        "noatime" => Atime(ATTR_NOATIME),
        "strictatime" => Atime(ATTR_STRICTATIME),
        // relatime is the default of the kernel, without the other two
        "relatime" => Atime(ATTR_RELATIME),
        "norelatime" => NotAtime(ATTR_RELATIME),
        "atime" => NotAtime(ATTR_NOATIME),
        "nostrictatime" => NotAtime(ATTR_STRICTATIME),
        "sync" => Super(c"sync"),
        "async" => NotSuper(c"sync"),
        "dirsync" => Super(c"dirsync"),
        "lazytime" => Super(c"lazytime"),
        "nolazytime" => NotSuper(c"lazytime"),
        "mand" => Super(c"mand"),
        "nomand" => NotSuper(c"mand"),
        // flags of mount(2) that the new mount API does not have, without a visible effect
        "iversion" | "noiversion" | "silent" | "loud" => Nothing,
        _ => return None,
    })
}

fn propagation(word: &str) -> Option<Propagation> {
    let (kind, recursive) = match word {
        "shared" => (libc::MS_SHARED, false),
        "rshared" => (libc::MS_SHARED, true),
        "slave" => (libc::MS_SLAVE, false),
        "rslave" => (libc::MS_SLAVE, true),
        "private" => (libc::MS_PRIVATE, false),
        "rprivate" => (libc::MS_PRIVATE, true),
        "unbindable" => (libc::MS_UNBINDABLE, false),
        "runbindable" => (libc::MS_UNBINDABLE, true),
        _ => return None,
    };
    Some(Propagation { kind, recursive })
}

/// Parses `linux.rootfsPropagation`.
///
/// # Errors
/// An unknown word, which does not mean private (LX-1).
pub(crate) fn root_propagation(word: &str) -> Result<Propagation> {
    propagation(word).ok_or_else(|| {
        let near = did_you_mean(word, PROPAGATIONS.iter().copied());
        anyhow!(coded!(ConfigUnknown, "unknown propagation {word:?}{near}"))
    })
}

/// Parses a list of options.
///
/// # Errors
/// An option that the runtime cannot execute, or a malformed ID mapping.
pub(crate) fn parse(words: &[String]) -> Result<Options> {
    let mut options = Options::default();
    for word in words {
        one(&mut options, word)?;
    }
    Ok(options)
}

fn one(options: &mut Options, word: &str) -> Result<()> {
    match word {
        // Podman sends an empty option
        "" | "defaults" => {}
        "bind" => options.bind = Some(options.bind.unwrap_or(false)),
        "rbind" => options.bind = Some(true),
        "remount" => options.remount = true,
        "tmpcopyup" => options.tmpcopyup = true,
        "copy-symlink" => options.copy_symlink = true,
        "src-nofollow" => options.src_nofollow = true,
        "dest-nofollow" => options.dest_nofollow = true,
        _ => {
            if let Some(change) = propagation(word) {
                options.propagation.push(change);
            } else if let Some(idmap) = idmap(word)? {
                options.idmap = Some(idmap);
            } else if let Some(effect) = flag(word) {
                apply(options, &effect, false);
            } else if let Some(effect) = word.strip_prefix('r').and_then(flag) {
                apply(options, &effect, true);
            } else if !fstab_word(options, word)? {
                options.data.extend(split_data(word));
            }
        }
    }
    Ok(())
}

/// Splits a word at its commas, as the kernel does with the data of mount(2): not at `\\,`, and not in quotes, which the
/// levels of an SELinux context need.
fn split_data(word: &str) -> Vec<String> {
    let (mut words, mut current, mut escaped, mut quoted) = (Vec::new(), String::new(), false, false);
    for letter in word.chars() {
        if letter == ',' && !escaped && !quoted {
            words.push(std::mem::take(&mut current));
            continue;
        }
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        current.push(letter);
    }
    words.push(current);
    words.retain(|word| !word.is_empty());
    words
}

fn apply(options: &mut Options, effect: &Effect, recursive: bool) {
    if !recursive {
        options.names_flags = true;
        match effect {
            Effect::Atime(value) | Effect::On(value @ ATTR_NODIRATIME) => options.name_time(*value, true),
            Effect::NotAtime(value) | Effect::Off(value @ ATTR_NODIRATIME) => options.name_time(*value, false),
            _ => {}
        }
    }
    let attr = if recursive { &mut options.recursive } else { &mut options.attr };
    match effect {
        Effect::On(bits) => attr.on(*bits),
        Effect::Off(bits) => attr.off(*bits),
        Effect::Atime(value) => attr.atime(*value),
        Effect::NotAtime(value) => attr.not_atime(*value),
        Effect::Super(name) => {
            if !options.superblock.contains(name) {
                options.superblock.push(name);
            }
        }
        Effect::NotSuper(name) => options.superblock.retain(|other| other != name),
        Effect::Nothing => {}
    }
}

/// Handles options that mount(8) does not pass to the kernel (MT-8); some imply flags, as in mount(8).
fn fstab_word(options: &mut Options, word: &str) -> Result<bool> {
    let key = word.split('=').next().unwrap_or(word);
    match key {
        "user" | "users" => apply(options, &Effect::On(ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC), false),
        "owner" | "group" if key == word => apply(options, &Effect::On(ATTR_NOSUID | ATTR_NODEV), false),
        "nofail" => options.nofail = true,
        "nouser" | "nousers" | "noowner" | "nogroup" | "auto" | "noauto" | "_netdev" | "comment" | "uhelper"
        | "helper" => {}
        "loop" => bail!(coded!(MountOptions, "option {word:?}: loop devices are not set up by the runtime")),
        _ if key.starts_with("X-") || key.starts_with("x-") => {}
        _ => return Ok(false),
    }
    Ok(true)
}

fn idmap(word: &str) -> Result<Option<IdmapOption>> {
    let (recursive, rest) = match (word.strip_prefix("idmap"), word.strip_prefix("ridmap")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Ok(None),
    };
    if rest.is_empty() {
        return Ok(Some(IdmapOption { recursive, custom: None }));
    }
    let Some(maps) = rest.strip_prefix('=') else { return Ok(None) };
    let custom = custom_map(maps).map_err(|err| err.context(format!("option {word:?}")))?;
    Ok(Some(IdmapOption { recursive, custom: Some(custom) }))
}

fn custom_map(maps: &str) -> Result<CustomMap> {
    let mut custom = CustomMap::default();
    for part in maps.split(';').filter(|part| !part.is_empty()) {
        let (relative, part) = match part.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, part),
        };
        let Some((name, ranges)) = part.split_once('=') else {
            bail!(coded!(MountOptions, "{part:?} is not uids=… or gids=…"))
        };
        let (relative, ranges) = match ranges.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (relative, ranges),
        };
        let ranges = ranges.split('#').map(range).collect::<Result<IdMappings>>()?;
        match name {
            "uids" => custom.uids = (relative, ranges),
            "gids" => custom.gids = (relative, ranges),
            _ => bail!(coded!(MountOptions, "{name:?} is neither uids nor gids")),
        }
    }
    if custom.uids.1.is_empty() || custom.gids.1.is_empty() {
        bail!(coded!(MountOptions, "both uids=… and gids=… are needed"));
    }
    Ok(custom)
}

fn range(text: &str) -> Result<IdMapping> {
    let numbers = text.split('-').map(str::parse::<u32>).collect::<std::result::Result<Vec<_>, _>>();
    match numbers.as_deref() {
        Ok([container, host, size]) => Ok(IdMapping { container: *container, host: *host, size: *size }),
        _ => bail!(coded!(MountOptions, "range {text:?} is not FIRST-FIRST-SIZE")),
    }
}

/// Returns ` (did you mean "X"?)` for the option that may be meant.
pub(crate) fn near(word: &str) -> String {
    const WORDS: &[&str] = &[
        "ro",
        "rw",
        "nosuid",
        "nodev",
        "noexec",
        "suid",
        "dev",
        "exec",
        "bind",
        "rbind",
        "noatime",
        "relatime",
        "strictatime",
        "nodiratime",
        "nosymfollow",
        "sync",
        "async",
        "remount",
        "idmap",
        "ridmap",
        "rro",
        "rnosuid",
        "rnodev",
        "rnoexec",
        "tmpcopyup",
        "copy-symlink",
        "src-nofollow",
        "dest-nofollow",
        "nofail",
        "defaults",
    ];
    did_you_mean(word, WORDS.iter().chain(PROPAGATIONS).copied())
}

/// Reports whether an option is file system data that callers write for binds, or one of Podman's and Buildah's for
/// relabelling and changing owners (`z`, `Z`, `U`), which they pass on. None is refused, because none has ever had an
/// effect in a runtime.
pub(crate) fn is_ignored_on_bind(word: &str) -> bool {
    let key = word.split('=').next().unwrap_or(word);
    matches!(
        key,
        "z" | "Z" | "U" | "mode" | "size" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "huge" | "mpol" | "ptmxmode"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn options(words: &[&str]) -> Options {
        parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn refused(words: &[&str]) -> String {
        let words = words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        base::error::describe(&parse(&words).unwrap_err())
    }

    #[test]
    fn part_5_every_word_of_the_specification_is_known() {
        let words = "async sync atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime \
            defaults dev nodev exec noexec suid nosuid ro rw dirsync remount bind rbind private rprivate shared rshared \
            slave rslave unbindable runbindable iversion noiversion lazytime nolazytime loud silent mand nomand \
            nosymfollow symfollow rro rrw rnosuid rsuid rnodev rdev rnoexec rexec rnodiratime rdiratime rrelatime \
            rnorelatime rnoatime ratime rstrictatime rnostrictatime rnosymfollow rsymfollow tmpcopyup idmap ridmap \
            copy-symlink src-nofollow dest-nofollow rsync rdirsync rmand";
        for word in words.split_whitespace() {
            assert_eq!(options(&[word]).data, Vec::<String>::new(), "{word}");
        }
    }

    #[test]
    fn the_last_option_for_a_flag_is_used() {
        assert_eq!(options(&["ro", "rw"]).attr, Attr { set: 0, clear: ATTR_RDONLY });
        assert_eq!(options(&["rw", "ro"]).attr, Attr { set: ATTR_RDONLY, clear: 0 });
        assert_eq!(options(&["user", "exec"]).attr, Attr { set: ATTR_NOSUID | ATTR_NODEV, clear: ATTR_NOEXEC });
    }

    #[test]
    fn access_times_are_one_value() {
        for (words, set) in [
            (&["noatime"][..], ATTR_NOATIME),
            (&["noatime", "strictatime"], ATTR_STRICTATIME),
            (&["noatime", "relatime"], ATTR_NOATIME),
            (&["strictatime", "relatime"], ATTR_STRICTATIME),
            (&["strictatime", "noatime"], ATTR_STRICTATIME),
            (&["noatime", "atime"], ATTR_RELATIME),
            (&["atime"], ATTR_RELATIME),
            (&["strictatime", "atime"], ATTR_STRICTATIME),
            (&["strictatime", "nostrictatime"], ATTR_RELATIME),
            (&["nodiratime", "noatime"], ATTR_NOATIME | ATTR_NODIRATIME),
        ] {
            let attr = options(words).attr;
            assert_eq!((attr.set, attr.clear), (set, ATTR_ATIME_MASK), "{words:?}");
        }
    }

    #[test]
    fn mt_9_a_named_flag_clears_those_of_the_source_that_are_not_named() {
        assert_eq!(options(&["rbind", "rprivate", "defaults", "rro"]).of_bind(), Attr::default());
        let all = CLEARED;
        for (words, set, clear, named_off) in [
            (&["bind", "dev"][..], 0, all, ATTR_NODEV),
            (&["bind", "ro"], ATTR_RDONLY, all & !ATTR_RDONLY, 0),
            (&["bind", "silent"], 0, all, 0),
            // access times: nothing is named, or only that something is not asked for
            (&["bind", "atime"], 0, all, ATTR_NOATIME),
            (&["bind", "norelatime"], 0, all, NAMED_RELATIME),
            (&["bind", "diratime"], 0, all, ATTR_NODIRATIME),
            (&["bind", "noatime", "atime"], 0, all, ATTR_NOATIME),
            (&["bind", "nodiratime"], ATTR_NODIRATIME, all | ATTR_ATIME_MASK, 0),
            (&["bind", "relatime"], 0, all | ATTR_ATIME_MASK | ATTR_NODIRATIME, 0),
            (&["bind", "noatime", "relatime"], ATTR_NOATIME, all | ATTR_ATIME_MASK | ATTR_NODIRATIME, 0),
            (&["bind", "nodiratime", "norelatime"], ATTR_NODIRATIME, all | ATTR_ATIME_MASK, NAMED_RELATIME),
            (&["bind", "noatime", "strictatime"], ATTR_STRICTATIME, all | ATTR_ATIME_MASK | ATTR_NODIRATIME, 0),
        ] {
            let parsed = options(words);
            assert_eq!((parsed.of_bind(), parsed.named_off()), (Attr { set, clear }, named_off), "{words:?}");
        }
    }

    #[test]
    fn recursive_options_are_separate() {
        let parsed = options(&["rbind", "rro", "nosuid", "rnoatime"]);
        assert_eq!(parsed.bind, Some(true));
        assert_eq!(parsed.attr, Attr { set: ATTR_NOSUID, clear: 0 });
        assert_eq!(parsed.recursive, Attr { set: ATTR_RDONLY | ATTR_NOATIME, clear: ATTR_ATIME_MASK });
    }

    #[test]
    fn mt_8_words_of_mount_8_are_not_data() {
        let parsed =
            options(&["nofail", "_netdev", "X-mount.mkdir=0700", "x-systemd.requires=/y", "comment=a,b", "auto"]);
        assert!(parsed.nofail && parsed.data.is_empty(), "{:?}", parsed.data);
        assert!(refused(&["loop"]).contains("\"loop\""));
    }

    #[test]
    fn unknown_words_are_data_in_order() {
        assert_eq!(options(&["mode=755", "", "ro", "size=1k,x=y,"]).data, ["mode=755", "size=1k", "x=y"]);
        assert_eq!(options(&["lowerdir=/a\\,b:/c,index=off"]).data, ["lowerdir=/a\\,b:/c", "index=off"]);
        assert_eq!(options(&["context=\"u:r:t:s0:c1,c2\",x"]).data, ["context=\"u:r:t:s0:c1,c2\"", "x"]);
        assert_eq!(options(&["user_xattr", "grpid", "idmapped"]).data, ["user_xattr", "grpid", "idmapped"]);
    }

    #[test]
    fn mi_1_custom_maps() {
        let parsed = options(&["ridmap=uids=0-1-10#10-11-20;gids=@0-100-10"]).idmap.unwrap();
        assert!(parsed.recursive);
        let custom = parsed.custom.unwrap();
        assert_eq!(custom.uids, (false, [(0, 1, 10), (10, 11, 20)].into()));
        assert_eq!(custom.gids, (true, [(0, 100, 10)].into()));
        for bad in ["idmap=", "idmap=uids=0-1-2", "idmap=uids=0-1;gids=0-1-2", "idmap=uids=a-1-2;gids=0-0-1"] {
            assert!(refused(&[bad]).contains(bad), "{bad}");
        }
    }

    #[test]
    fn lx_1_unknown_propagation_is_an_error() {
        assert!(root_propagation("sharred").is_err());
        assert_eq!(root_propagation("rslave").unwrap(), Propagation { kind: libc::MS_SLAVE, recursive: true });
    }
}
