#!/usr/bin/env python3
"""table.py --subject NAME --ref NAME FILE...: one table of what bench.py wrote with --json.

A line per measure and cgroup view: medians, the ratio of the subject to the reference, PASS or OVER (limit: 1.0, for sizes a budget).
Exit status 1 when a line is OVER or the subject failed a scenario.
"""
import argparse
import json
import statistics
import sys

# (scenario, measure, title, unit); lower is better in all of them
LINES = [
    ("startup", "wall_us", "start-up", "µs"),
    ("run", "wall_us", "run", "µs"),
    ("run", "cpu_us", "run, CPU time", "µs"),
    ("seccomp", "wall_us", "run with seccomp", "µs"),
    ("steps", "create.wall_us", "create", "µs"),
    ("steps", "start.wall_us", "start", "µs"),
    ("steps", "state.wall_us", "state", "µs"),
    ("steps", "kill.wall_us", "kill", "µs"),
    ("steps", "delete.wall_us", "delete", "µs"),
    ("steps", "sum.wall_us", "create to delete", "µs"),
    ("exec", "wall_us", "exec", "µs"),
    ("rss", "run.maxrss_kb", "peak memory of run", "KiB"),
    ("rss", "exec.maxrss_kb", "peak memory of exec", "KiB"),
    ("rss", "created.init_rss_kb", "resident while created", "KiB"),
    ("rss", "binary_bytes", "binary", "B"),
]
# sizes are no speed: they have budgets of their own, in their unit
BUDGETS = {"peak memory of run": 2560, "peak memory of exec": 2560, "resident while created": 2560, "binary": 3_000_000}


def lines_of(result, subject, ref):
    """The table's lines of one view, as (title, unit, values by runtime, ratio or None)."""
    for scenario, measure, title, unit in LINES:
        samples = result["samples"].get(scenario, {}).get(measure, {})
        values = {name: statistics.median(v) for name, v in samples.items() if v}
        if values:
            known = values.get(subject) is not None and values.get(ref)
            yield title, unit, values, values[subject] / values[ref] if known else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subject", default="croci")
    parser.add_argument("--ref", default="crun-static")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    results = []
    for path in args.files:
        with open(path, encoding="utf-8") as text:
            results.append(json.load(text))
    over, total = 0, 0
    for result in results:
        names = [args.subject, args.ref] + [n for n in result["runtimes"] if n not in (args.subject, args.ref)]
        if "floor" in result["samples"].get("run", {}).get("wall_us", {}):
            names.append("floor")
        print(f"\ncgroup {result['view']}, medians of {result['n']} samples")
        print(f"{'':30}" + "".join(f"{name:>14}" for name in names) + f"{'ratio':>9}")
        for title, unit, values, ratio in lines_of(result, args.subject, args.ref):
            cells = "".join(f"{values[n]:>14.0f}" if n in values else f"{'-':>14}" for n in names)
            verdict = ""
            if title in BUDGETS or ratio is not None:
                budget = BUDGETS.get(title)
                above = values.get(args.subject, 0) > budget if budget else ratio > 1.0
                verdict = ("OVER" if above else "PASS") + (f" (budget {budget} {unit})" if budget else "")
                over, total = over + above, total + 1
            shown = f"{ratio:>8.2f}x" if ratio is not None else f"{'-':>9}"
            print(f"{title + ', ' + unit:30}{cells}{shown}  {verdict}")
        for scenario, why in result["dropped"].items():
            print(f"failed: {scenario}: {why[:200]}")
    failed = [key for result in results for key in result["dropped"] if key.startswith(args.subject + "/")]
    if not total:
        failed.append("nothing was compared")
    print(f"\n{'OVER' if over else 'PASS'}: {total - over} of {total} measures are at most 1.00 x {args.ref}, or within their budget"
          + (f"; failed: {', '.join(failed)}" if failed else ""))
    sys.exit(1 if over or failed else 0)


if __name__ == "__main__":
    main()
