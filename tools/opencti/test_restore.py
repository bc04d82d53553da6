"""Restores a tree through the connector and the real client library into a stand-in of the platform.

    test_restore.py STORE_BINARY TREE ANSWERS     ANSWERS as tests/data/README.md says, .gz too

The sets of objects sent for each run must be the expected ones. With RESTORE_FILES, the path of restore-files.py of
OpenCTI-Platform/connectors after its pull request 5719, they are held against what that script sends too.
"""

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile

from pycti.utils.opencti_stix2_splitter import is_id_supported
from stand_in import StandIn

HERE = os.path.dirname(os.path.abspath(__file__))
CONNECTOR = os.path.join(HERE, "restore_store.py")
STATIC = {
    "OPENCTI_TOKEN": "00000000-0000-4000-8000-000000000000",
    "CONNECTOR_ID": "11111111-1111-4111-8111-111111111111",
    "CONNECTOR_TYPE": "EXTERNAL_IMPORT",
    "CONNECTOR_NAME": "RestoreFiles",
    "CONNECTOR_SCOPE": "restore",
    "CONNECTOR_LOG_LEVEL": "error",
    "CONNECTOR_QUEUE_PROTOCOL": "api",
    "STORE_QUIET": "true",
    "STORE_PATIENCE": "3",
}


def answers(path, kind):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as handle:
        return [answer for answer in map(json.loads, handle) if answer["kind"] == kind]


def connect(script, platform, more, stop_at=None):
    """Runs a connector to its end; returns its exit code. With `stop_at` it gets a SIGTERM while that bundle is sent."""
    process = subprocess.Popen([sys.executable, script], env=environment(platform, more))
    platform.at_bundle = lambda number: number == stop_at and process.terminate()
    return process.wait(timeout=3000)


def environment(platform, more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STORE_", "CONNECTOR_", "BACKUP_"))}
    return {**kept, **STATIC, "OPENCTI_URL": platform.url, **more}


def ids(bundle):
    found = [item["id"] for item in bundle["objects"]]
    assert len(found) == len(set(found)), "each object once"
    return set(found)


def by_run(platform):
    """What was sent for each run."""
    sent = {}
    for bundle in platform.bundles:
        sent.setdefault(bundle["x_run"], set()).update(ids(bundle))
    return sent


def everything(expected, runs, code, more):
    """A restore without a break. Where files of the backup were rejected, the exit code says so."""
    platform = StandIn()
    assert connect(CONNECTOR, platform, more) == code
    sent = by_run(platform)
    wrong = [run for run in {**expected, **sent} if expected.get(run) != sent.get(run)]
    assert not wrong, "other sets than those of the answers: %s" % wrong[:5]
    assert json.loads(platform.state) == {"current": runs[-1]}
    done = set()
    for kind, what in platform.events:
        if kind == "state":
            done.add(what["current"])
        else:
            assert what not in done, "the state says a run is done before all of it was sent"
    platform.close()
    print("    %d runs, %d objects sent: the expected sets" % (len(expected), sum(map(len, expected.values()))))


def interrupted(expected, runs, more):
    """A platform that goes down, and comes up again with the state it had."""
    platform = StandIn()
    platform.refuse_after = len(expected) // 2
    assert connect(CONNECTOR, platform, more) != 0
    before = json.loads(platform.state)["current"]
    sent = by_run(platform)
    assert all(sent.get(run) == expected[run] for run in expected if run <= before), "the state says no more than was sent"
    first, platform.bundles, platform.refuse_after = sent, [], None
    assert connect(CONNECTOR, platform, more) == 0
    second = by_run(platform)
    assert min(second) > before, "nothing is sent twice but the run that broke off"
    assert {**first, **second} == expected
    assert json.loads(platform.state) == {"current": runs[-1]}
    # The library takes a state that is not JSON for none, and everything would be sent again.
    for state in (json.dumps({"current": "yesterday"}), '{"current": "2024', '["20240101T000000Z"]', '{"current": 5}'):
        platform.state, platform.bundles = state, []
        assert connect(CONNECTOR, platform, more) != 0
        assert not platform.bundles, "a state of nonsense sends nothing"
        assert platform.state == state, "and stays as it is"
    platform.close()
    print("    broken off after %s and taken up again: the same sets" % before)


def unanswered(more):
    """A platform that takes bundles but no states: the library only logs that, and the restore would come to nothing."""
    platform = StandIn()
    platform.refuse_pings = True
    assert connect(CONNECTOR, platform, more) == 1
    assert not platform.bundles and platform.state is None, "nothing is sent before the platform has answered"
    platform.refuse_pings = False

    def fall_silent(number):
        platform.refuse_pings = number == 2

    process = subprocess.Popen([sys.executable, CONNECTOR], env=environment(platform, more))
    platform.at_bundle = fall_silent
    assert process.wait(timeout=3000) == 1
    assert len(platform.bundles) == 2, "no run is sent after one that could not be noted"
    platform.close()
    print("    a platform that answers no ping: nothing is sent to it, and no run after an unnoted one")


def terminated(expected, runs, more):
    """A container that is stopped: it ends with the bundle that it sends, and goes on there."""
    platform, stop_at = StandIn(), max(1, len(expected) // 3)
    assert connect(CONNECTOR, platform, more, stop_at) == 143
    assert len(platform.bundles) == stop_at, "no further bundle is begun"
    first = by_run(platform)
    platform.bundles = []
    assert connect(CONNECTOR, platform, more) == 0
    assert {**first, **by_run(platform)} == expected
    assert json.loads(platform.state) == {"current": runs[-1]}
    platform.close()
    print("    stopped by a signal at bundle %d and started again: the same sets" % stop_at)


def upstream(script, tree, rejected, expected, work):
    """What the connector that this one replaces sends; it dies of rejected files, so without them."""
    copy = os.path.join(work, "tree")
    shutil.copytree(tree, copy, symlinks=True)
    for path in rejected:
        os.remove(os.path.join(copy, "opencti_data", path))
    platform = StandIn()
    assert connect(script, platform, {"BACKUP_PATH": copy}) == 0
    sent = [ids_of(bundle) for bundle in platform.bundles]
    assert sent == [expected[run] for run in sorted(expected)], "restore-files sends other sets"
    platform.close()
    print("    restore-files sends the same sets")


def ids_of(bundle):
    return {item["id"] for item in bundle["objects"]}


def main(program, tree, path):
    expected, runs = {}, []
    for answer in answers(path, "restore"):
        runs.append(answer["run"])
        found = set(answer["own"]) | {pair[0] for pair in answer["resolved"]}
        # The client library refuses a bundle of which it takes no object, and the connector goes on.
        if any(map(is_id_supported, found)):
            expected[answer["run"]] = found
    runs.sort()
    rejected = [answer["path"] for answer in answers(path, "rejected")]
    with tempfile.TemporaryDirectory() as work:
        more = {"STORE_BINARY": os.path.abspath(program), "STORE_PATH": os.path.join(work, "store"),
                "STORE_RESOLVE": "closure", "STORE_MAX_BUNDLE_OBJECTS": "40"}
        everything(expected, runs, 3 if rejected else 0, {**more, "BACKUP_PATH": tree})
        more["STORE_MAX_BUNDLE_OBJECTS"] = "0"
        interrupted(expected, runs, more)
        unanswered(more)
        terminated(expected, runs, more)
        if os.environ.get("RESTORE_FILES"):
            upstream(os.environ["RESTORE_FILES"], tree, rejected, expected, work)
        else:
            print("    RESTORE_FILES is not set: not held against restore-files.py itself")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
