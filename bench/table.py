#!/usr/bin/env python3
"""table.py --subject NAME --ref NAME [--markdown FILE] FILE...: one table of what bench.py wrote with --json.

A line per measure and cgroup view: median and minimum of each runtime, the ratios of the subject to the reference and to the floor, and
PASS or OVER by the bounds of LINES, which both ratios have to keep, by medians and by minima. --markdown writes the table there, too,
between the lines "<!-- make bench -->" and "<!-- end of make bench -->" where the file has them.
Exit status 1 when a line is OVER or the subject failed a scenario.
"""
import argparse
import datetime
import json
import os
import platform
import re
import statistics
import sys

# scenario, measure, title, unit, bound of the ratio to the reference, to the floor; lower is better in all of them
LINES = [
    ("startup", "wall_us", "start-up", "µs", 1.0, None),
    ("startup", "minflt", "start-up, page faults", "", None, None),
    ("run", "wall_us", "run", "µs", 0.75, 1.30),
    ("run", "cpu_us", "run, CPU time", "µs", None, None),
    ("run", "minflt", "run, page faults", "", None, None),
    ("seccomp", "wall_us", "run with seccomp", "µs", 0.70, None),
    ("mounts", "500.wall_us", "run below 500 more mounts", "µs", None, None),
    ("mounts", "2000.wall_us", "run below 2 000 more mounts", "µs", None, None),
    ("steps", "create.wall_us", "create", "µs", 0.75, None),
    ("steps", "create.minflt", "create, page faults", "", None, None),
    ("callers", "wall_us", "create by conmon, containerd", "µs", 0.75, None),
    ("steps", "start.wall_us", "start", "µs", 0.85, 1.35),
    ("steps", "state.wall_us", "state", "µs", 0.85, 1.35),
    ("steps", "kill.wall_us", "kill", "µs", 0.85, 1.35),
    ("steps", "delete.wall_us", "delete", "µs", 0.85, 1.35),
    ("steps", "sum.wall_us", "create to delete", "µs", 0.85, None),
    ("exec", "wall_us", "exec", "µs", 0.80, 1.50),
    ("exec", "cpu_us", "exec, CPU time", "µs", None, None),
    ("exec", "minflt", "exec, page faults", "", None, None),
    ("many", "up_each_us", "200 containers, create and start", "µs", 0.70, None),
    ("many", "down_each_us", "200 containers, kill and delete", "µs", 0.70, None),
    ("list", "wall_us", "list of 1 000 containers", "µs", 0.50, None),
    ("rss", "run.maxrss_kb", "peak memory of run", "KiB", 1.0, None),
    ("rss", "exec.maxrss_kb", "peak memory of exec", "KiB", None, None),
    ("rss", "created.init_rss_kb", "resident while created", "KiB", 1.0, None),
    ("rss", "binary_bytes", "binary", "B", None, None),
]
# most that a line may be, whatever others need
LIMITS = {"binary": 2_500_000}
# a run below many mounts, to the run without them
MOUNTS_BOUND = 1.15
BEGIN, END = "<!-- make bench -->", "<!-- end of make bench -->"


def floor_of(result, scenario):
    """Samples of the program that does nothing else: of an empty one for the verbs that only look something up."""
    samples = result["samples"]
    if scenario == "steps":
        return samples.get("startup", {}).get("wall_us", {}).get("nothing")
    return samples.get(scenario, {}).get("wall_us", {}).get("floor")


