#!/usr/bin/env python3
"""Verifies what `store --json` wrote: verify-stream.py FILE... Says of each file whether it is whole, in a line.

A file may hold several runs, each of which goes on from the one before (`--resume FILE >> FILE`); all but the last may be
cut off. Exit code 1 if the last one is, or one was changed: its units are not numbered without a gap, something follows its
end, or what that says of the units before it (how many, their digest, how many results of each state) is not so.
"""

import collections
import json
import sys
import zlib

BEGIN = b'{"v":1,"type":"begin","seq":0,'


def verify(path):
    run, runs, ended = None, 0, True
    with open(path, "rb") as stream:
        for line in stream:
            begin = line.rfind(BEGIN)  # Also behind a line that was cut off. A text would have a backslash in it.
            unit = json.loads(line[max(begin, 0) :])
            assert line.endswith(b"\n") and unit["v"] == 1, "not a whole unit"
            if begin >= 0:
                assert not runs or unit.get("resumed") == run, "a run that does not go on from the one before it"
                line, run, runs, ended = line[begin:], unit["run"], runs + 1, False
                units, digest, counts = 0, 0, collections.Counter()
            assert not ended, "something follows the end"
            assert unit["seq"] == units and (unit["type"] == "begin") == (begin >= 0), "a unit is missing"
            if unit["type"] == "end":
                assert unit["units"] == units and unit["digest"] == "crc32:%08x" % digest, "not what was written"
                for name in counts.keys() & unit["counts"].keys() - {"segments"}:
                    assert unit["counts"][name] == counts[name], "the count of %s is wrong" % name
                ended = True
            counts[unit["state"] if unit["type"] == "result" else unit["type"] + "s"] += 1
            units, digest = units + 1, zlib.crc32(line, digest)
    assert runs and ended, "no end"
    return "%s, %d units, exit code %d" % (unit["status"], unit["units"], unit["exit"])


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
