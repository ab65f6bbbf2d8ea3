#!/usr/bin/env python3
"""image.py CORM CROCI [--n N] [--drivers overlay,btrfs,copy] [--dir DIR]: corm against umoci and Podman, on one image.

One image of about 300 MB in three gzip layers, made of files of this machine, in a registry on loopback; each round
unpacks it with every tool in turn, into stores that are new each time, on one file system. Then bundles and containers
of the image that is already unpacked. Prints medians, ratios, and PASS or OVER for each figure that has a bound.
Needs root and: docker-registry skopeo umoci podman btrfs-progs.
"""
import argparse, contextlib, gzip, hashlib, io, json, os, resource, shutil, signal, socket, statistics, subprocess, sys, tarfile
import tempfile, time

GZIP_LEVEL = 6
LAYERS = [(195 << 20, 9000), (95 << 20, 5000), (9 << 20, 700)]
FROM = ["/usr/bin", "/usr/lib", "/usr/share", "/usr/include"]


def candidates():
    for top in FROM:
        for directory, subdirs, names in os.walk(top):
            subdirs.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path


def make_layers(blobs):
    """Three layers of files of this machine; the descriptors and diff ids."""
    files = candidates()
    for size, count in LAYERS:
        raw, taken, seen, number = io.BytesIO(), 0, set(), 0
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in files:
                length = os.path.getsize(path)
                # so that the number and the size come out as wanted
                mean = (size - taken) // (count - number)
                if not mean // 6 <= length <= 5 * mean:
                    continue
                parent = os.path.dirname(path)
                parts = parent.strip("/").split("/")
                for depth in range(1, len(parts) + 1):
                    above = "/".join(parts[:depth])
                    if above not in seen:
                        seen.add(above)
                        tar.add("/" + above, above, recursive=False)
                tar.add(path, path.lstrip("/"), recursive=False)
                taken, number = taken + length, number + 1
                if taken > size or number >= count:
                    break
        data = raw.getvalue()
        packed = gzip.compress(data, GZIP_LEVEL, mtime=0)
        yield blob(blobs, packed, "application/vnd.oci.image.layer.v1.tar+gzip"), "sha256:" + hashlib.sha256(data).hexdigest(), len(data), number


def blob(blobs, data, kind):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(blobs, digest), "wb") as out:
        out.write(data)
    return {"mediaType": kind, "digest": "sha256:" + digest, "size": len(data)}


