"""The images that the engines' own tests pull, made of the machine's static busybox and served by a registry on loopback."""
import os
import subprocess
import time
import urllib.request
from pathlib import Path

from image import make_oci_archive, make_rootfs, make_tar

PORT = 5999
TESTIMAGE_TAG = "20220615"  # of Podman 4.3; the test `image mount` compares it with a file of the image
# name below quay.io/libpod (and docker.io/library), with what differs from the test image
NAMES = ["testimage:" + TESTIMAGE_TAG, "testimage:20221018", "testimage:20210610", "testimage:00000004", "alpine:latest",
         "busybox:latest", "busybox:musl", "busybox:glibc", "ubuntu:latest", "debian:latest", "fedora:31", "alpine_nginx:latest", "testimage:multiimage", "pause:3.5"]
HOSTS = ["quay.io", "docker.io", "registry.fedoraproject.org", "registry.access.redhat.com", "mirror.gcr.io"]
SETTINGS = {"WorkingDir": "/home/podman", "Cmd": ["/bin/echo", "This container is intended for podman CI testing"],
            "Labels": {"created_by": "test/system/build-testimage", "created_at": "2022-06-15T18:56:34Z"}}
PAUSE = "#!/bin/sh\necho Confirmed: testimage pause invoked as $0\nwhile :; do sleep 0.1; done\n"
PRINTENV = "#!/bin/sh\n[ $# -gt 0 ] || exec env\nenv | sed -n \"s/^$1=//p\"\n"
USERS = ["root:x:0:0:root:/root:/bin/sh", "bin:x:1:1:bin:/bin:/sbin/nologin", "daemon:x:2:2:daemon:/sbin:/sbin/nologin",
         "mail:x:8:12:mail:/var/mail:/sbin/nologin", "games:x:35:35:games:/usr/games:/sbin/nologin",
         "guest:x:405:100:guest:/dev/null:/sbin/nologin", "nobody:x:65534:65534:nobody:/:/sbin/nologin"]
GROUPS = ["root:x:0:root", "bin:x:1:root,bin,daemon", "daemon:x:2:root,bin,daemon", "tty:x:5:", "mail:x:12:mail", "wheel:x:10:root",
          "users:x:100:games", "ping:x:999:", "nogroup:x:65533:", "nobody:x:65534:"]


def write(path, text, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def make_test_rootfs(rootfs):
    """Creates what Podman's script build-testimage makes of Alpine's image, as far as busybox alone can be it."""
    make_rootfs(rootfs)
    for place in ("sbin", "usr/bin", "usr/sbin"):
        (rootfs / place).mkdir(parents=True)
        for applet in (rootfs / "bin").iterdir():
            os.symlink("/bin/" + applet.name, rootfs / place / applet.name)
    for name in ("media", "mnt", "opt", "run", "srv", "lib", "usr/lib", "usr/share", "var/log", "var/lib", "var/cache", "etc/apk"):
        (rootfs / name).mkdir(parents=True, exist_ok=True)
    os.symlink("/run", rootfs / "var/run")
    (rootfs / "var/tmp").mkdir()
    (rootfs / "var/tmp").chmod(0o1777)
    write(rootfs / "etc/passwd", "".join(line + "\n" for line in USERS))
    write(rootfs / "etc/group", "".join(line + "\n" for line in GROUPS))
    write(rootfs / "etc/shadow", "root:*::0:::::\n", 0o640)
    write(rootfs / "etc/alpine-release", "3.16.0\n")
    write(rootfs / "etc/os-release", 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.16.0\n')
    write(rootfs / "etc/hosts", "127.0.0.1\tlocalhost localhost.localdomain\n::1\tlocalhost localhost.localdomain\n")
    write(rootfs / "etc/profile", "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n")
    write(rootfs / "etc/services", "http 80/tcp\n")  # the tests of `diff` remove it
    write(rootfs / "bin/printenv", PRINTENV, 0o755)
    os.symlink("busybox", rootfs / "bin/busybox-extras")
    os.symlink("/proc/mounts", rootfs / "etc/mtab")
    write(rootfs / "home/podman/testimage-id", TESTIMAGE_TAG + "\n")
    write(rootfs / "home/podman/pause", PAUSE, 0o755)
    os.utime(rootfs / "home/podman/testimage-id", (1600000000, 1600000000))


def start_registry(work):
    """Starts Debian's docker-registry on loopback and waits until it answers."""
    write(work / "registry.yml", f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/registry}}}}\n"
                                 f"http: {{addr: 127.0.0.1:{PORT}}}\n")
    with open(work / "registry.log", "w") as log:
        subprocess.Popen(["docker-registry", "serve", str(work / "registry.yml")], stdout=log, stderr=log)
    for _ in range(200):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v2/").read()
        except OSError:
            time.sleep(0.05)
    raise SystemExit("engines: the registry does not answer: " + (work / "registry.log").read_text()[-300:])


def serve(work: Path):
    """Makes every image and pushes it to the registry. Returns the tar of the test image's root file system."""
    start_registry(work)
    rootfs, layer, archive = work / "rootfs", work / "rootfs.tar", work / "image.tar"
    make_test_rootfs(rootfs)
    for name in NAMES:
        write(rootfs / "etc/image-name", name + "\n")
        make_tar(rootfs, layer)
        settings = SETTINGS if name.startswith("testimage") else {}
        make_oci_archive(layer, archive, name, settings)
        subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", f"oci-archive:{archive}",
                        f"docker://127.0.0.1:{PORT}/libpod/{name}"], check=True, stdout=subprocess.DEVNULL)
    return layer


def registries_conf():
    """Returns a registries.conf that sends every public registry of the tests to the one on loopback."""
    places = [("docker.io/library", "/libpod"), ("k8s.gcr.io", "/libpod"), ("registry.k8s.io", "/libpod")] + [(host, "") for host in HOSTS]
    tables = "".join(f'[[registry]]\nprefix = "{prefix}"\nlocation = "127.0.0.1:{PORT}{path}"\ninsecure = true\n'
                     for prefix, path in places)
    aliases = "".join(f'{name} = "docker.io/library/{name}"\n' for name in ("busybox", "ubuntu", "php", "alpine", "debian"))
    return ("unqualified-search-registries = ['docker.io', 'quay.io', 'registry.fedoraproject.org']\n" + tables
            + '[[registry]]\nlocation = "localhost:5000"\ninsecure = true\n[aliases]\n' + aliases)
