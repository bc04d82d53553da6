"""Answers the platform's HTTP calls that the client library makes for a connector, on the loopback interface.

Keeps what was sent. `refuse_after` makes it refuse bundles from that number on, as a platform that goes down does;
`refuse_pings` makes it refuse states; `at_bundle` is called with the number of each bundle before it is answered.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONNECTION = {"host": "127.0.0.1", "vhost": "/", "use_ssl": False, "port": 5672, "user": "u", "pass": "p"}
S3 = dict.fromkeys(["endpoint", "port", "use_ssl", "bucket_name", "bucket_region", "access_key", "secret_key"], "")
QUEUE = dict.fromkeys(["listen", "listen_routing", "listen_exchange", "push", "push_routing", "push_exchange"], "q")


class StandIn:
    """A platform that takes everything and does nothing."""

    def __init__(self):
        self.state = None
        self.bundles = []
        self.events = []
        self.refuse_after = None
        self.refuse_pings = False
        self.at_bundle = lambda number: None
        self.lock = threading.Lock()
        platform = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # An answer in one piece: else each waits for the other side's delayed acknowledgement.
            wbufsize = 1 << 16
            disable_nagle_algorithm = True

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                call = json.loads(body)
                with platform.lock:
                    answer = platform.answer(call["query"], call.get("variables") or {})
                text = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d" % self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, query, variables):
        """The answer to one call."""
        if "registerConnector" in query:
            config = {"connection": CONNECTION, "s3": S3, **QUEUE}
            connector = {"id": "c", "connector_state": self.state, "jwks": None, "connector_user_id": "u"}
            return {"data": {"registerConnector": {**connector, "config": config}}}
        if "pingConnector" in query:
            if self.refuse_pings:
                return {"errors": [{"name": "DOWN", "message": "the platform goes down"}]}
            state = variables.get("state")
            if state not in (None, "null") and state != self.state:
                self.state = state
                self.events.append(("state", json.loads(state)))
            return {"data": {"pingConnector": {"id": "c", "connector_state": self.state, "connector_info": {}}}}
        if "stixBundlePush" in query:
            if self.refuse_after is not None and len(self.bundles) >= self.refuse_after:
                return {"errors": [{"name": "DOWN", "message": "the platform goes down"}]}
            bundle = json.loads(variables["bundle"])
            self.bundles.append(bundle)
            self.events.append(("bundle", bundle.get("x_run")))
            self.at_bundle(len(self.bundles))
            return {"data": {"stixBundlePush": True}}
        if "workAdd" in query:
            return {"data": {"workAdd": {"id": "work-%d" % len(self.bundles)}}}
        if "workEdit" in query:
            return {"data": {"workEdit": {"toProcessed": "work", "addExpectations": 1}}}
        return {"data": {"about": {"version": "7"}, "me": {"id": "u"}}}

    def close(self):
        """Ends the server."""
        self.server.shutdown()
        self.server.server_close()
