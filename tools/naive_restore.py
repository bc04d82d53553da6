#!/usr/bin/env python3
"""Restores a backup tree the way the restore-files connector does, in a naive form, to nowhere.

usage: tools/naive_restore.py TREE      prints the objects emitted and the seconds it took (benches/restore.rs asks)
"""

import json
import os
import sys
import time


def parse(path):
    with open(path, encoding="utf-8") as handle:
        return json.load(handle)["objects"]


def references(item):
    for key, value in item.items():
        if not key.startswith("x_"):
            if key.endswith("_ref"):
                yield value
            elif key.endswith("_refs"):
                yield from value


def restore(root):
    """Emits each run's objects and the closure of what they need from later runs; returns how many."""
    runs = sorted(os.listdir(root))
    places = {}
    for at, run in enumerate(runs):
        for name in os.listdir(os.path.join(root, run)):
            places.setdefault(name, []).append(at)
    emitted = 0
    for at, run in enumerate(runs):
        own = [item for name in os.listdir(os.path.join(root, run)) for item in parse(os.path.join(root, run, name))]
        known = {item["id"] for item in own}
        wanted = [reference for item in own for reference in references(item)]
        resolved = []
        while wanted:
            wish = wanted.pop()
            name = wish + ".json"
            later = next((place for place in places.get(name, ()) if place > at), None)
            if wish in known or later is None:
                continue
            item = parse(os.path.join(root, runs[later], name))[0]
            known.add(wish)
            resolved.append(item)
            wanted.extend(references(item))
        emitted += len(resolved) + len(own)
        json.dumps({"type": "bundle", "objects": resolved + own})
    return emitted


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    START = time.perf_counter()
    print(restore(os.path.join(sys.argv[1], "opencti_data")), time.perf_counter() - START)
