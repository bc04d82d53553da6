#!/usr/bin/env python3
"""Prints what a benchmark just measured: each median, the smallest and largest, and its ratio to the floor that it is held against.

usage: tools/bench.py SINCE LOG FIGURES.json    (tools/bench.sh calls this: seconds since 1970, older measurements are left out;
what the benchmark printed; and where the rows go for tools/peers.py)
"""
import json
import pathlib
import re
import sys

# What a figure is held against: a pattern of its name, the floor's name, and the most that their ratio is to be.
FLOORS = [
    (r"(scan/[^/]+)/check of the content, jobs (\d+)", r"\1/decompression, jobs \2", 1 / 0.85),
    (r"(scan/[^/]+)/check, jobs (\d+)", r"\1/floor, jobs \2", 1 / 0.8),
    (r"(scan/[^/]+)/log order, verified", r"\1/floor, jobs 1", 1 / 0.8),
    (r"(scan/[^/]+)/by run, decoded", r"\1/decompression, jobs 1", None),
    (r"open/\d+/commit.*", "open/floor/two synced writes", None),
    (r"open/[1-9]\d*/(commit.*)", r"open/0/\1", 1.5),
    (r"open/\d+/store get", "open/floor/cat as a process", None),
    (r"open/(?!10000/)\d+/(store get|in process)", r"open/10000/\1", 1.2),
    (r"import/(?:first|second)/[^/]+/jobs (\d+)", r"import/floor/read \1", None),
    (r"lookup/.*", "lookup/floor/file by path", None),
    # It brings each object out once, the connector those that are needed again too: `closure` does what that does.
    (r"restore/once.*", "restore/floor/the connector's way in Python", 1 / 50),
    (r"restore/once.*", "restore/floor/verified scan", 1 / 0.25),
    (r"restore/closure", "restore/floor/the connector's way in Python", 1 / 50),
    (r"restore/.*", "restore/floor/the connector's way", None),
]


def measured(since):
    """Each name with its median, smallest, largest and number of samples, in nanoseconds."""
    for path in sorted(pathlib.Path("target/criterion").rglob("new/estimates.json")):
        if path.stat().st_mtime >= since:
            name = json.loads((path.parent / "benchmark.json").read_text())["full_id"]
            sample = json.loads((path.parent / "sample.json").read_text())
            each = [time / count for time, count in zip(sample["times"], sample["iters"])]
            yield name, (json.loads(path.read_text())["median"]["point_estimate"], min(each), max(each), len(each))


def show(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def rows(found):
    """Name, median, min, max, samples, ratio to a floor, the most that it is to be, and whether it is met."""
    for name, (median, low, high, count) in found.items():
        held = [(match.expand(floor), most) for pattern, floor, most in FLOORS if (match := re.fullmatch(pattern, name))]
        held = [(floor, most) for floor, most in held if floor in found and floor != name]
        for floor, most in held or [(None, None)]:
            times = median / found[floor][0] if floor else 0
            goal = [f"{most:.3g} at most", "met" if times <= most else "MISSED"] if most else ["", ""]
            yield [name, show(median), show(low), show(high), count, f"{times:.3g} x {floor}" if floor else "", *goal]


def main():
    log = pathlib.Path(sys.argv[2]).read_text(encoding="utf-8")
    machine = re.search(r"^machine: (.*?);", log, re.MULTILINE)
    parts = list(rows(dict(measured(float(sys.argv[1])))))
    for name, median, low, high, _, times, *goal in parts:
        print(f"{name:45} {median:>8} ({low} to {high})  {times}  {' '.join(goal)}".rstrip())
    whole = {"machine": machine[1] if machine else "", "payload": None, "figures": [], "parts": parts}
    pathlib.Path(sys.argv[3]).write_text(json.dumps(whole, indent=1), encoding="utf-8")


main()
