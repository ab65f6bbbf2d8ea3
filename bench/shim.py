#!/usr/bin/env python3
"""shim.py [DIST] [--n N] [--pods N] [--stable] [--write]: croci's shim of containerd against runc's, with runc and with croci.

DIST (target/dist) has the release programs croci and containerd-shim-croci-v2. One containerd, that of Debian unstable if it is unpacked
(scripts/test-callers.sh does that) or the installed one, starts containers of one image in turn with runc's shim and runc, runc's shim
and croci, and croci's shim: `ctr task exec true`, `ctr run --rm true`, the memory of the shim of a pod of two containers, and many pods,
which are started one after another and removed. Prints medians, ratios, and PASS or OVER for each figure that has a bound; exit status 1
if one is over or something is left. On cgroup v1 the run is preferred to all other programs. --write puts the table into docs/generated/shim.md. Needs root and: containerd runc busybox.
"""
import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests/callers"))
import containerd
from harness import Failure, Skip, counters, nothing_left, unstable, wait_for
from image import Image
from namespaces import private_mounts, run_inside
from ttrpc import any_of, call, message

PAGE = TOP / "docs/generated/shim.md"
RUNC, MIXED, OURS = "runc's shim, runc", "runc's shim, croci", "croci's shim"
KINDS = (RUNC, MIXED, OURS)
IDLE = 4  # seconds after which a shim has given back what it does not need


class Bench(containerd.Caller):
    """A containerd, whose containers have one of three combinations of shim and runtime."""

    def __init__(self, work, image, dist, stable):
        if not stable:
            try:
                self.PROGRAMS = tuple(unstable("containerd", "containerd"))
            except Skip:
                print("shim.py: no containerd of unstable: the installed one", file=sys.stderr)
        self.PROGRAMS = (*self.PROGRAMS, dist)
        super().__init__(work, image, str(dist / "croci"))
        self.states += ["/run/containerd/croci/callers"]
        self.kind, self.pods = RUNC, "--annotation" in self("run", "--help").out

    def how(self):
        if self.kind == OURS:
            return ["--runtime", "io.containerd.croci.v2"]
        return ["--runtime", "io.containerd.runc.v2", "--runc-binary", "runc" if self.kind == RUNC else self.runtime]

    def in_pod(self, pod):
        """Returns the flags for a container of a pod."""
        return ["--annotation", f"io.kubernetes.cri.sandbox-id={pod}"] if self.pods else []

    def clean(self):
        super().clean()
        wait_for("no shim", lambda: not shims())


def shims():
    """Returns the pids of all shims, which are those of this run."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            program = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if b"containerd-shim-" in program:
            found.append(int(entry))
    return found


def pss():
    """Returns the memory of all shims in MB, in which shared pages count by their share."""
    text = "".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in shims())
    return sum(map(int, re.findall(r"^Pss:\s+(\d+)", text, re.M))) * 1024 / 1e6


def timed(c, *arguments):
    """Runs ctr; returns its time in milliseconds."""
    argv = [*c.argv(), *arguments]
    start = time.monotonic()
    done = subprocess.run(argv, env=c.env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    taken = (time.monotonic() - start) * 1000
    if done.returncode:
        raise Failure(f"{' '.join(argv)}: {done.stderr}")
    return taken


def in_turn(c, rounds, once):
    """Returns the samples of each kind; the order changes from round to round."""
    samples = {kind: [] for kind in KINDS}
    for number in range(rounds + 1):
        for kind in KINDS[number % 3:] + KINDS[:number % 3]:
            c.kind = kind
            value = once(number)
            if number:  # the first round is a warm-up
                samples[kind].append(value)
    return samples


def execs(c, rounds):
    running = {}
    for kind in KINDS:
        c.kind = kind
        running[kind] = c.up()
    samples = in_turn(c, rounds, lambda number: timed(c, "task", "exec", "--exec-id", f"e{number}", running[c.kind], "true"))
    c.clean()
    return samples


def calls(c, rounds):
    """Measures what the shim itself takes of an exec: the calls that containerd makes for it, at the shim's socket."""
    running = {}
    for kind in KINDS:
        c.kind = kind
        name = c.up()
        bundle = c.work / "state/io.containerd.runtime.v2.task/callers" / name
        bootstrap = bundle / "bootstrap.json"
        address = json.loads(bootstrap.read_text())["address"] if bootstrap.exists() else (bundle / "address").read_text()
        process = {**json.loads((bundle / "config.json").read_text())["process"], "args": ["true"]}
        service = f"containerd.task.v{3 if bootstrap.exists() else 2}.Task"
        running[kind] = name, address, service, any_of("types.containerd.io/opencontainers/runtime-spec/1/Process", json.dumps(process))

    def once(number):
        name, address, service, spec = running[c.kind]
        process = ((1, name), (2, f"s{number}"))
        start = time.monotonic()
        for method, more in (("Exec", [(7, spec)]), ("Start", []), ("Wait", []), ("Delete", [])):
            call(address, service, method, message(*process, *more))
        return (time.monotonic() - start) * 1000
    samples = in_turn(c, rounds, once)
    c.clean()
    return samples


def runs(c, rounds):
    samples = in_turn(c, rounds, lambda _: timed(c, *c.run_argv("--rm", command=["true"])[1]))
    c.clean()
    return samples


def pod_of_two(c, rounds):
    def once(number):
        flags = c.in_pod(f"two{number}")
        names = [c.up(*flags), c.up(*flags)]
        for name in names:
            timed(c, "task", "exec", "--exec-id", "e", name, "true")
        time.sleep(IDLE)
        memory = pss()
        c.clean()
        return memory
    return in_turn(c, rounds, once)


