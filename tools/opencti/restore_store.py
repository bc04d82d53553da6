"""Restores a store into OpenCTI, in the place of the restore-files connector.

Reads `store --json restore --bundles -` and sends each bundle with the platform's own client library. The state is
that of restore-files, {"current": RUN}: it moves to a run once all of the run's bundles were sent, and is on the
platform before the next one begins. README.md has the variables.
"""

import json
import os
import subprocess
import sys
import zlib

import yaml
from pycti import OpenCTIConnectorHelper, OpenCTIStix2Splitter, get_config_variable

# Exit codes of `store` with which a restore went to its end: done, damage found, some inputs rejected.
WENT_THROUGH = (0, 1, 3)


class StoreError(Exception):
    """The store did not say all that it had to say."""


def units(command):
    """Yields the units of a stream, each with its line; raises unless the stream is whole."""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        count, digest, end = 0, 0, None
        for line in process.stdout:
            unit = json.loads(line)
            if unit["seq"] != count or end is not None:
                raise StoreError("a unit is missing before unit %d" % unit["seq"])
            if unit["type"] == "end":
                end = unit
                if unit["digest"] != "crc32:%08x" % digest or unit["units"] != count:
                    raise StoreError("the stream is not what was written")
            digest = zlib.crc32(line, digest)
            count += 1
            yield unit, line
        code = process.wait()
    if end is None or end["status"] != "complete" or code not in WENT_THROUGH:
        raise StoreError("%s ended with %d before all was said" % (command[0], code))


class RestoreStore:
    """The connector."""

    def __init__(self, config):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "config.yml")
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as handle:
                config = yaml.safe_load(handle)
        self.helper = OpenCTIConnectorHelper(config)
        setting = lambda name, place, default=None: get_config_variable(name, place, config, default=default)
        self.direct = setting("DIRECT_CREATION", ["backup", "direct_creation"], False)
        self.backup = setting("BACKUP_PATH", ["backup", "path"])
        self.store = setting("STORE_PATH", ["store", "path"], "opencti.store")
        self.program = setting("STORE_BINARY", ["store", "binary"], "store")

    def run(self):
        """Takes the backup in, if there is one, and sends what the platform does not have yet."""
        if self.backup:
            code = subprocess.call([self.program, "-s", self.store, "import", self.backup])
            if code not in WENT_THROUGH:
                raise StoreError("the import of %s ended with %d" % (self.backup, code))
        command = [self.program, "-s", self.store, "--json", "restore", "--bundles", "-"]
        current = (self.helper.get_state() or {}).get("current")
        if current is not None:
            command += ["--after", str(current)]
        for unit, line in units(command):
            if unit["type"] == "bundle":
                # As the store wrote it: a number keeps its digits until the client library reads it.
                self.send(unit["run"], line[line.index(b',"bundle":') + 10 : -2].decode("utf-8"))
            elif unit["type"] == "done":
                self.helper.log_info("restored %(run)s: %(own)d own, %(resolved)d resolved" % unit)
                if unit["settles"]:
                    self.move(unit["run"])
            elif unit["type"] == "error":
                self.helper.log_error("store: %s" % unit["msg"])
        self.helper.log_info("restore run completed")

    def move(self, run):
        """Says that everything up to a run was sent, and waits until the platform knows."""
        self.helper.set_state({"current": run})
        self.helper.force_ping()

    def send(self, run, bundle):
        """Sends one bundle."""
        name = "Restore run directory @ " + run
        if self.direct:
            # One splitter for each bundle: it remembers what it has seen, and would leave newer versions out.
            for part in OpenCTIStix2Splitter().split_bundle(json.loads(bundle), False):
                self.helper.api.stix2.import_bundle_from_json(json.dumps(part), True)
            return
        work = self.helper.api.work.initiate_work(self.helper.connect_id, name)
        try:
            self.helper.send_stix2_bundle(bundle, work_id=work)
        except ValueError as error:
            # Raised for a bundle of which the client library supports no object.
            if "Nothing to import" not in str(error):
                raise
            self.helper.log_warning("%s: no object of a type that the platform takes" % run)
        self.helper.api.work.to_processed(work, "%s was sent" % run)


def main():
    """Runs once; whoever runs it again goes on where it ended."""
    config = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    try:
        RestoreStore(config).run()
    except StoreError as error:
        print("error: %s" % error, file=sys.stderr)
        os._exit(1)
    except BaseException as error:  # The library's threads would keep the process alive.
        print("error: %r" % error, file=sys.stderr)
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
