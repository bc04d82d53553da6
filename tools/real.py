#!/usr/bin/env python3
"""Holds what `store` says about a backup tree against expected answers.

    real.py questions ANSWERS                     the answers, and more that follow from them, to ask
    real.py listed IMPORT                         paths that an import ignored or rejected, NUL after each
    real.py compare QUESTIONS TREE IMPORT PLAN ACTUAL

ANSWERS is as tests/data/README.md says (.gz too), IMPORT and PLAN are streams of `store --json import` and
`store --json restore --plan --resolve closure`, ACTUAL is what examples/answers.rs says to QUESTIONS.
"""

import gzip
import hashlib
import json
import os
import sys
import zlib


def lines(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def questions(answers):
    """Every answer; and for every id: the closest after each of its runs is the next one."""
    asked = set()
    for answer in answers:
        if answer["kind"] == "closest":
            asked.add((answer["id"], answer["after"]))
        yield answer
    for answer in answers:
        if answer["kind"] == "id":
            for run, later in zip(answer["runs"], answer["runs"][1:] + [None]):
                if (answer["id"], run) not in asked:
                    yield {"kind": "closest", "id": answer["id"], "after": run, "run": later}


def stream(path):
    """The units of a whole stream, its digest verified."""
    units, digest = [], 0
    with open(path, "rb") as handle:
        for line in handle:
            unit = json.loads(line)
            if unit["type"] == "end":
                assert unit["digest"] == "crc32:%08x" % digest and unit["units"] == len(units), path
            digest = zlib.crc32(line, digest)
            units.append(unit)
    assert units[-1]["type"] == "end" and units[-1]["status"] == "complete", path + " has no end"
    return units


def from_streams(imported, planned, runs):
    """What the two streams say, in the form of the answers."""
    for unit in imported:
        if unit["type"] == "file" and unit["outcome"] in ("ignored", "rejected"):
            yield {"kind": unit["outcome"], "path": "/".join(unit["path"])}
    counts = imported[-1]["counts"]
    yield {"kind": "tree", "run_dirs": counts["runs"], "snapshots": counts["added"],
           "ignored": counts["ignored"], "rejected": counts["rejected"]}
    plans = {run: {"kind": "restore", "run": run, "resolved": [], "own": [], "unresolved": []} for run in runs}
    for unit in planned:
        if unit["type"] == "object" and unit["why"] == "own":
            plans[unit["run"]]["own"].append(unit["id"])
        elif unit["type"] == "object":
            plans[unit["run"]]["resolved"].append([unit["id"], unit["from"]])
        elif unit["type"] == "missing":
            plans[unit["run"]]["unresolved"].append([unit["ref"], unit["state"]])
    yield from plans.values()


def table(answers):
    found = {}
    for answer in answers:
        key = tuple(answer.get(field) for field in ("kind", "path", "id", "after"))
        key += (answer.get("run") if answer["kind"] != "closest" else None,)
        answer = {name: sorted(value) if isinstance(value, list) and answer["kind"] == "restore" else value
                  for name, value in answer.items() if name not in ("why", "ids")}
        assert key not in found, "answered twice: %r" % (key,)
        found[key] = answer
    return found


def expect_files(expected, tree):
    """Puts the CRC-32 that ACTUAL has in the place of the SHA-256 that the answers have, both of the source."""
    for answer in expected.values():
        if answer["kind"] == "snapshot":
            path = os.path.join(tree, "opencti_data", answer["run"], answer["id"] + ".json")
            with open(path, "rb") as handle:
                content = handle.read()
            assert hashlib.sha256(content).hexdigest() == answer.pop("sha256"), path
            answer["crc32"] = zlib.crc32(content)


def compare(asked, tree, imported, planned, answered):
    expected = table(lines(asked))
    expect_files(expected, tree)
    runs = [answer["run"] for answer in expected.values() if answer["kind"] == "restore"]
    actual = table(lines(answered) + list(from_streams(stream(imported), stream(planned), runs)))
    wrong = [key for key in {**expected, **actual} if expected.get(key) != actual.get(key)]
    for key in wrong[:20]:
        print("differs: %r\n  expected %.400r\n  actual   %.400r" % (key, expected.get(key), actual.get(key)))
    kinds = sorted({key[0] for key in expected})
    print("    " + ", ".join("%d %s" % (sum(key[0] == kind for key in expected), kind) for kind in kinds)
          + ": %d of %d answers differ" % (len(wrong), len(expected)))
    return 1 if wrong else 0


def main(args):
    if args[:1] == ["questions"] and len(args) == 2:
        for question in questions(lines(args[1])):
            print(json.dumps(question))
    elif args[:1] == ["listed"] and len(args) == 2:
        for unit in stream(args[1]):
            if unit["type"] == "file" and unit["outcome"] in ("ignored", "rejected"):
                sys.stdout.write("/".join(unit["path"]) + "\0")
    elif args[:1] == ["compare"] and len(args) == 6:
        return compare(*args[1:])
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
