#!/usr/bin/env python3
"""session.py FILE.svg: record the session that the README shows. CROCI and CORM name the programs; root.

The commands below run one after another in a directory of their own, with an image from a registry on loopback (Debian's
docker-registry) that answers for docker.io. What they print is drawn as it came, with the time that each took.
"""
import html
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import time

SESSION = [
    "corm pull --quiet busybox",
    "corm run --rm busybox echo hello",
    "corm bundle busybox ./b && sed -i 's/\"sh\"/\"sleep\", \"1000\"/' b/config.json",
    "croci run --detach --bundle ./b web < /dev/null > /dev/null 2>&1 && croci list",
    "croci exec web ps",
    "croci exec web no-such-program",
    "croci explain exec.not_found",
    "croci update --memory 8m web; croci exec web tail /dev/zero",
    "croci why web",
    "croci delete --force web",
]
COLUMNS, LINE, CHAR, MARGIN = 112, 17, 7.83, 16


def prepare(work):
    """Programs, a registry and the image in it; returns the environment and the registry."""
    tools = os.path.join(work, "bin")
    os.makedirs(tools)
    croci, corm = (os.path.realpath(os.environ[name]) for name in ("CROCI", "CORM"))
    for name, line in (("croci", f'{croci} --root {work}/state'), ("corm", f'{corm} --runtime {croci}')):
        path = os.path.join(tools, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {line} "$@"\n')
        os.chmod(path, 0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    with open(f"{work}/registry.yml", "w", encoding="utf-8") as file:
        file.write(f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {work}/registry}}}}\nhttp: {{addr: '{address}'}}\n")
    with open(f"{work}/registries.conf", "w", encoding="utf-8") as file:
        file.write(f"[[registry]]\nprefix = 'docker.io'\nlocation = '{address}'\ninsecure = true\n")
    env = {"PATH": f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": work, "CORM_ROOT": f"{work}/store",
           "CONTAINERS_REGISTRIES_CONF": f"{work}/registries.conf"}
    registry = subprocess.Popen(["docker-registry", "serve", f"{work}/registry.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    make = ("mkdir -p rootfs/bin rootfs/etc rootfs/tmp && cp /bin/busybox rootfs/bin && chroot rootfs /bin/busybox --install -s /bin && "
            f"corm init rootfs busybox && corm push --quiet --tls-verify=false busybox {address}/library/busybox && corm rmi busybox && rm -r rootfs")
    for _ in range(50):
        with socket.socket() as there:
            if there.connect_ex(("127.0.0.1", int(address.split(":")[1]))) == 0:
                break
        time.sleep(0.1)
    subprocess.run(make, shell=True, cwd=work, env=env, check=True, stdout=subprocess.DEVNULL)
    return env, registry


def record(work, env):
    """Runs the session; returns lines of (class, text, time)."""
    lines = []
    for command in SESSION:
        begin = time.monotonic()
        done = subprocess.run(["bash", "-c", command], cwd=work, env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        took = f"{(time.monotonic() - begin) * 1000:.0f} ms"
        lines.append(("command", "$ " + command, took))
        for line in done.stdout.decode(errors="replace").replace(work, "~").splitlines():
            kind = "error" if line.startswith("croci: error") else "output"
            parts = textwrap.wrap(line, COLUMNS, subsequent_indent="    ") if len(line) > COLUMNS else [line]
            lines += [(kind, part, "") for part in parts]
    return lines


def draw(lines):
    """Returns the picture."""
    width, height = int(COLUMNS * CHAR + 2 * MARGIN), len(lines) * LINE + 2 * MARGIN
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
           "<style>text{font:13px ui-monospace,Menlo,Consolas,monospace;white-space:pre;fill:#c9d1d9}.command{fill:#fff;font-weight:bold}"
           ".error{fill:#ffa198}.time{fill:#6e7681;text-anchor:end}</style>",
           f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>']
    for number, (kind, text, took) in enumerate(lines):
        y = MARGIN + LINE * number + 12
        out.append(f'<text class="{kind}" x="{MARGIN}" y="{y}" xml:space="preserve">{html.escape(text)}</text>')
        if took:
            out.append(f'<text class="time" x="{width - MARGIN}" y="{y}">{took}</text>')
    return "\n".join(out + ["</svg>", ""])


def main():
    if len(sys.argv) != 2 or os.geteuid() != 0:
        sys.exit("usage, as root: CROCI=PATH CORM=PATH session.py FILE.svg")
    work, registry = tempfile.mkdtemp(prefix="croci-session-"), None
    try:
        env, registry = prepare(work)
        lines = record(work, env)
    finally:
        if registry:
            registry.kill()
            registry.wait()
        subprocess.run("croci list -q | xargs -r croci delete --force; corm unbundle b; corm rm -fa", shell=True, cwd=work, check=False,
                       env={"PATH": f"{work}/bin:/usr/bin:/bin", "CORM_ROOT": f"{work}/store", "HOME": work},
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(work, ignore_errors=True)
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(draw(lines))


if __name__ == "__main__":
    main()
