"""The images that Kubernetes' critest pulls, made of the machine's busybox and two small programs, behind a registry on loopback."""
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from image import PATH, make_rootfs, make_tar

TYPES = "application/vnd.oci.image."
E2E, STAGING = "e2e-test-images", "k8s-staging-cri-tools"
PASSWD = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\ndefault-user:x:1000:1000::/:/bin/sh\n"
GROUP = "root:x:0:\nnobody:x:65534:\nusers:x:100:\nwww-data:x:33:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"

# writes the pid file and answers on the port of its first argument; what an idle worker of a web server does is not needed
SERVER = r"""
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int yes = 1, s = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(argc > 1 ? atoi(argv[1]) : 80)};
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(s, (struct sockaddr *)&at, sizeof at) || listen(s, 64)) { perror("listen"); return 1; }
    FILE *pid = fopen("/var/run/nginx.pid", "w");
    if (pid) { fprintf(pid, "%d\n", getpid()); fclose(pid); }
    puts("httpd serves"); fflush(stdout);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        char got[4096]; int c = accept(s, 0, 0);
        if (c < 0) continue;
        const char *page = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\nConnection: close\r\n\r\nWelcome to nginx!";
        if (read(c, got, sizeof got) > 0 && write(c, page, strlen(page)) < 0) perror("write");
        shutdown(c, SHUT_WR); close(c);
    }
}
"""
# what Debian's static busybox lacks
SCRIPTS = {
    "ipcs": "cat /proc/sysvipc/shm",
    "pgrep": 'for p in /proc/[0-9]*; do read -r name <$p/comm && [ "$name" = "$1" ] && echo ${p#/proc/}; done 2>/dev/null; true',
}
# of the pod itself: a test looks for `sleep` in the pod's pid namespace
PAUSE = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"
NNP = '#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf("Effective uid: %d\\n", geteuid()); return 0; }\n'


def program(work, name, source):
    """Compiles a static program."""
    path = work / name
    subprocess.run(["cc", "-static", "-O1", "-x", "c", "-o", str(path), "-"], input=source.encode(), check=True)
    return path


class Registry:
    """A registry on loopback, whose images are the same below every name of a host."""

    def __init__(self, work):
        self.blobs, self.tags = {}, {}
        self.layer = self.make_layer(work)
        self.add_all()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                kind, data, digest = registry.find(self.path)
                self.send_response(200 if data is not None else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Docker-Content-Digest", digest)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data or b"")

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"

    def make_layer(self, work):
        rootfs = work / "cri-rootfs"
        make_rootfs(rootfs)
        (rootfs / "etc/passwd").write_text(PASSWD)
        (rootfs / "etc/group").write_text(GROUP)
        for applet in (rootfs / "bin").iterdir():
            if applet.is_symlink():  # hard links, because a test masks one of them
                applet.unlink()
                os.link(rootfs / "bin/busybox", applet)
        for name, text in SCRIPTS.items():
            (rootfs / "bin" / name).unlink(missing_ok=True)
            (rootfs / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (rootfs / "bin" / name).chmod(0o755)
        for directory in ("var/run", "usr/sbin", "mnt"):
            (rootfs / directory).mkdir(parents=True)
        shutil.copy(program(work, "nginx", SERVER), rootfs / "usr/sbin/nginx")
        shutil.copy(program(work, "pause", PAUSE), rootfs / "bin/pause")
        shutil.copy(program(work, "nnp", NNP), rootfs / "nnp")
        os.chmod(rootfs / "nnp", 0o4755)
        make_tar(rootfs, work / "cri.tar")
        return (work / "cri.tar").read_bytes()

    def blob(self, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def add(self, name, tag="latest", **settings):
        """Adds an image; `settings` are of its configuration."""
        packed = gzip.compress(self.layer, 1, mtime=0)
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": [PATH], "Cmd": ["/bin/sh"], **settings},
                             "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(self.layer).hexdigest()]}}).encode()
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": TYPES + "manifest.v1+json",
            "config": {"mediaType": TYPES + "config.v1+json", "digest": self.blob(config), "size": len(config)},
            "layers": [{"mediaType": TYPES + "layer.v1.tar+gzip", "digest": self.blob(packed), "size": len(packed)}]}).encode()
        self.tags[name, tag] = self.blob(manifest)

    def add_all(self):
        web = {"Cmd": ["/usr/sbin/nginx", "80", "master process"]}
        self.add("pause", "3.9", Cmd=["/bin/pause"])
        self.add(f"{E2E}/busybox", "1.29-2")
        self.add(f"{E2E}/nginx", "1.14-2", **web)
        self.add(f"{E2E}/httpd", "2.4.39-4", **web)
        self.add(f"{E2E}/nonewprivs", "1.3", Cmd=["/nnp"], User="1000")
        self.add(f"{STAGING}/hostnet-nginx-amd64", Cmd=["/usr/sbin/nginx", "12003"])
        for name, user in {"uid": "1002", "username": "www-data", "uid-group": "1003:users", "username-group": "www-data:100"}.items():
            self.add(f"{STAGING}/test-image-user-{name}", User=user)
        self.add(f"{STAGING}/test-image-predefined-group", User="1000")
        self.add(f"{STAGING}/test-image-latest", Labels={"name": "latest"})
        for tag in ("test", "all"):
            self.add(f"{STAGING}/test-image-tag", tag, Labels={"name": tag})
        for number in "123":
            self.add(f"{STAGING}/test-image-{number}", Labels={"name": number})
            self.add(f"{STAGING}/test-image-tags", number, Labels={"name": "tags"})

    def find(self, path):
        """Returns (media type, content or None, digest) of a path of the API."""
        parts = path.split("?")[0].removeprefix("/v2/").split("/")
        if len(parts) < 3:
            return "application/json", b"{}", ""
        name, kind, reference = "/".join(parts[:-2]), parts[-2], parts[-1]
        digest = reference if ":" in reference else self.tags.get((name, reference), "")
        media = TYPES + "manifest.v1+json" if kind == "manifests" else "application/octet-stream"
        return media, self.blobs.get(digest), digest
