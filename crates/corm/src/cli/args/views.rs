//! Arguments of the verbs that show something.

use jiff::Timestamp;

use crate::view::filter::Filters;
use crate::view::listing::Format;

/// Arguments that the lists of images and containers share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// IDs only.
    pub quiet: bool,
    /// Whole IDs and commands.
    pub no_trunc: bool,
    /// No headings.
    pub noheading: bool,
    /// Filters.
    pub filters: Filters,
    /// Format.
    pub format: Format,
}

/// Orders of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImageOrder {
    /// The newest first.
    #[default]
    Created,
    /// By ID.
    Id,
    /// By repository, then tag.
    Repository,
    /// The smallest first.
    Size,
    /// By tag.
    Tag,
}

/// Arguments of `images`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Images {
    /// Common ones.
    pub list: List,
    /// Show digests.
    pub digests: bool,
    /// Order.
    pub order: ImageOrder,
}

/// Orders of containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ContainerOrder {
    /// The oldest first.
    #[default]
    Created,
    /// By command.
    Command,
    /// By ID.
    Id,
    /// By the image's name.
    Image,
    /// By name.
    Names,
    /// The smallest first.
    Size,
    /// By status.
    Status,
}

/// Arguments of `ps`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ps {
    /// Common ones.
    pub list: List,
    /// Include stopped containers.
    pub all: bool,
    /// Only this number of containers, the last created.
    pub last: Option<usize>,
    /// Show sizes.
    pub size: bool,
    /// Order.
    pub order: ContainerOrder,
}

/// Kinds of things that `inspect` finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// An image or a container.
    #[default]
    All,
    /// An image.
    Image,
    /// A container.
    Container,
}

/// Arguments of `inspect`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspect {
    /// Names.
    pub names: Vec<String>,
    /// What is looked for.
    pub kind: Kind,
    /// Measure containers.
    pub size: bool,
    /// Format of each.
    pub format: Format,
}

/// Arguments of `history`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Image.
    pub image: String,
    /// IDs only.
    pub quiet: bool,
    /// Whole IDs and commands.
    pub no_trunc: bool,
    /// Sizes and times for people instead of bytes and RFC 3339.
    pub human: bool,
    /// Format.
    pub format: Format,
}

/// Arguments of `diff`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    /// Image or container.
    pub what: String,
    /// Print JSON.
    pub json: bool,
}

/// Arguments of `logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logs {
    /// Containers.
    pub containers: Vec<String>,
    /// Follow until the container ends.
    pub follow: bool,
    /// Number of last lines; absent: all.
    pub tail: Option<u64>,
    /// Lines written at this time or later.
    pub since: Option<Timestamp>,
    /// Lines written before this time.
    pub until: Option<Timestamp>,
    /// Print the time of each line.
    pub timestamps: bool,
    /// Print the container's name before each line.
    pub names: bool,
}

/// Arguments of `system df`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemDf {
    /// Format.
    pub format: Format,
    /// List each image and container.
    pub verbose: bool,
}
