#!/usr/bin/env python3
"""Prints the table of ratios of a run of benches/peers, and writes it as a page with plots that needs nothing else.

usage: tools/peers.py PAGE.html FIGURES.json...    (tools/bench.sh calls this)
A ratio says how many times the store is better than the other one: faster, or smaller.
"""
import collections
import html
import json
import math
import sys

MORE_IS_BETTER = {"scan, MB/s", "check, MB/s"}
ORDER = ["newest, ns", "by run, ns", "closest later, ns", "batch, ns", "absent, ns", "1 threads, ns", "2 threads, ns", "open, us",
         "open as a process, us", "resident, KiB / lookup", "scan, MB/s", "check, MB/s", "load, s", "bytes / files",
         "index, B / snapshot", "index, load factor", "index, false probes / absent id", "decompression, ns",
         "import, s", "import, its bytes written, s", "import / floor", "import, bytes / files"]
COLOURS = ["#1f77b4", "#17becf", "#9467bd", "#d62728", "#ff7f0e", "#8c564b", "#2ca02c", "#7f7f7f", "#bcbd22", "#e377c2", "#000000"]


# What the store is to reach: measure, whose, how many times better than whom.
GOALS = [(what, "store unverified", times, peer) for what in ("newest, ns", "by run, ns", "closest later, ns")
         for times, peer in ((5, "lmdb"), (4, "cdb64"), (3, "odht log"))]
GOALS += [("newest, ns", "store", 2.5, "lmdb"), ("by run, ns", "store", 2.5, "lmdb"), ("closest later, ns", "store", 2, "lmdb"),
          ("batch, ns", "store unverified", 8, "lmdb"), ("batch, ns", "store", 4, "lmdb"), ("absent, ns", "store", 12, "lmdb"),
          ("open, us", "store", 1, "lmdb"), ("open as a process, us", "store", 1, "lmdb"),
          ("resident, KiB / lookup", "store", 0.95, "floor"), ("scan, MB/s", "store", 0.8, "floor"), ("check, MB/s", "store", 4, "rocksdb"),
          ("bytes / files", "store zstd", 5, "lmdb")]
GOALS += [("import, s", own, 1, peer) for own in ("store", "store zstd") for peer in ("lmdb", "redb", "rocksdb", "sqlite")]

# A first import without the time of writing its bytes, to reading every file on two threads: at most.
IMPORT = [("store", 2.5), ("store zstd", 3.5)]


def ratio(what, ours, theirs):
    better, worse = (ours, theirs) if what in MORE_IS_BETTER else (theirs, ours)
    return better / worse if worse else math.inf


def goals(figures):
    """Rows: snapshots, measure, store, how many times better than whom, the goal, and whether it is met."""
    known = {(f["size"], f["measure"], f["store"]): f["median"] for f in figures}
    for size in sorted({f["size"] for f in figures}):
        for what, own, times, peer in GOALS:
            ours, theirs = known.get((size, what, own)), known.get((size, what, peer))
            if ours and theirs:
                reached = ratio(what, ours, theirs)
                yield [size, what, own, f"{reached:.2f} x {peer}", f"{times}", "met" if reached >= times else "MISSED"]
        one, two = (known.get((size, f"{threads} threads, ns", "store")) for threads in (1, 2))
        if one and two:
            yield [size, "two threads", "store", f"{one / two:.2f} x one", "1.9", "met" if one / two >= 1.9 else "MISSED"]
        for own, most in IMPORT:
            took = known.get((size, "import / floor", own))
            if took:
                yield [size, "import / floor", own, f"{took:.2f} x floor", f"{most} at most", "met" if took <= most else "MISSED"]
        for what, most in (("absent, ns", 80), ("index, B / snapshot", 32)):
            reached = known.get((size, what, "store"))
            if reached:
                yield [size, what, "store", f"{reached:.3g}", f"{most} at most", "met" if reached <= most else "MISSED"]
        parts = [known.get((size, *of)) for of in (("newest, ns", "store"), ("decompression, ns", "floor"))]
        packed = known.get((size, "newest, ns", "store zstd"))
        if packed and all(parts):
            yield [size, "newest, ns", "store zstd", f"{packed / sum(parts):.2f} x (store + decompression)", "1.15 at most",
                   "met" if packed <= 1.15 * sum(parts) else "MISSED"]
    yield from growth(known)


