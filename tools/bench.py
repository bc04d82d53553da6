#!/usr/bin/env python3
"""Prints what the benchmarks just measured: each median, and its ratio to the floor that it is held against.

usage: tools/bench.py SINCE    (seconds since 1970: older measurements are left out; tools/bench.sh calls this)
"""
import json
import pathlib
import re
import sys

# What a figure is held against: the first pattern that matches its name, then the floor's name.
FLOORS = [
    (r"(scan/[^/]+)/check of the content, jobs (\d+)", r"\1/decompression, jobs \2"),
    (r"(scan/[^/]+)/check, jobs (\d+)", r"\1/floor, jobs \2"),
    (r"(scan/[^/]+)/log order, verified", r"\1/floor, jobs 1"),
    (r"(scan/[^/]+)/by run, decoded", r"\1/decompression, jobs 1"),
    (r"open/\d+/commit.*", "open/floor/two synced writes"),
    (r"open/\d+/store get", "open/floor/cat as a process"),
    (r"import/(?:first|second)/[^/]+/jobs (\d+)", r"import/floor/read \1"),
    (r"lookup/.*", "lookup/floor/file by path"),
    (r"restore/.*", "restore/floor/the connector's way"),
]


def medians(since):
    for path in sorted(pathlib.Path("target/criterion").rglob("new/estimates.json")):
        if path.stat().st_mtime >= since:
            name = json.loads((path.parent / "benchmark.json").read_text())["full_id"]
            yield name, json.loads(path.read_text())["median"]["point_estimate"]


def show(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def main():
    found = dict(medians(float(sys.argv[1])))
    for name, median in found.items():
        floors = (match.expand(floor) for pattern, floor in FLOORS if (match := re.fullmatch(pattern, name)))
        floor = next(floors, None)
        ratio = f"{median / found[floor]:9.3f} x {floor}" if floor in found and floor != name else ""
        print(f"{name:45} {show(median):>10} {ratio}")


main()
