"""A connection at its edges: when it says 100 Continue, and how long a head may exactly be."""

import pytest

from divisions.clock import ManualClock
from router.http.connection import HttpServer
from router.http.limits import HttpLimits
from tests.router.http.test_parser import parse
from tests.router.http.wire import Keeps, Transport

EXPECTS = b"POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GET = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def wire():
    """A connection of a server whose handler answers nothing by itself."""
    handler = Keeps()
    server = HttpServer(handler, HttpLimits(), ManualClock().monotonic_s)
    protocol, transport = server.protocol(), Transport()
    protocol.connection_made(transport)
    return handler, protocol, transport


def test_a_caller_that_waits_for_permission_to_send_its_body_gets_it_once(wire):
    handler, protocol, transport = wire
    protocol.data_received(EXPECTS)
    assert transport.written == CONTINUE
    protocol.data_received(b"bo")
    protocol.data_received(b"dy")
    assert transport.written == CONTINUE
    (request,) = handler.requests
    assert (request.head.url, request.body) == (b"/a", b"body")


def test_a_caller_that_sent_its_body_already_needs_no_permission(wire):
    handler, protocol, transport = wire
    protocol.data_received(EXPECTS + b"body")
    assert transport.written == b""
    assert handler.requests[0].body == b"body"


def test_permission_never_comes_before_the_reply_of_an_earlier_request(wire):
    handler, protocol, transport = wire
    protocol.data_received(GET)
    protocol.data_received(EXPECTS)
    assert transport.written == b"", "the caller would take it for the reply to its first request"
    protocol.data_received(b"body")
    assert [request.head.url for request in handler.requests] == [b"/b", b"/a"]


@pytest.mark.parametrize(("spare", "status"), [(0, None), (1, None), (-1, 431)])
def test_a_head_may_be_exactly_as_long_as_its_limit(spare, status):
    """The target, and each field's name and value with four bytes between and behind."""
    head_bytes = len(b"/b") + len(b"Host") + len(b"a") + 4 + len(b"x") + 100 + 4
    data = GET[:-2] + b"x: " + b"v" * 100 + b"\r\n\r\n"
    assert parse([data], max_header_bytes=head_bytes + spare)[1] == status
    found, refusal = parse([GET, data], max_header_bytes=head_bytes + spare)
    assert (len(found), refusal) == (2 if status is None else 1, status), "each head counts for itself"