def growth(known):
    """Rows: what must not grow with the store, the largest against the smallest."""
    for what in ("open, us", "open as a process, us"):
        for own in sorted({store for _, measure, store in known if measure == what and store.split(",")[0] == "store"}):
            took = sorted((size, median) for (size, measure, store), median in known.items() if (measure, store) == (what, own))
            (least, few), (most, many) = took[0], took[-1]
            if least < most:
                yield [most, what, own, f"{many / few:.2f} x that of {least}", "1.2 at most", "met" if many <= 1.2 * few else "MISSED"]


def table(figures):
    """Rows: size, measure, store, median, min, max, runs, ratio to the verified store, ratio to the unverified one."""
    known = {(f["size"], f["measure"], f["store"]): f for f in figures}
    rank = lambda f: (f["size"], ORDER.index(f["measure"]) if f["measure"] in ORDER else len(ORDER), f["measure"])
    for f in sorted(figures, key=rank):
        ratios = []
        for own in ("store", "store unverified"):
            ours = known.get((f["size"], f["measure"], own))
            same = f["store"].startswith("store")
            ratios.append(f"{ratio(f['measure'], ours['median'], f['median']):.2f}" if ours and not same else "")
        yield [f["size"], f["measure"], f["store"], *(f"{f[k]:.4g}" for k in ("median", "min", "max")), f["runs"], *ratios]


def plot(what, figures):
    """A line for each store: the measure against the number of snapshots, both axes logarithmic."""
    lines = collections.defaultdict(list)
    for f in figures:
        if f["measure"] == what and f["median"] > 0:
            lines[f["store"]].append((f["size"], f["median"]))
    if not lines:
        return ""
    xs = [math.log10(x) for line in lines.values() for x, _ in line]
    ys = [math.log10(y) for line in lines.values() for _, y in line]
    left, right, low, high = min(xs) - 0.1, max(xs) + 0.1, math.floor(min(ys)), math.ceil(max(ys))
    across = lambda x: 70 + (math.log10(x) - left) / (right - left) * 500
    up = lambda y: 310 - (math.log10(y) - low) / max(high - low, 1) * 290
    out = [f'<h3>{html.escape(what)}</h3><svg viewBox="0 0 760 340" width="760" role="img">']
    for power in range(low, high + 1):
        y = up(10**power)
        out.append(f'<line x1="70" x2="570" y1="{y}" y2="{y}" stroke="#ddd"/><text x="64" y="{y + 4}" text-anchor="end">{10**power:g}</text>')
    for x in sorted({x for line in lines.values() for x, _ in line}):
        out.append(f'<text x="{across(x)}" y="330" text-anchor="middle">{x}</text>')
    for number, (store, line) in enumerate(sorted(lines.items())):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in sorted(line))
        dots = "".join(f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in line)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}')
        out.append(f'<text x="590" y="{20 + 18 * number}" fill="{colour}">{html.escape(store)}</text>')
    return "".join(out) + "</svg>"


def print_table(heads, rows):
    rows = [[str(cell) for cell in row] for row in [heads, *rows]]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def html_table(heads, rows):
    cells = lambda row, tag: "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in row) + "</tr>"
    return f"<table>{cells(heads, 'th')}{''.join(cells(row, 'td') for row in rows)}</table>"


def main():
    runs = [json.load(open(path, encoding="utf-8")) for path in sys.argv[2:]]
    for run in runs:
        if run["payload"]:
            for f in run["figures"]:
                f["store"] += f", files of {run['payload']} B"
    figures = [f for run in runs for f in run["figures"]]
    rows, met = list(table(figures)), list(goals(figures))
    parts = [row for run in runs for row in run.get("parts", [])]
    heads = ["snapshots", "measure", "store", "median", "min", "max", "runs", "store is better by", "unverified by"]
    goal_heads = ["snapshots", "measure", "store", "reached", "goal", ""]
    part_heads = ["part", "median", "min", "max", "runs", "reached", "goal", ""]
    machine = next((run["machine"] for run in runs if run["machine"]), "")
    print(machine)
    for table_heads, table_rows in ((heads, rows), (goal_heads, met), (part_heads, parts)):
        if table_rows:
            print_table(table_heads, table_rows)
            print()
    with open(sys.argv[1], "w", encoding="utf-8") as page:
        page.write('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>store and its peers</title><style>'
                   "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
                   "svg text{font-size:12px}</style></head><body><h1>The store and its peers</h1>"
                   f"<p>{html.escape(str(machine))}</p><h2>Goals</h2>{html_table(goal_heads, met)}"
                   f"<h2>Parts</h2>{html_table(part_heads, parts)}"
                   f"<h2>Growth</h2>{''.join(plot(what, figures) for what in ORDER)}"
                   f"<h2>All figures</h2>{html_table(heads, rows)}</body></html>\n")


main()
