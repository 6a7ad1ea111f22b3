"""A real HTTP server that answers what a test tells it, and notes what it was asked."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec

from divisions.control import RolloutSpec, VersionSpec
from divisions.schema import FeatureSchema
from divisions.sdk.client import Prediction

SPEC = RolloutSpec("churn", VersionSpec("churn-predictor", "3.2", "/b", "0" * 64, FeatureSchema(())))
ANSWER = {
    "customer_id": "c-1",
    "churn_probability": 0.25,
    "model": "churn-predictor",
    "version": "3.2",
    "request_id": "r",
}


PREDICTION = Prediction("churn", 0.25, "churn-predictor", "3.2", "r", "c-1")


class Gateway:
    """A server that gives prepared answers in turn, and records the requests."""

    def __init__(self):
        self.answers = []
        self.requests = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                gateway.requests.append(
                    (self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                )
                status, headers, reply = gateway.answers.pop(0)
                self.send_response(status)
                for name, value in (*headers, ("content-length", str(len(reply)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def will_answer(self, value, status=200, headers=()):
        self.answers.append((status, headers, value if isinstance(value, bytes) else msgspec.json.encode(value)))

    def will_refuse(self, status, detail="no", headers=(), **more):
        self.will_answer(
            {"type": "about:blank", "title": "t", "status": status, "detail": detail, **more}, status, headers
        )


def asked(gateway):
    method, path, headers, body = gateway.requests[-1]
    return method, path, json.loads(body) if body else None, headers