def many(c, pods):
    """Returns for each kind (milliseconds to start one, memory of all shims in MB)."""
    found = {}
    for c.kind in KINDS:
        before = counters(c.states)
        names, start = [], time.monotonic()
        for number in range(pods):
            name, argv = c.run_argv("-d", *c.in_pod(f"many{number}"), command=["sleep", "1000"])
            timed(c, *argv)
            names.append(name)
        taken = (time.monotonic() - start) * 1000 / pods
        time.sleep(IDLE)
        found[c.kind] = (taken, pss())
        c.clean()
        if c.kind == OURS:  # runc's shim of containerd 2 leaves its sockets
            nothing_left(before, c.states)
    return found


class Table:
    """The rows, of which one may be over its bound."""

    def __init__(self):
        self.lines, self.over = ["| measure | " + " | ".join(KINDS) + " | ratio | bound |", "|---|---|---|---|---|---|"], False
        print(f"{'measure':42}" + "".join(f"{kind:>20}" for kind in KINDS))

    def add(self, what, values, unit, ratios=(), bound=None):
        """Adds a line. `ratios`: of croci's shim to a kind, with a bound each; `bound`: of the value itself."""
        parts, verdicts = [], []
        for kind, limit in ratios:
            ratio = values[OURS] / values[kind]
            parts.append(f"{ratio:.2f} of {kind}")
            if limit is not None:
                verdicts.append(f"{limit:g}: {'PASS' if ratio <= limit else 'OVER'}")
        if bound is not None:
            verdicts.append(f"{bound:g} {unit}: {'PASS' if values[OURS] <= bound else 'OVER'}")
        self.over |= any("OVER" in verdict for verdict in verdicts)
        shown = [f"{values[kind]:.2f} {unit}" for kind in KINDS]
        self.lines.append("| " + " | ".join([what, *shown, "; ".join(parts), "; ".join(verdicts)]) + " |")
        print(f"{what:42}" + "".join(f"{value:>20}" for value in shown) + "  " + "; ".join(parts) + "  " + "; ".join(verdicts), flush=True)

    def least(self, what, value, whole):
        """Adds a line with the ratios that a value of croci's shim would have to the other kinds."""
        ratios = "; ".join(f"{value / whole[kind]:.2f} of {kind}" for kind in (RUNC, MIXED))
        self.lines.append(f"| {what} | | | {value:.2f} ms | {ratios} | |")
        print(f"{what:42}{value:57.2f} ms  {ratios}", flush=True)


def middle(samples):
    return {kind: statistics.median(values) for kind, values in samples.items()}


def write(args, table, c, before):
    version = re.search(r"Version: *(\S+)", c("version").out.split("Server:")[-1])[1]
    head = ["# The shim of containerd", "",
            f"Written by `bench/shim.py --write`, {datetime.date.today()}: containerd {version}, {args.n} rounds in turn, medians, Linux",
            f"{platform.release()}, {os.cpu_count()} processors, load {before} before and {load()} after. `ctr` itself is in each time. Memory is the PSS of the",
            f"shims, {IDLE} s after the last call. Compare the ratios, not the times.", ""]
    PAGE.write_text("\n".join(head + table.lines) + "\n")


def load():
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def inside(args):
    before = load()
    work = Path(args.inside)
    private_mounts("host")
    os.environ["TMPDIR"] = str(work / "tmp")
    (work / "tmp").mkdir(mode=0o1777)
    c = Bench(work / "bench", Image(work), args.dist, args.stable)
    table = Table()
    try:
        whole, own = middle(execs(c, args.n)), middle(calls(c, args.n))
        table.add("`ctr task exec true`", whole, "ms", [(RUNC, 0.55), (MIXED, 0.65)])
        table.add("of it the calls at the shim's socket", own, "ms", [(RUNC, None), (MIXED, None)])
        # what is left when the shim takes no time, against the bounds
        table.least("a shim that takes no time", whole[OURS] - own[OURS], whole)
        table.add("`ctr run --rm true`", middle(runs(c, args.n)), "ms", [(RUNC, 0.6)])
        table.add("shim of a pod of two containers", middle(pod_of_two(c, 3)), "MB", [(RUNC, None)], bound=3.5)
        found = many(c, args.pods)
        table.add(f"{args.pods} pods: start of each", {kind: one for kind, (one, _) in found.items()}, "ms", [(RUNC, None), (MIXED, None)])
        table.add(f"{args.pods} pods: shims", {kind: all_ for kind, (_, all_) in found.items()}, "MB", [(RUNC, None)])
        if args.write:
            write(args, table, c, before)
    finally:
        c.clean()
        c.end()
    return 1 if table.over else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    built = Path(os.environ.get("CARGO_TARGET_DIR") or TOP / "target")
    parser.add_argument("dist", type=lambda text: Path(text).resolve(), nargs="?", default=built / "dist")
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--pods", type=int, default=100)
    parser.add_argument("--stable", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in ("croci", "containerd-shim-croci-v2"):
        if not (args.dist / name).exists():
            sys.exit(f"shim.py: no {name} in {args.dist}")
    if args.inside:
        return inside(args)
    return run_inside(__file__, [*sys.argv[1:]] if len(sys.argv) > 1 else [str(args.dist)], "croci-shim-", preferred=True)


if __name__ == "__main__":
    sys.exit(main())
