//! Verbs of images and bundles.

use super::*;

pub(super) const CASES: &[Case] = &[
    Case { name: "init", command: |s| s.corm(&["init", &s.path("new/rootfs"), "new"]), ..IMAGE },
    Case { name: "import", command: |s| s.corm(&["import", &s.path("plain.tar"), "new"]), ..IMAGE },
    Case { name: "load", command: |s| s.corm(&["load", "--name", "new", &s.path("new.tar")]), ..IMAGE },
    Case {
        name: "pull",
        command: |s| s.corm(&["pull", "--tls-verify=false", &s.remote("new")]),
        done: |s, _| s.has_image(&s.remote("new")),
        ..IMAGE
    },
    Case {
        name: "push",
        command: |s| s.corm(&["push", "--tls-verify=false", "base", &s.remote("pushed")]),
        done: |s, _| s.take_tag("pushed"),
        ..IMAGE
    },
    Case { name: "commit", command: |s| s.corm(&["commit", "c", "new"]), done: IMAGE.done, ..RUNNING },
    Case { name: "build -q", command: |s| s.corm(&["build", "-q", "-t", "new", &s.path("context")]), ..IMAGE },
    Case {
        name: "untag",
        prepare: |s| drop(s.corm(&["tag", "base", "new"]).out().ok()),
        command: |s| s.corm(&["untag", "base", "new"]),
        done: |s, _| !s.names_image("new"),
        ..IMAGE
    },
    Case { name: "tag", command: |s| s.corm(&["tag", "base", "new"]), ..IMAGE },
    Case { name: "config", command: |s| s.corm(&["config", "--env", "a=b", "base", "new"]), ..IMAGE },
    Case {
        name: "rmi",
        prepare: |s| s.make_new(),
        command: |s| s.corm(&["rmi", "new"]),
        done: |s, _| !s.has_image("new"),
        ..IMAGE
    },
    Case {
        name: "image prune",
        prepare: |s| s.make_unnamed(),
        command: |s| s.corm(&["image", "prune", "-f"]),
        done: |s, _| s.left().is_empty(),
        ..IMAGE
    },
    Case {
        name: "save",
        command: |s| s.corm(&["save", "base", "-o", &s.path("outputs/base.tar")]),
        done: |s, _| same_and_gone(s, "base.tar", &["save", "base", "-o"]),
        ..IMAGE
    },
    Case {
        name: "export",
        command: |s| s.corm(&["export", "base", "-o", &s.path("outputs/tree.tar")]),
        done: |s, _| same_and_gone(s, "tree.tar", &["export", "base", "-o"]),
        ..IMAGE
    },
    Case {
        name: "bundle",
        command: |s| s.corm(&["bundle", "base", &s.path("outputs/bundle")]),
        done: |s, _| {
            let whole = s.output("bundle/config.json") && s.output("bundle/rootfs/data/2/file");
            whole && s.corm(&["unbundle", &s.path("outputs/bundle")]).out().code == Some(0)
        },
        ..IMAGE
    },
    Case {
        name: "unbundle",
        prepare: |s| drop(s.corm(&["bundle", "base", &s.path("outputs/bundle")]).out().ok()),
        command: |s| s.corm(&["unbundle", &s.path("outputs/bundle")]),
        done: |s, _| !s.output("bundle"),
        ..IMAGE
    },
    Case {
        name: "copy to the store",
        command: |s| s.corm(&["copy", "--tls-verify=false", &format!("docker://{}", s.remote("new")), "store:new"]),
        ..IMAGE
    },
    Case {
        name: "copy to a registry",
        command: |s| s.corm(&["copy", "--tls-verify=false", "store:base", &format!("docker://{}", s.remote("pushed"))]),
        done: |s, _| s.take_tag("pushed"),
        ..IMAGE
    },
    Case {
        name: "copy to an archive",
        command: |s| s.corm(&["copy", "store:base", &format!("oci-archive:{}:base", s.path("outputs/base.tar"))]),
        done: |s, _| {
            let archive = s.path("outputs/base.tar");
            let loads = s.corm(&["load", "--name", "new", &archive]).out().code == Some(0) && s.has_image("new");
            std::fs::remove_file(archive).is_ok() && loads
        },
        ..IMAGE
    },
    Case {
        name: "manifest create",
        command: |s| s.corm(&["manifest", "create", "list", "base"]),
        done: |s, _| s.list("list").contains("sha256:"),
        ..IMAGE
    },
    Case {
        name: "manifest add",
        prepare: |s| drop(s.corm(&["manifest", "create", "list"]).out().ok()),
        command: |s| s.corm(&["manifest", "add", "list", "base"]),
        done: |s, _| s.list("list").contains("sha256:"),
        ..IMAGE
    },
    Case {
        name: "manifest annotate",
        prepare: |s| drop(s.corm(&["manifest", "create", "list", "base"]).out().ok()),
        command: |s| s.corm(&["manifest", "annotate", "--annotation", "some=thing", "list", "base"]),
        done: |s, _| s.list("list").contains("thing"),
        ..IMAGE
    },
    Case {
        name: "manifest remove",
        prepare: |s| drop(s.corm(&["manifest", "create", "list", "base"]).out().ok()),
        command: |s| s.corm(&["manifest", "remove", "list", "base"]),
        done: |s, _| !s.list("list").contains("sha256:"),
        ..IMAGE
    },
    Case {
        name: "manifest rm",
        prepare: |s| drop(s.corm(&["manifest", "create", "list", "base"]).out().ok()),
        command: |s| s.corm(&["manifest", "rm", "list"]),
        done: |s, _| s.list("list").is_empty(),
        ..IMAGE
    },
    Case {
        name: "manifest push",
        prepare: |s| drop(s.corm(&["manifest", "create", "list", "base"]).out().ok()),
        command: |s| {
            s.corm(&[
                "manifest",
                "push",
                "--all",
                "--tls-verify=false",
                "list",
                &format!("docker://{}", s.remote("pushed")),
            ])
        },
        done: |s, _| s.take_tag("pushed"),
        ..IMAGE
    },
    Case {
        name: "manifest inspect",
        prepare: |s| drop(s.corm(&["manifest", "create", "list", "base"]).out().ok()),
        command: |s| s.corm(&["manifest", "inspect", "list"]),
        ..PRINTS
    },
    Case {
        name: "build",
        prepare: |s| s.make_context(),
        command: |s| s.corm(&["build", "-t", "new", &s.path("context")]),
        done: |s, _| s.has_file("new", "again", "new 2"),
        ..IMAGE
    },
    // the results of the steps are there, but for the last
    Case {
        name: "build, cached",
        prepare: |s| {
            s.make_context();
            s.build_again();
        },
        command: |s| s.corm(&["build", "-t", "new", &s.path("context")]),
        done: |s, _| s.has_file("new", "again", "new 3"),
        ..IMAGE
    },
    Case { name: "inspect", command: |s| s.corm(&["inspect", "base"]), ..PRINTS },
    Case { name: "images", command: |s| s.corm(&["images"]), done: |_, out| out.stdout.contains("base"), ..PRINTS },
    Case { name: "history", command: |s| s.corm(&["history", "base"]), ..PRINTS },
    Case {
        name: "tags",
        command: |s| s.corm(&["tags", "--tls-verify=false", &format!("{}/new", s.address)]),
        done: |_, out| out.stdout.contains('1'),
        ..PRINTS
    },
];

/// Returns whether an output is what an undisturbed verb writes, and removes it.
fn same_and_gone(scene: &Scene, name: &str, verb: &[&str]) -> bool {
    let other = scene.path("check.tar");
    let mut args = verb.to_vec();
    args.push(&other);
    scene.corm(&args).out().ok();
    let output = Path::new(&scene.path("outputs")).join(name);
    let same = std::fs::read(&output).ok() == std::fs::read(&other).ok();
    std::fs::remove_file(other).unwrap();
    std::fs::remove_file(output).is_ok() && same
}
