#!/usr/bin/env python3
"""Verifies what `store --json` wrote: verify-stream.py FILE... Says of each file whether it is whole, in a line.

Exit code 1 if one is cut off or was changed: its units are not numbered without a gap, its last one is no `end`, or what
that says of the units before it (how many, their digest, how many results of each state) is not so.
"""

import collections
import json
import sys
import zlib


def verify(path):
    units, digest, counts, last = 0, 0, collections.Counter(), {}
    with open(path, "rb") as stream:
        for line in stream:
            last = json.loads(line)
            assert line.endswith(b"\n") and last["v"] == 1 and last["seq"] == units, "not a whole unit"
            assert (last["type"] == "begin") == (units == 0), "begin is not the first"
            if last["type"] == "end":
                assert stream.read(1) == b"", "something follows the end"
                break
            counts[last["state"] if last["type"] == "result" else last["type"] + "s"] += 1
            units, digest = units + 1, zlib.crc32(line, digest)
    assert last.get("type") == "end", "no end"
    assert last["units"] == units and last["digest"] == "crc32:%08x" % digest, "not what was written"
    for name in counts.keys() & last["counts"].keys() - {"segments"}:
        assert last["counts"][name] == counts[name], "the count of %s is wrong" % name
    return "%s, %d units, exit code %d" % (last["status"], units, last["exit"])


def main(paths):
    failed = False
    for path in paths:
        try:
            print("%s: %s" % (path, verify(path)))
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            failed = True
            print("%s: NOT WHOLE: %s" % (path, error))
    return 1 if failed or not paths else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
