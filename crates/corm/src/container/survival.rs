//! What a power cut must leave of a container, and what is synced for that before its record is.

use super::{Purpose, Setup};
use crate::driver::DriverKind;
use base::fs::atomic_file::Durability;

/// What is synced before the record of a new container is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// Nothing, because a power cut ends the container, and then it is removed.
    Nothing,
    /// Its files one by one; the journal of the file system has the directories of its tree.
    Files,
    /// The file system: a bundle has files of other directories, and a sync of files covers neither a snapshot of btrfs nor a
    /// tree that was copied.
    FileSystem,
}

impl Synced {
    /// Decides for a container of this purpose, removed at its end or not. What `create` completes is synced once more.
    pub fn before_record(purpose: Purpose, remove: bool, driver: DriverKind) -> Self {
        match (purpose, driver) {
            (Purpose::Build, _) => Self::Nothing,
            (Purpose::Bundle, _) => Self::FileSystem,
            (Purpose::Run, _) if remove => Self::Nothing,
            (Purpose::Run, DriverKind::Btrfs | DriverKind::Copy) => Self::FileSystem,
            (Purpose::Run, DriverKind::Overlay | DriverKind::Aufs) => Self::Files,
        }
    }
}

/// Returns what a power cut must leave of a container's record.
pub fn of_record(setup: &Setup) -> Durability {
    match setup.purpose {
        Purpose::Build => Durability::None,
        // found after the cut, it is removed; one that was created only is to be started later
        Purpose::Run if setup.remove && !setup.created => Durability::Content,
        Purpose::Run | Purpose::Bundle => Durability::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_survives_is_synced_before_its_record() {
        use DriverKind::{Aufs, Btrfs, Copy, Overlay};
        for (purpose, remove, driver, synced) in [
            (Purpose::Run, false, Overlay, Synced::Files),
            (Purpose::Run, false, Aufs, Synced::Files),
            (Purpose::Run, false, Btrfs, Synced::FileSystem),
            (Purpose::Run, false, Copy, Synced::FileSystem),
            (Purpose::Run, true, Copy, Synced::Nothing),
            (Purpose::Bundle, false, Overlay, Synced::FileSystem),
            (Purpose::Build, false, Btrfs, Synced::Nothing),
        ] {
            assert_eq!(Synced::before_record(purpose, remove, driver), synced, "{purpose:?} {remove} {driver:?}");
            let record = of_record(&Setup { purpose, remove, ..Setup::default() });
            assert_eq!(synced == Synced::Nothing, record < Durability::Full, "{purpose:?} {remove} {driver:?}");
        }
    }

    #[test]
    fn what_create_completed_survives_also_if_it_is_removed_at_its_end() {
        let setup = Setup { remove: true, created: true, ..Setup::default() };
        assert_eq!(of_record(&setup), Durability::Full);
    }
}
