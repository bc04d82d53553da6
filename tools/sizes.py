#!/usr/bin/env python3
"""Imports real backup trees without compression and with it, and prints the bytes on disk of the files' bytes beside the goals.

usage: tools/sizes.py STORE DIRECTORY FIGURES.json    (tools/bench.sh calls this: the program, the folder of the trees, where the
rows go for tools/peers.py). A tree is a folder that holds `opencti_data`.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

# The most that a store is to take of its files' bytes: without compression, and with it.
GOALS = {"plain": (1.07, 0.25), "created": (1.07, 0.25), "reports": (1.08, 0.26)}


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stored(program, tree, compression):
    """Bytes of the store, and those of the files that it holds."""
    with tempfile.TemporaryDirectory() as work:
        store = pathlib.Path(work, "store")
        command = [program, "-q", "-s", str(store)]
        subprocess.run([*command, "init", "--compression", compression], check=True, capture_output=True)
        done = subprocess.run([*command, "--json", "import", str(tree)], capture_output=True, check=False)
        if done.returncode not in (0, 3):
            sys.exit(f"sizes.py: the import of {tree} failed: {done.stderr.decode(errors='replace')}")
        told = subprocess.run([*command, "--json", "stats"], check=True, capture_output=True).stdout.splitlines()
        files = next(unit["file_bytes"] for unit in map(json.loads, told) if unit["type"] == "stats")
        return size(store), files


def main():
    rows = []
    trees = sorted(path.parent for path in pathlib.Path(sys.argv[2]).glob("*/opencti_data"))
    if not trees:
        sys.exit(f"sizes.py: no folder in {sys.argv[2]} holds opencti_data")
    for tree in trees:
        for compression, goal in zip(("none", "zstd"), GOALS.get(tree.name, (None, None))):
            kept, files = stored(sys.argv[1], tree, compression)
            met = ["", ""] if goal is None else [f"{goal} at most", "met" if kept <= goal * files else "MISSED"]
            rows.append([f"sizes/{tree.name}/{compression}", kept, kept, kept, 1, f"{kept / files:.4f} x {files} B of files", *met])
            print(*rows[-1][:2], *rows[-1][5:])
    whole = {"machine": "", "payload": None, "figures": [], "parts": rows}
    pathlib.Path(sys.argv[3]).write_text(json.dumps(whole, indent=1), encoding="utf-8")


main()
