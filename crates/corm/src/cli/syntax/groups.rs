//! Groups of verbs, as Podman and Docker have them: other names of the verbs, and those that only a group has.

use base::cli_parser::Group;

/// Defines a group.
const fn group(name: &'static str, about: &'static str, words: &'static [(&'static str, &'static str)]) -> Group {
    Group { name, about, words }
}

/// corm's groups.
pub(super) const GROUPS: &[Group] = &[
    group("container", "Manage containers", CONTAINER),
    group("image", "Manage images", IMAGE),
    group("volume", "Manage volumes", &[("list", "volume ls"), ("remove", "volume rm")]),
    group("manifest", "Make and push lists of images", &[]),
    group("network", "Manage networks", &[("list", "network ls"), ("remove", "network rm")]),
    group("system", "Show disk usage (df), the host (info), or remove unused data (prune)", &[("info", "info")]),
];

/// Words after `container`.
const CONTAINER: &[(&str, &str)] = &[
    ("attach", "attach"),
    ("commit", "commit"),
    ("cp", "cp"),
    ("create", "create"),
    ("diff", "diff"),
    ("exec", "exec"),
    ("export", "export"),
    ("inspect", "inspect"),
    ("kill", "kill"),
    ("list", "ps"),
    ("logs", "logs"),
    ("port", "port"),
    ("ls", "ps"),
    ("pause", "pause"),
    ("ps", "ps"),
    ("remove", "rm"),
    ("rename", "rename"),
    ("restart", "restart"),
    ("rm", "rm"),
    ("run", "run"),
    ("start", "start"),
    ("stats", "stats"),
    ("stop", "stop"),
    ("top", "top"),
    ("unpause", "unpause"),
    ("update", "update"),
    ("wait", "wait"),
];

/// Words after `image`.
const IMAGE: &[(&str, &str)] = &[
    ("diff", "diff"),
    ("history", "history"),
    ("import", "import"),
    ("inspect", "inspect"),
    ("list", "images"),
    ("load", "load"),
    ("ls", "images"),
    ("pull", "pull"),
    ("push", "push"),
    ("remove", "rmi"),
    ("rm", "rmi"),
    ("save", "save"),
    ("tag", "tag"),
    ("untag", "untag"),
];
