"""Restores a store into OpenCTI, in the place of the restore-files connector.

Reads `store --json restore --bundles -` and sends each bundle with the platform's own client library. The state is
that of restore-files, {"current": RUN}: it moves to a run once all of the run's bundles were sent, and is on the
platform before the next one begins. README.md has the variables and the exit codes.
"""

import json
import os
import signal
import subprocess
import sys
import time
import zlib

import yaml
from pycti import OpenCTIConnectorHelper, get_config_variable

# Exit codes of `store` with which a command went to its end: done, damage found, some inputs rejected.
WENT_THROUGH = (0, 1, 3)
# Ours: everything was sent; ended before; everything was sent that could be.
DONE, FAILED, PARTIAL = 0, 1, 3
# Most seconds between two attempts to reach the platform.
LONGEST_WAIT = 30


class Failure(Exception):
    """The store did not say all that it had to say, or the platform did not answer."""


class Stopped(Exception):
    """A signal asked for the end."""


class Stop:
    """Ends at a safe place on a first signal, at once on a second. In a container nothing else would end this process."""

    def __init__(self):
        self.signal = None
        self.child = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, number, _):
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        if self.child is not None and self.child.poll() is None:
            self.child.terminate()

    def check(self):
        if self.signal is not None:
            raise Stopped()

    def sleep(self, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.check()
            time.sleep(min(0.2, seconds))

    def run(self, command, **more):
        """Starts a program that a signal ends too."""
        self.check()
        self.child = subprocess.Popen(command, **more)
        if self.signal is not None:
            self.child.terminate()
        return self.child


def units(stop, command):
    """Yields the units of a stream, each with its line; returns the exit code. Raises unless the stream is whole."""
    with stop.run(command, stdout=subprocess.PIPE) as process:
        try:
            count, digest, end = 0, 0, None
            for line in process.stdout:
                stop.check()
                unit = json.loads(line)
                if unit["seq"] != count or end is not None:
                    raise Failure("a unit is missing before unit %d" % unit["seq"])
                if unit["type"] == "end":
                    end = unit
                    if unit["digest"] != "crc32:%08x" % digest or unit["units"] != count:
                        raise Failure("the stream is not what was written")
                digest = zlib.crc32(line, digest)
                count += 1
                yield unit, line
            code = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
    stop.check()
    if end is None or end["status"] != "complete" or code not in WENT_THROUGH:
        raise Failure("%s ended with %d before all was said" % (command[0], code))
    return code


class RestoreStore:
    """The connector."""

    def __init__(self, config, stop):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "config.yml")
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as handle:
                config = yaml.safe_load(handle)
        self.stop = stop
        self.partial = False
        self.helper = OpenCTIConnectorHelper(config)
        setting = lambda name, place, default=None: get_config_variable(name, place, config, default=default)
        self.direct = setting("DIRECT_CREATION", ["backup", "direct_creation"], False)
        self.backup = setting("BACKUP_PATH", ["backup", "path"])
        self.store = setting("STORE_PATH", ["store", "path"], "opencti.store")
        self.program = setting("STORE_BINARY", ["store", "binary"], "store")
        self.patience = float(setting("STORE_PATIENCE", ["store", "patience"], 60))
        self.told = None

    def run(self):
        """Takes the backup in, if there is one, and sends what the platform does not have yet; returns the exit code."""
        self.told = self.state()
        current = (self.told or {}).get("current")
        if self.backup:
            code = self.stop.run([self.program, "-s", self.store, "import", self.backup]).wait()
            self.stop.check()
            if code not in WENT_THROUGH:
                raise Failure("the import of %s ended with %d" % (self.backup, code))
            self.partial |= code != 0
        command = [self.program, "-s", self.store, "--json", "restore", "--bundles", "-"]
        if current is not None:
            command += ["--after", current]
        # Nothing is sent to a platform that does not answer, or keeps no state.
        self.tell(self.told)
        self.partial |= self.restore(units(self.stop, command)) != 0
        # The library's own ping may have been on its way with the state before the last.
        ping = getattr(self.helper, "ping", None)
        if ping is not None:
            ping.stop()
            ping.join(5)
        self.tell(self.told)
        self.helper.log_info("restore run completed")
        return PARTIAL if self.partial else DONE

    def restore(self, stream):
        """Sends what a stream holds; returns the exit code of the program behind it."""
        while True:
            try:
                unit, line = next(stream)
            except StopIteration as end:
                return end.value
            if unit["type"] == "bundle":
                # As the store wrote it: a number keeps its digits until the client library reads it.
                self.send(unit["run"], line[line.index(b',"bundle":') + 10 : -2].decode("utf-8"))
            elif unit["type"] == "done":
                self.helper.log_info("restored %(run)s: %(own)d own, %(resolved)d resolved" % unit)
                if unit["settles"]:
                    self.tell({"current": unit["run"]})
            elif unit["type"] == "error":
                self.helper.log_error("store: %s" % unit["msg"])

    def state(self):
        """The state on the platform, as far as the library knows. The library itself takes one that it cannot read for none."""
        text = self.helper.connector_state
        try:
            state = json.loads(text) if text else None
        except ValueError as error:
            raise Failure("the state on the platform is not JSON: %.200r" % text) from error
        if state is not None and not (isinstance(state, dict) and isinstance(state.get("current"), (str, type(None)))):
            raise Failure("the state on the platform names no run: %.200r" % text)
        return state

    def tell(self, state):
        """Gives the platform a state and waits until it has it: the library's own ping only logs that it failed."""
        if self.state() != self.told:
            raise Failure("the state was changed on the platform meanwhile, to %.200r" % self.state())
        ping = self.helper.api.connector.ping
        answer = self.patiently(lambda: ping(self.helper.connector_id, state, self.helper.connector_info.all_details))
        text = answer["connector_state"]
        if (json.loads(text) if text else None) != state:
            raise Failure("the platform has another state than it was given: %.200r" % text)
        self.helper.set_state(state)
        self.told = self.state()

    def patiently(self, call):
        """Calls the platform until it answers, or for as long as STORE_PATIENCE says."""
        wait, until = 1, time.monotonic() + self.patience
        while True:
            self.stop.check()
            try:
                return call()
            except Exception as error:  # The library raises what its own libraries do, and ValueError for refusals.
                if time.monotonic() + wait > until:
                    raise
                self.helper.log_warning("the platform does not answer: %.500s" % error)
            self.stop.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def send(self, run, bundle):
        """Sends one bundle, or raises. What is sent twice the platform has once: it knows objects by their ids."""
        if self.direct:
            failed = self.helper.api.stix2.import_bundle_from_json(bundle, True)[1]
            for part in failed:
                self.partial = True
                self.helper.log_error("%s: the platform did not take %.500s" % (run, part))
            return
        api, name = self.helper.api.work, "Restore run directory @ " + run
        work = self.patiently(lambda: api.initiate_work(self.helper.connect_id, name))
        try:
            self.helper.send_stix2_bundle(bundle, work_id=work)
        except ValueError as error:
            # Raised for a bundle of which the client library supports no object, and for much else.
            if "Nothing to import" not in str(error):
                raise
            self.helper.log_warning("%s: no object of a type that the platform takes" % run)
        self.patiently(lambda: api.to_processed(work, "%s was sent" % run))


def main():
    """Runs once; whoever runs it again goes on where it ended."""
    stop = Stop()
    try:
        code = RestoreStore(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}, stop).run()
    except Stopped:
        code = 128 + stop.signal
    except Failure as error:
        print("error: %s" % error, file=sys.stderr)
        code = FAILED
    except BaseException as error:
        print("error: %r" % error, file=sys.stderr)
        code = FAILED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # The library's threads would keep the process alive.


if __name__ == "__main__":
    main()
