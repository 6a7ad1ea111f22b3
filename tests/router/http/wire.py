"""A connection without sockets: a transport that shows what was done to it, and handlers to see what came."""

from __future__ import annotations

import asyncio

from router.http.connection import HttpConnection, HttpServer
from router.http.limits import HttpLimits
from router.http.request import Handler, Request


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.written = b""
        self.is_ended = False
        self.is_closed = False
        self.is_aborted = False
        self.is_reading = True

    def write(self, data):
        if self.is_ended:
            raise RuntimeError("write() after write_eof()")
        self.written += data

    def is_closing(self):
        return self.is_closed

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.is_ended = True

    def close(self):
        self.is_ended = self.is_closed = True

    def abort(self):
        self.is_ended = self.is_closed = self.is_aborted = True

    def pause_reading(self):
        self.is_reading = False

    def resume_reading(self):
        self.is_reading = True

    @property
    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.written.split(b"HTTP/1.1 ")[1:]]


class Keeps(Handler):
    """Keeps requests, for the test to answer."""

    def __init__(self):
        self.requests: list[Request] = []

    def handle(self, request: Request) -> None:
        self.requests.append(request)


class Answers(Handler):
    """Answers at once."""

    def __init__(self):
        self.seen = 0

    def handle(self, request: Request) -> None:
        self.seen += 1
        request.exchange.problem(404, "not here")


class Raises(Handler):
    def handle(self, request: Request) -> None:
        raise ValueError("a fault of the handler")


def connect(handler: Handler, now_s=lambda: 0.0, **limits) -> tuple[HttpServer, HttpConnection, Transport]:
    server = HttpServer(handler, HttpLimits(**limits), now_s)
    return server, *join(server)


def join(server: HttpServer) -> tuple[HttpConnection, Transport]:
    connection, transport = server.protocol(), Transport()
    connection.connection_made(transport)
    return connection, transport
