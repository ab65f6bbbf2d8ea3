//! The parsed command line, a type for each verb.

mod build;
mod common;
mod container;
mod image;
mod manifest;
mod network;
mod registry;
mod run;
mod system;
pub mod views;
mod volume;

pub use build::{Build, ImageFlags};
pub use common::{Caller, Global, LogLevel};
pub use container::{
    Attach, Commit, ContainerVerb, CopyFiles, Exec, Rm, Selection, Start, Stats, StopHow, Update, Wait,
};
pub use image::{Archive, Config, ImageVerb, Pull, Push, Save};
pub use manifest::{EntryChange, ManifestVerb};
pub use network::NetworkVerb;
pub use registry::{Copy, Login, Logout, Recompress, RegistryVerb, Remote, Search};
pub use run::{PullPolicy, Run};
pub use system::{SystemPrune, SystemVerb};
pub use volume::{VolumeCreate, VolumeList, VolumeVerb};

/// A verb with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// A verb on images.
    Image(ImageVerb),
    /// A verb on containers.
    Container(ContainerVerb),
    /// A verb on lists of images.
    Manifest(Box<ManifestVerb>),
    /// A verb on registries.
    Registry(RegistryVerb),
    /// A verb on volumes.
    Volume(VolumeVerb),
    /// A verb on the store as a whole.
    System(SystemVerb),
    /// A verb on networks.
    Network(NetworkVerb),
}

impl From<NetworkVerb> for Verb {
    fn from(verb: NetworkVerb) -> Self {
        Self::Network(verb)
    }
}

impl From<ImageVerb> for Verb {
    fn from(verb: ImageVerb) -> Self {
        Self::Image(verb)
    }
}

impl From<ContainerVerb> for Verb {
    fn from(verb: ContainerVerb) -> Self {
        Self::Container(verb)
    }
}

impl From<ManifestVerb> for Verb {
    fn from(verb: ManifestVerb) -> Self {
        Self::Manifest(Box::new(verb))
    }
}

impl From<RegistryVerb> for Verb {
    fn from(verb: RegistryVerb) -> Self {
        Self::Registry(verb)
    }
}

impl From<VolumeVerb> for Verb {
    fn from(verb: VolumeVerb) -> Self {
        Self::Volume(verb)
    }
}

impl From<SystemVerb> for Verb {
    fn from(verb: SystemVerb) -> Self {
        Self::System(verb)
    }
}
