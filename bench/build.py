#!/usr/bin/env python3
"""build.py CORM CROCI [--n N] [--dir DIR] [--write]: corm build against `buildah bud --layers`, on the same files.

A build of ten steps and two stages on a base of busybox, which both get from one registry on loopback. Each round builds with every
tool in turn, into stores that are new: cold (the base is pulled), warm (every step is cached), and with one source file changed.
Prints medians, least times, ratios, and PASS or OVER for each figure that has a bound. --write puts the table into
docs/generated/build.md, with the machine's load before and after. Needs root and: docker-registry skopeo buildah runc busybox.
"""
import argparse, contextlib, datetime, io, json, os, platform, shutil, statistics, subprocess, sys, tarfile, tempfile

from image import Rows, blob, registry, timed

FILES, FILE_BYTES = 200, 20_000
TEXT = """FROM {host}/base:1 AS one
ENV NAME=value
WORKDIR /src
RUN echo tools > /tools && cp -r /bin /tools.d
COPY lib lib
RUN find lib -type f | wc -l > count
COPY main main
RUN cat lib/* main > /result && sha256sum /result > /sum
FROM {host}/base:1
LABEL version=1
COPY --from=one /result /sum /out/
RUN cat /out/sum > /checked
COPY etc /etc/app
RUN ls -R /out /etc/app > /list
CMD ["cat", "/sum"]
"""
BOUNDS = {"cold": 0.5, "warm": 0.2, "one file changed": 0.5}
PAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs/generated/build.md")


def make_base(place):
    """A layout with one layer: a static busybox and its names."""
    blobs = os.path.join(place, "blobs/sha256")
    os.makedirs(blobs)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        tar.add(os.path.realpath(shutil.which("busybox")), "bin/busybox")
        for name in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            if name != "busybox":
                tar.addfile(entry)
    layer = blob(blobs, raw.getvalue(), "application/vnd.oci.image.layer.v1.tar")
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
              "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}, "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "busybox"}]}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [layer],
                "config": blob(blobs, json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json")}
    manifest = blob(blobs, json.dumps(manifest).encode(), manifest["mediaType"])
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "base"}
    for name, value in (("index.json", {"schemaVersion": 2, "manifests": [manifest]}), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(os.path.join(place, name), "w") as out:
            json.dump(value, out)


def make_context(place, host):
    for name in ("lib", "etc"):
        os.makedirs(os.path.join(place, name))
    for number in range(FILES):
        with open(os.path.join(place, f"lib/file{number}"), "w") as out:
            out.write(f"{number} " * (FILE_BYTES // (len(str(number)) + 1)))
    for name, text in (("main", "first\n"), ("etc/app.conf", "x = 1\n"), ("Containerfile", TEXT.format(host=host))):
        with open(os.path.join(place, name), "w") as out:
            out.write(text)


def command(args, name, store, context):
    """The build, which leaves the tree of `/out` in the image `built`."""
    if name == "corm":
        return [args.corm, "--root", store, "--runtime", args.croci, "--log-level", "error", "build", "-q", "--tls-verify=false", "-t", "built", context]
    # without a network, as corm's commands are; by runc, because Debian's crun refuses hybrid cgroups
    return ["buildah", "--root", store, "--runroot", store + "-run", "--storage-driver", "overlay", "bud", "-q", "--layers", "--tls-verify=false",
            "--network", "none", "--runtime", "runc", "-t", "built", context]


def remove(name, store):
    if name == "buildah":
        subprocess.run(["buildah", "--root", store, "--runroot", store + "-run", "--storage-driver", "overlay", "rmi", "-af"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for place in (store, store + "-run"):
        for below in (place + "/overlay", place):
            subprocess.run(["umount", "-q", below], stderr=subprocess.DEVNULL)
        shutil.rmtree(place, ignore_errors=True)


def rounds(args, work, context):
    """Samples and peaks: of each tool and state of the cache."""
    times = {(name, state): [] for name in ("buildah", "corm") for state in BOUNDS}
    peaks = {name: [] for name in ("buildah", "corm")}
    for number in range(args.n):
        for name in ("buildah", "corm") if number % 2 else ("corm", "buildah"):
            store = os.path.join(work, f"store-{name}")
            try:
                for state in BOUNDS:
                    with open(os.path.join(context, "main"), "w") as out:
                        out.write(f"{number} {state == 'one file changed'}\n")
                    os.sync()
                    seconds, peak = timed(command(args, name, store, context))
                    times[name, state].append(seconds)
                    peaks[name].append(peak)
            finally:
                remove(name, store)
    return times, peaks


class Table(Rows):
    """The rows, also for a page."""

    def __init__(self):
        super().__init__()
        self.lines = ["| measure | median | least | bound |", "|---|---|---|---|"]

    def add(self, what, samples, unit, bound=None, value=None):
        super().add(what, samples, unit, bound, value)
        value = statistics.median(samples) if value is None else value
        verdict = "" if bound is None else f"{bound:g}: {'PASS' if value <= bound else 'OVER'}"
        self.lines.append(f"| {what} | {value:.2f} {unit} | {f'{min(samples):.2f} {unit}' if samples else ''} | {verdict} |")


def write(args, table, before):
    buildah = subprocess.run(["buildah", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    after = " ".join(f"{load:.1f}" for load in os.getloadavg())
    head = [
        "# Builds", "",
        f"Written by `bench/build.py --write`, {datetime.date.today()}: {args.n} rounds, corm and `buildah bud --layers` {buildah} in turn, Linux",
        f"{platform.release()}, {os.cpu_count()} processors, load {before} before and {after} after. Ten steps (`RUN`, `COPY`, `WORKDIR`) in two stages,",
        f"{FILES} files of {FILE_BYTES // 1000} kB; the base of busybox comes from a registry on loopback. Compare the ratios, not the times.", "",
    ]
    with open(PAGE, "w") as out:
        out.write("\n".join(head + table.lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corm")
    parser.add_argument("croci")
    parser.add_argument("--n", type=int, default=5)
    parser.add_argument("--dir", default=tempfile.gettempdir())
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    args.corm, args.croci = os.path.realpath(args.corm), os.path.realpath(args.croci)
    before = " ".join(f"{load:.1f}" for load in os.getloadavg())
    with tempfile.TemporaryDirectory(prefix="bench-build-", dir=args.dir) as work, contextlib.ExitStack() as stack:
        layout, context = os.path.join(work, "layout"), os.path.join(work, "context")
        make_base(layout)
        host = stack.enter_context(registry(work))
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:base", f"docker://{host}/base:1"], check=True)
        make_context(context, host)
        times, peaks = rounds(args, work, context)
        table = Table()
        for state, bound in BOUNDS.items():
            for name in ("buildah", "corm"):
                table.add(f"{name}, {state}", times[name, state], "s")
            ratio = statistics.median(times["corm", state]) / statistics.median(times["buildah", state])
            table.add(f"corm / buildah, {state}", [], "", bound, ratio)
        table.add("buildah, peak memory", peaks["buildah"], "MB")
        table.add("corm, peak memory", peaks["corm"], "MB", 100, max(peaks["corm"]))
        if args.write:
            write(args, table, before)
        sys.exit(1 if table.over else 0)


if __name__ == "__main__":
    main()
