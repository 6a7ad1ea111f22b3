"""An HTTP server that answers as AWS does, reply by reply: what moto never says, such as refusals and expiry."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

STS = """<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>{body}</{action}Result>
<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></{action}Response>"""
ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code>
<Message>{message}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"""
CALLER = (
    "<Arn>arn:aws:sts::123456789012:assumed-role/deployer/ann</Arn><UserId>U</UserId><Account>123456789012</Account>"
)

Reply = tuple[int, str]
"""Status and body."""


def sts(action: str, body: str) -> Reply:
    return 200, STS.format(action=action, body=body)


def sts_error(code: str, message: str = "no", status: int = 403) -> Reply:
    return status, ERROR.format(code=code, message=message)


def json_error(code: str, message: str = "no", status: int = 400) -> Reply:
    return status, json.dumps({"__type": code, "message": message})


def credentials(key: str, expiration: str) -> str:
    return (
        f"<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        f"<SessionToken>t</SessionToken><Expiration>{expiration}</Expiration></Credentials>"
    )


class AwsStub:
    """Answers each action with its replies in order; the last one repeats."""

    def __init__(self) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.calls: list[tuple[str, dict[str, str], str]] = []
        """Action, form fields or ``{"json": body}``, and the ``Authorization`` header."""
        self._counts: dict[str, int] = defaultdict(int)
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                target = self.headers.get("X-Amz-Target", "")
                fields = {"json": body} if target else {name: value[0] for name, value in parse_qs(body).items()}
                action = target.rpartition(".")[2] or fields.get("Action", "")
                status, reply = stub.answer(action, fields, self.headers.get("Authorization", ""))
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1" if target else "text/xml")
                self.send_header("Content-Length", str(len(reply.encode())))
                self.end_headers()
                self.wfile.write(reply.encode())

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                status, reply = stub.answer(path, dict(self.headers), "")
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply.encode())))
                self.end_headers()
                self.wfile.write(reply.encode())

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def answer(self, action: str, fields: dict[str, str], authorization: str) -> Reply:
        self.calls.append((action, fields, authorization))
        replies = self.replies.get(action)
        if replies is None:
            return sts_error("InvalidAction", f"no reply is prepared for {action}", 400)
        number = min(self._counts[action], len(replies) - 1)
        self._counts[action] += 1
        return replies[number]

    def __enter__(self) -> AwsStub:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def actions(self) -> list[str]:
        return [action for action, _, _ in self.calls]


def clear_aws(setenv: Callable[[str, str], None], delenv: Callable[..., None], folder: str) -> None:
    """Leaves no way to credentials but what a test sets: no files of the user, no metadata service."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        delenv(name)
    setenv("AWS_CONFIG_FILE", f"{folder}/config")
    setenv("AWS_SHARED_CREDENTIALS_FILE", f"{folder}/credentials")
    setenv("AWS_EC2_METADATA_DISABLED", "true")
