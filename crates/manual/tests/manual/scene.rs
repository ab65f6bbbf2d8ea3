//! A directory in which the commands of the manual run: croci and corm in PATH with a state of their own, a root file
//! system, an image, and a registry that answers for docker.io.

use std::fs::File;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use test_support::{Cmd, Out, Proc, Sandbox, bundle, wait_for};

pub(crate) struct Scene {
    pub sandbox: Arc<Sandbox>,
    /// The ordinary user who runs the commands; `None`: root.
    user: Option<u32>,
    registry: Option<Proc>,
    /// Held by root's scene, because IDs such as `hello` are names of cgroups, of which the machine has one each.
    _alone: Option<File>,
}

impl Scene {
    /// Creates one of root, without a registry.
    pub(crate) fn new() -> Scene {
        let alone = File::create(std::env::temp_dir().join("croci-manual.lock")).unwrap();
        alone.lock().unwrap();
        let sandbox = Sandbox::new();
        let bin = sandbox.mkdir("bin");
        let root = sandbox.root.display();
        for (name, flags, path) in [
            ("croci", format!("--root {root}"), test_support::runtime()),
            ("corm", String::new(), test_support::corm()),
        ] {
            sandbox.program("ln").arg("-s").arg(&path).arg(bin.join(format!("{name}-real"))).out().ok();
            sandbox.script(&format!("bin/{name}"), &format!("#!/bin/sh\nexec {} {flags} \"$@\"\n", path.display()));
        }
        let rootfs = bundle::make_rootfs(&sandbox.mkdir("work"));
        sandbox.program("ln").args(["-s", "busybox"]).arg(rootfs.join("bin/httpd")).out().ok();
        Scene { sandbox, user: None, registry: None, _alone: Some(alone) }
    }

    /// Starts a registry at localhost:5000 that answers for docker.io, too, and has busybox of the store; in a network
    /// namespace of this thread, because the port may be in use on this machine.
    pub(crate) fn with_registry(mut self) -> Scene {
        linux::process::unshare(libc::CLONE_NEWNET).unwrap();
        self.shell("ip link set lo up").ok();
        let data = self.sandbox.mkdir("registry");
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  delete:\n    enabled: true\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:5000\n",
            data.display()
        );
        let config = self.sandbox.write("registry.yml", config);
        let insecure = "insecure = true\n[[registry]]\nlocation = 'localhost:5000'\ninsecure = true\n";
        let conf = format!("[[registry]]\nprefix = 'docker.io'\nlocation = 'localhost:5000'\n{insecure}");
        self.sandbox.write("registries.conf", conf);
        let limit = Duration::from_secs(100_000);
        self.registry = Some(self.sandbox.program("docker-registry").arg("serve").arg(config).limit(limit).spawn());
        wait_for("the registry answers", || std::net::TcpStream::connect("127.0.0.1:5000").is_ok());
        self.shell("corm push --quiet busybox localhost:5000/library/busybox:latest").ok();
        self
    }

    /// The directory in which commands run.
    pub(crate) fn dir(&self) -> PathBuf {
        self.sandbox.path("work")
    }

    /// Creates one of an ordinary user with subordinate IDs, which this thread and its commands see; `None`: there can be
    /// none. The image and the registry are of root's scene `of`.
    pub(crate) fn of_user(of: &Scene) -> Option<Scene> {
        let (id, _) = test_support::user::with_subordinate_ids()?;
        let sandbox = Sandbox::new();
        let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        open(&sandbox.dir, 0o755);
        let bin = sandbox.mkdir("bin");
        for path in [test_support::runtime(), test_support::corm()] {
            let name = if path == test_support::corm() { "corm" } else { "croci" };
            // by another process, because a descriptor that is open for writing could be inherited
            sandbox.program("cp").arg(path).arg(bin.join(name)).out().ok();
            open(&bin.join(name), 0o755);
        }
        for (name, mode) in [("work", 0o755), ("run", 0o700)] {
            let dir = sandbox.mkdir(name);
            chown(&dir, Some(id), Some(id)).unwrap();
            open(&dir, mode);
        }
        sandbox.program("cp").arg(of.sandbox.path("registries.conf")).arg(&sandbox.dir).out().ok();
        Some(Scene { sandbox, user: Some(id), registry: None, _alone: None })
    }

    /// Prepares a program with the environment of the scene.
    pub(crate) fn program(&self, name: &str) -> Cmd {
        let usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let cmd = match self.user.map(|id| id.to_string()) {
            None => self.sandbox.program(name),
            Some(id) => {
                let cmd = self.sandbox.program("setpriv").args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
                cmd.env("XDG_RUNTIME_DIR", self.sandbox.path("run")).arg(name)
            }
        };
        let cmd = cmd.cwd(self.dir());
        let cmd = cmd.env("PATH", format!("{}:{usual}", self.sandbox.path("bin").display()));
        let cmd = cmd.env("HOME", self.sandbox.path("work"));
        // a user's is below the home directory
        let cmd = if self.user.is_none() { cmd.env("CORM_ROOT", self.sandbox.path("store")) } else { cmd };
        cmd.env("CONTAINERS_REGISTRIES_CONF", self.sandbox.path("registries.conf"))
    }

    /// Runs lines of shell; the first that fails ends them.
    pub(crate) fn shell(&self, script: &str) -> Out {
        self.program("bash").args(["-e", "-u", "-o", "pipefail", "-c", script]).out()
    }

    /// Creates the image `busybox` of the root file system.
    pub(crate) fn image(self) -> Scene {
        self.shell("corm init rootfs busybox:latest").ok();
        self
    }

    /// Creates `./bundle`, whose program is a line of shell.
    pub(crate) fn bundle(self, command: &str) -> Scene {
        let edit = "mkdir bundle && cp -r rootfs bundle/rootfs && croci spec --bundle bundle && sed -i \
             -e 's/\"terminal\": *true/\"terminal\": false/' bundle/config.json";
        self.shell(edit).ok();
        let file = self.dir().join("bundle/config.json");
        let mut config: test_support::Value = serde_json_of(&file);
        config["process"]["args"] = test_support::json!(["sh", "-c", command]);
        std::fs::write(file, config.to_string()).unwrap();
        self
    }
}

fn serde_json_of(file: &Path) -> test_support::Value {
    std::fs::read_to_string(file).unwrap().parse().unwrap()
}

impl Drop for Scene {
    fn drop(&mut self) {
        let end = "corm rm -fa; corm volume rm -fa; croci list -q | xargs -r croci delete --force";
        let _ = self.program("sh").args(["-c", end]).command.output();
    }
}
