#!/usr/bin/env python3
"""Prints the table of ratios of a run of benches/peers, and writes it as a page with plots that needs nothing else.

usage: tools/peers.py FIGURES.json PAGE.html    (tools/bench.sh calls this)
A ratio says how many times the store is better than the other one: faster, or smaller.
"""
import collections
import html
import json
import math
import sys

MORE_IS_BETTER = {"scan, MB/s", "check, MB/s"}
ORDER = ["newest, ns", "by run, ns", "closest later, ns", "batch, ns", "absent, ns", "1 threads, ns", "2 threads, ns", "open, us",
         "scan, MB/s", "check, MB/s", "load, s", "bytes / files"]
COLOURS = ["#1f77b4", "#17becf", "#9467bd", "#d62728", "#ff7f0e", "#8c564b", "#2ca02c", "#7f7f7f", "#bcbd22", "#e377c2", "#000000"]


def ratio(what, ours, theirs):
    return ours / theirs if what in MORE_IS_BETTER else theirs / ours


def table(figures):
    """Rows: size, measure, store, median, min, max, ratio to the verified store, ratio to the unverified one."""
    known = {(f["size"], f["measure"], f["store"]): f for f in figures}
    rank = lambda f: (f["size"], ORDER.index(f["measure"]) if f["measure"] in ORDER else len(ORDER), f["measure"])
    for f in sorted(figures, key=rank):
        ratios = []
        for own in ("store", "store unverified"):
            ours = known.get((f["size"], f["measure"], own))
            same = f["store"].startswith("store")
            ratios.append(f"{ratio(f['measure'], ours['median'], f['median']):.2f}" if ours and not same else "")
        yield [f["size"], f["measure"], f["store"], *(f"{f[k]:.4g}" for k in ("median", "min", "max")), *ratios]


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


def main():
    run = json.load(open(sys.argv[1], encoding="utf-8"))
    heads = ["snapshots", "measure", "store", "median", "min", "max", "store is better by", "unverified by"]
    rows = [[str(cell) for cell in row] for row in table(run["figures"])]
    widths = [max(len(row[place]) for row in [heads, *rows]) for place in range(len(heads))]
    print(run["machine"])
    for row in [heads, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    cells = lambda row, tag: "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"
    with open(sys.argv[2], "w", encoding="utf-8") as page:
        page.write('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>store and its peers</title><style>'
                   "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}"
                   "svg text{font-size:12px}</style></head><body><h1>The store and its peers</h1>"
                   f"<p>{html.escape(run['machine'])}</p>{''.join(plot(what, run['figures']) for what in ORDER)}"
                   f"<table>{cells(heads, 'th')}{''.join(cells(row, 'td') for row in rows)}</table></body></html>\n")


main()
