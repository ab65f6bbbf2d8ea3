//! Short names: names without a registry, and the full names that they mean.

use base::coded;
use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use super::file::Content;
use crate::model::reference::{self, Reference};

/// What the files say of short names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ShortNames {
    aliases: BTreeMap<String, String>,
    search: Option<Vec<String>>,
    mode: Mode,
}

/// Value of `short-name-mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    /// One meaning, or an error: corm asks no questions.
    #[default]
    Enforcing,
    /// Several meanings are tried in order.
    Permissive,
    /// As permissive, without aliases.
    Disabled,
}

impl ShortNames {
    /// Adds a file that is read later.
    pub(super) fn add(&mut self, content: Content) -> Result<()> {
        self.mode = match content.short_name_mode.as_deref() {
            None | Some("") => self.mode,
            Some("enforcing") => Mode::Enforcing,
            Some("permissive") => Mode::Permissive,
            Some("disabled") => Mode::Disabled,
            Some(other) => bail!(coded!(
                RegistryConfig,
                "short-name-mode: {other:?} is none of enforcing, permissive and disabled"
            )),
        };
        self.search = content.unqualified_search_registries.or_else(|| self.search.take());
        for (short, full) in content.aliases {
            // an empty value removes the name
            match full.is_empty() {
                true => drop(self.aliases.remove(&short)),
                false => drop(self.aliases.insert(short, full)),
            }
        }
        Ok(())
    }

    /// Returns the registries in which a short name is looked for.
    pub(super) fn search(&self) -> Option<&[String]> {
        self.search.as_deref().filter(|search| !search.is_empty())
    }

    /// Returns the references that a name may mean.
    pub(super) fn references(&self, text: &str) -> Result<Vec<Reference>> {
        let plain = Reference::parse(text)?;
        let Some((short, version)) = reference::short(text) else { return Ok(vec![plain]) };
        if self.mode != Mode::Disabled
            && let Some(full) = self.aliases.get(short)
        {
            let found = Reference::parse(&format!("{full}{version}"));
            return Ok(vec![found.with_context(|| format!("registries.conf: the alias of {short:?}"))?]);
        }
        let Some(search) = self.search() else { return Ok(vec![plain]) };
        if let (Mode::Enforcing, [_, _, ..]) = (self.mode, search) {
            bail!(coded!(
                ImageName,
                "image name {text:?}: registries.conf has several registries for short names ({}) and \
                 short-name-mode is not permissive: give the full name",
                search.join(", ")
            ));
        }
        let full = |registry: &String| {
            Reference::parse(&format!("{registry}/{text}"))
                .with_context(|| format!("registries.conf: unqualified-search-registries: {registry:?}"))
        };
        search.iter().map(full).collect()
    }
}