def make_layout(place):
    blobs = os.path.join(place, "blobs/sha256")
    os.makedirs(blobs)
    made = list(make_layers(blobs))
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
              "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id, _, _ in made]}}
    config = blob(blobs, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
                "layers": [layer for layer, _, _, _ in made]}
    manifest = blob(blobs, json.dumps(manifest).encode(), manifest["mediaType"])
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "bench"}
    for name, value in (("index.json", {"schemaVersion": 2, "manifests": [manifest]}), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(os.path.join(place, name), "w") as out:
            json.dump(value, out)
    packed = sum(layer["size"] for layer, _, _, _ in made)
    return packed, sum(size for _, _, size, _ in made), sum(number for _, _, _, number in made)


def apart(function, *arguments):
    """Calls it in a process of its own: what this one once needed would count as its children's peak."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writer, json.dumps(function(*arguments)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    return json.loads(text)


@contextlib.contextmanager
def registry(place):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = os.path.join(place, "registry.yml")
    with open(config, "w") as out:
        json.dump({"version": 0.1, "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": os.path.join(place, "registry")}},
                   "http": {"addr": f"127.0.0.1:{port}"}}, out)
    server = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if time.monotonic() > deadline:
                sys.exit("docker-registry did not start")
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


@contextlib.contextmanager
def btrfs(place):
    """A loop-mounted btrfs."""
    image, mount = place + ".img", place
    os.makedirs(mount, exist_ok=True)
    with open(image, "wb") as out:
        out.truncate(4 << 30)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)
        os.remove(image)


def timed(command, **more):
    """Seconds, and the peak memory of the process and its children in MB."""
    with tempfile.TemporaryFile() as errors:
        start = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, **more)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(command)}: status {child.returncode}: {errors.read().decode(errors='replace')}")
    return seconds, usage.ru_maxrss / 1024


class Rows:
    """The figures, and the verdicts on those that have a bound."""

    def __init__(self):
        self.over = 0
        print(f"{'measure':44} {'median':>10} {'least':>10}  bound")

    def add(self, what, samples, unit, bound=None, value=None):
        value = statistics.median(samples) if value is None else value
        verdict = ""
        if bound is not None:
            self.over += value > bound
            verdict = f"{bound:g} {'PASS' if value <= bound else 'OVER'}"
        least = f"{min(samples):10.2f}" if samples else " " * 10
        print(f"{what:44} {value:10.2f} {least}  {unit} {verdict}", flush=True)


def unpack(args, rows, work, host, layout, drivers):
    """The image into a new store, by each tool in turn."""
    times = {name: [] for name in ["umoci", "podman", *drivers]}
    peaks = {name: [] for name in times}
    for _ in range(args.n):
        for name in times:
            place = os.path.join(drivers.get(name, work), f"store-{name}")
            os.makedirs(place)
            command = {
                "umoci": ["umoci", "unpack", "--image", f"{layout}:bench", place + "/bundle"],
                "podman": ["podman", "--root", place + "/root", "--runroot", place + "/run", "--storage-driver", "overlay", "pull", "-q",
                           "--tls-verify=false", f"{host}/bench:1"],
            }.get(name, [args.corm, "--root", place + "/root", "--driver", name, "--log-level", "error", "pull", "--tls-verify=false", f"{host}/bench:1"])
            os.sync()
            seconds, peak = timed(command)
            times[name].append(seconds)
            peaks[name].append(peak)
            remove(args, place, name)
    for name in times:
        rows.add(f"{name}: {'unpack' if name == 'umoci' else 'pull and unpack'}", times[name], "s")
    for name in drivers:
        median = statistics.median(times[name])
        # what the file system itself costs differs: the other tools are measured on the ordinary one
        bounds = (0.6, 0.6) if name == "overlay" else (None, None)
        rows.add(f"corm on {name} / umoci", [], "", bounds[0], median / statistics.median(times["umoci"]))
        rows.add(f"corm on {name} / podman pull", [], "", bounds[1], median / statistics.median(times["podman"]))
        rows.add(f"corm on {name}: peak memory", peaks[name], "MB", 100)


def remove(args, place, name):
    if name == "podman":
        subprocess.run(["podman", "--root", place + "/root", "--runroot", place + "/run", "--storage-driver", "overlay", "rmi", "-af"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    elif name != "umoci":
        corm = [args.corm, "--root", place + "/root", "--log-level", "error"]
        subprocess.run([*corm, "rmi", "-f", f"{images(corm)}"], stdout=subprocess.DEVNULL, check=True)
        subprocess.run([*corm, "system", "prune", "-a"], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["umount", "-q", place + "/root/overlay"], stderr=subprocess.DEVNULL)
    shutil.rmtree(place)


def images(corm):
    return subprocess.run([*corm, "images", "-q"], capture_output=True, text=True, check=True).stdout.split()[0]


def containers(args, rows, work, host, layout, drivers):
    """Bundles and containers of an image that is unpacked already."""
    true = os.path.join(work, "true")
    os.makedirs(true + "/bin")
    shutil.copy("/bin/busybox", true + "/bin/true")
    for name, place in drivers.items():
        root = os.path.join(place, "store")
        corm = [args.corm, "--root", root, "--driver", name, "--runtime", args.croci, "--log-level", "error"]
        subprocess.run([*corm, "pull", "--tls-verify=false", f"{host}/bench:1"], stdout=subprocess.DEVNULL, check=True)
        subprocess.run([*corm, "init", true, "true"], stdout=subprocess.DEVNULL, check=True)
        bundle, samples, added = os.path.join(work, "bundle"), [], []
        for _ in range(args.n * 5):
            samples.append(timed([*corm, "bundle", f"{host}/bench:1", bundle])[0] * 1000)
            subprocess.run([*corm, "unbundle", bundle], check=True)
        bound = 10 if name in ("overlay", "btrfs") else None
        rows.add(f"corm bundle on {name}, unpacked image", samples, "ms", bound)
        subprocess.run([*corm, "bundle", "true", bundle], check=True)
        with open(bundle + "/config.json") as text:
            config = json.load(text)
        config["process"].update(args=["true"], terminal=False)
        with open(bundle + "/config.json", "w") as text:
            json.dump(config, text)
        for _ in range(args.n * 5):
            alone = timed([args.croci, "run", "-b", bundle, "bench-image"])[0]
            added.append((timed([*corm, "run", "--rm", "true", "true"])[0] - alone) * 1000)
        rows.add(f"corm run --rm on {name}: more than croci run", added, "ms", 12 if name != "copy" else None)
        subprocess.run([*corm, "unbundle", bundle], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corm")
    parser.add_argument("croci")
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--drivers", default="overlay,btrfs,copy")
    parser.add_argument("--dir", default=tempfile.gettempdir())
    args = parser.parse_args()
    args.corm, args.croci = os.path.realpath(args.corm), os.path.realpath(args.croci)
    with tempfile.TemporaryDirectory(prefix="bench-image-", dir=args.dir) as work, contextlib.ExitStack() as stack:
        layout = os.path.join(work, "layout")
        packed, size, files = apart(make_layout, layout)
        print(f"image: {len(LAYERS)} gzip layers, {packed / 1e6:.0f} MB, {size / 1e6:.0f} MB of tar, {files} files; {args.n} rounds")
        host = stack.enter_context(registry(work))
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:bench", f"docker://{host}/bench:1"], check=True)
        drivers = {}
        for name in args.drivers.split(","):
            place = os.path.join(work, name)
            drivers[name] = stack.enter_context(btrfs(place)) if name == "btrfs" else place
            os.makedirs(place, exist_ok=True)
        rows = Rows()
        unpack(args, rows, work, host, layout, drivers)
        containers(args, rows, work, host, layout, drivers)
        sys.exit(1 if rows.over else 0)


if __name__ == "__main__":
    main()