def lines_of(result, subject, ref):
    """The table's lines of one view: (title, unit, samples by runtime, [(kind, ratio, bound)])."""
    for scenario, measure, title, unit, bound, floor_bound in LINES:
        samples = {name: v for name, v in result["samples"].get(scenario, {}).get(measure, {}).items() if v}
        if not samples:
            continue
        ratios, mine = [], samples.get(subject)
        floor = floor_of(result, scenario) if measure.endswith("wall_us") else None
        for kind, reduce in (("median", statistics.median), ("minimum", min)):
            if mine and samples.get(ref) and reduce(samples[ref]):
                ratios.append((f"{ref}, {kind}", reduce(mine) / reduce(samples[ref]), bound))
            if mine and floor and floor_bound:
                ratios.append((f"floor, {kind}", reduce(mine) / reduce(floor), floor_bound))
            if mine and scenario == "mounts":
                without = result["samples"].get("run", {}).get("wall_us", {}).get(subject)
                if without:
                    ratios.append((f"without, {kind}", reduce(mine) / reduce(without), MOUNTS_BOUND))
        if mine and title in LIMITS:
            ratios.append(("limit", statistics.median(mine) / LIMITS[title], 1.0))
        yield title, unit, samples, ratios


def verdict_of(ratios):
    bounds = [(ratio, bound) for _, ratio, bound in ratios if bound]
    if not bounds:
        return ""
    return "OVER" if any(ratio > bound for ratio, bound in bounds) else "PASS"


def shown(ratios):
    def one(kind, ratio, bound):
        if not bound:
            return f"{kind} {ratio:.2f}"
        return f"{kind} {ratio:.2f} {'≤' if ratio <= bound else '> (over)'} {bound:.2f}"
    return "; ".join(one(*entry) for entry in ratios)


def table(result, subject, ref):
    """The rows of one view as cells, the titles first."""
    names = [subject, ref] + [n for n in result["runtimes"] if n not in (subject, ref)] + ["floor", "nothing"]
    rows = [["measure"] + names + ["ratios", ""]]
    for title, unit, samples, ratios in lines_of(result, subject, ref):
        cells = [f"{statistics.median(samples[n]):.0f}, {min(samples[n]):.0f}" if n in samples else "-" for n in names]
        rows.append([f"{title}, {unit}" if unit else title, *cells, shown(ratios), verdict_of(ratios)])
    return rows


def markdown(results, args):
    """The tables of all views."""
    out = [f"{datetime.date.today()}: Linux {platform.release()}, {os.cpu_count()} cores; medians and minima of {results[0]['n']} samples, "
           "all programs in turn in random order. The floor of a lookup (start, state, kill, delete) is an empty static program (nothing).", ""]
    for result in results:
        rows = table(result, args.subject, args.ref)
        out += [f"cgroup {result['view']}:", "", "| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
        out += ["| " + " | ".join(row) + " |" for row in rows[1:]] + [""]
    return "\n".join(out)


def write(path, text):
    """Replaces what is between the two marks, or the whole file."""
    old = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    if BEGIN in old and END in old:
        text = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: f"{BEGIN}\n{text}\n{END}", old, flags=re.S)
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subject", default="croci")
    parser.add_argument("--ref", default="crun-static")
    parser.add_argument("--markdown")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    results = []
    for path in args.files:
        with open(path, encoding="utf-8") as text:
            results.append(json.load(text))
    verdicts, over_bounds = [], []
    for result in results:
        for title, _, _, ratios in lines_of(result, args.subject, args.ref):
            over_bounds += [f"over: {result['view']} {title}: {kind} {ratio:.2f} > {bound:.2f}" for kind, ratio, bound in ratios if bound and ratio > bound]
        rows = table(result, args.subject, args.ref)
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        print(f"\ncgroup {result['view']}, medians and minima of {result['n']} samples")
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        verdicts += [row[-1] for row in rows[1:] if row[-1]]
        for scenario, why in result["dropped"].items():
            print(f"failed: {scenario}: {why[:200]}")
    failed = [key for result in results for key in result["dropped"] if key.startswith(args.subject + "/")]
    if not verdicts:
        failed.append("nothing was compared")
    if args.markdown:
        write(args.markdown, markdown(results, args))
    over = verdicts.count("OVER")
    print("".join(f"\n{line}" for line in over_bounds))
    print(f"\n{'OVER' if over else 'PASS'}: {len(verdicts) - over} of {len(verdicts)} lines are within their bounds"
          + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if over or failed else 0)


if __name__ == "__main__":
    main()
