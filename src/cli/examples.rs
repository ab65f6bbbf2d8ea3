//! An example of each verb and the exit statuses, for `--help` and the man pages. `crates/manual/tests` runs the examples.

/// Lines of shell by verb.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("create", "croci create --bundle ./bundle hello"),
    ("start", "croci start hello"),
    ("run", "croci run --bundle ./bundle hello"),
    ("state", "croci state hello"),
    ("kill", "croci kill hello KILL"),
    ("delete", "croci delete --force hello"),
    ("exec", "croci exec --user 1000 --cwd /tmp --env NAME=VALUE hello sh -c 'id; env'"),
    ("ps", "croci ps hello\ncroci ps --format json hello"),
    ("list", "croci list\ncroci list --quiet"),
    ("pause", "croci pause hello"),
    ("resume", "croci resume hello"),
    ("update", "croci update --memory 64m --pids-limit 100 hello"),
    ("events", "croci events --stats hello"),
    ("spec", "croci spec --rootless --file rootless.json"),
    ("features", "croci features"),
    ("checkpoint", "croci checkpoint --image-path ./images hello"),
    ("restore", "croci restore --image-path ./images --bundle ./bundle --detach hello"),
    ("wait", "croci wait hello"),
    ("why", "croci why hello"),
    ("gc", "croci gc --dry-run"),
    ("validate", "croci validate --bundle ./bundle --host"),
    ("plan", "croci plan --bundle ./bundle"),
    ("explain", "croci explain exec.not_found"),
    (
        "mounts",
        "echo '[{\"destination\": \"/tmp\", \"type\": \"tmpfs\", \"source\": \"tmpfs\"}]' > mounts.json\n\
         croci mounts add hello mounts.json",
    ),
];

/// Exit statuses by verb.
pub(super) const STATUSES: &[(&[&str], &str)] = &[
    (
        &["run"],
        "that of the program, 128 + N if signal N killed it; 1 after an error of croci; 0 with --detach once it runs",
    ),
    (
        &["exec"],
        "that of the process, 128 + N if signal N killed it; 255 after an error of croci; 0 with --detach once it runs",
    ),
    (&["state"], "0; 1 after an error, and with --verify if the container differs from its configuration"),
    (
        &["wait"],
        "0; 1 after an error, also if a container's exit status is not known; those of the programs are printed",
    ),
    (&["validate"], "0; 1 after an error, and if there is a problem"),
    (&["start", "delete"], "0; 1 after an error with one of the containers, the others are done"),
    (&[], "0; 1 after an error; 128 + N if signal N interrupted croci"),
];
