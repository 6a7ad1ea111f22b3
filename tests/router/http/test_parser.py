"""What the parser makes of bytes: requests one at a time, whatever the packets, and refusals with their status."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.http.limits import HttpLimits
from router.http.parser import RequestParser

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def parse(packets, **limits):
    """The requests of packets, and the status of a refusal."""
    parser = RequestParser(HttpLimits(**limits))
    found = []
    for packet in packets:
        start = 0
        while start < len(packet):
            start = parser.feed(packet, start)
            head = parser.complete
            if head is not None:
                found.append((head.method, head.url, head.headers, parser.take_body(), parser.keep_alive))
            if parser.refusal is not None:
                return found, parser.refusal.status
            if head is not None and not parser.keep_alive:
                return found, None
    return found, None


def one(data, **limits):
    (found,), status = parse([data], **limits)
    assert status is None
    return found


BODIES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from((GET, b"\r\n\r\n", b"\r\n\r", b"0\r\n\r\n", CHUNKED + b"0\r\n\r\n", b"x\r\n\r\n" * 5)),
)


@st.composite
def messages(draw):
    """Well-formed requests as bytes, with what they mean."""
    body = draw(BODIES)
    kind = draw(st.sampled_from(("sized", "chunked", "offer", "bare")))
    if kind == "bare":
        return GET, (b"GET", b"/", b"")
    if kind == "chunked":
        size = draw(st.integers(1, 10))
        chunks = [body[at : at + size] for at in range(0, len(body), size)]
        coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        trailer = draw(st.sampled_from((b"", b"Authorization: b\r\n", b"x-request-id: 7\r\nHost: evil\r\n")))
        return CHUNKED + coded + b"0\r\n" + trailer + b"\r\n", (b"POST", b"/", body)
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\n" if kind == "offer" else b""
    head = b"POST / HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n" % (offer, len(body))
    return head + body, (b"POST", b"/", body)


@settings(max_examples=300)
@given(st.lists(messages(), min_size=1, max_size=6), st.data())
def test_requests_are_the_same_however_they_are_cut_into_packets(conversation, data):
    stream = b"".join(sent for sent, _ in conversation)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    places = sorted({0, len(stream), *cuts})
    found, status = parse([stream[a:b] for a, b in itertools.pairwise(places)], max_header_bytes=200)
    assert status is None
    assert [(method, url, body) for method, url, _, body, _ in found] == [meant for _, meant in conversation]
    for _, _, headers, _, _ in found:
        assert {name for name, _ in headers}.isdisjoint({b"authorization", b"x-request-id"})
        assert [value for name, value in headers if name == b"host"] == [b"a"]


@pytest.mark.parametrize(
    "field", [b"Authorization: Bearer x", b"Content-Type: text/plain", b"X-Request-Id: 1", b"X-Divisions-Version: 3.2"]
)
def test_trailers_are_dropped(field):
    _, _, headers, body, _ = one(CHUNKED + b"1\r\nx\r\n0\r\n" + field + b"\r\n\r\n")
    assert headers == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]
    assert body == b"x"


REFUSED = {
    "an encoding before chunked": (CHUNKED.replace(b"chunked", b"gzip, chunked"), 501),
    "an unknown encoding before chunked": (CHUNKED.replace(b"chunked", b"cow, chunked"), 501),
    "an encoding in a field of its own": (
        CHUNKED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n").replace(b"chunked", b"gzip", 1),
        501,
    ),
    "no chunks at all": (CHUNKED.replace(b"chunked", b"identity"), 501),
    "an encoding of HTTP/1.0": (CHUNKED.replace(b"1.1", b"1.0").replace(b"chunked", b"gzip, chunked"), 501),
    "HTTP/2.0": (GET.replace(b"1.1", b"2.0"), 505),
    "HTTP/3.0": (GET.replace(b"1.1", b"3.0"), 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 505),
    "an offer without a Host": (b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
    "an offer with a large body": (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 99999999\r\n\r\n",
        413,
    ),
    "an offer with a foreign Host": (
        GET.replace(b"a\r\n\r\n", b"b\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
        421,
    ),
    "a user in the Host": (GET.replace(b": a", b": a:80@b"), 400),
    "a user in the target": (GET.replace(b" /", b" http://a@b/"), 400),
    "something behind an address": (GET.replace(b": a", b": [::1]b"), 400),
    "a star without OPTIONS": (GET.replace(b" /", b" *"), 400),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "many headers": (GET.replace(b"\r\n\r\n", b"\r\na: b" * 100 + b"\r\n\r\n"), 431),
    "ten thousand headers": (GET.replace(b"\r\n\r\n", b"\r\n" + b"a:\r\n" * 10_000 + b"\r\n"), 431),
    "many trailers": (CHUNKED + b"0\r\n" + b"a: b\r\n" * 100 + b"\r\n", 431),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_refusal_has_its_status(name):
    data, status = REFUSED[name]
    assert parse([data], allowed_hosts=frozenset({b"a", b"[::1]"})) == ([], status)


def test_separators_count_as_headers():
    fields = b"".join(b"%d:\r\n" % number for number in range(10, 60))
    head = GET.replace(b"\r\n\r\n", b"\r\n" + fields + b"\r\n")
    assert parse([head], max_header_bytes=200) == ([], 431)
    assert parse([head], max_header_bytes=400)[1] is None


@pytest.mark.parametrize(
    "begin",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nx: ",
        b"GET /",
        CHUNKED + b"1;",
        CHUNKED + b"1\r\nx\r\n0\r\nx: ",
        GET + b"GET / HTTP/1.1\r\nx: ",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 600])
def test_what_is_not_whole_is_limited_as_well(begin, size):
    whole = begin + b"z" * 2_000
    found, status = parse([whole[at : at + size] for at in range(0, len(whole), size)], max_header_bytes=500)
    assert len(found) == begin.startswith(GET)
    assert status == 431


@pytest.mark.parametrize("cut", range(-3, 1))
def test_a_body_before_a_head_does_not_count_as_its_bytes(cut):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n"
    stream = head + b"z" * 5_000 + GET[:10]
    at = len(head) + cut
    found, status = parse([stream[:at], stream[at:], GET[10:]], max_header_bytes=100)
    assert (len(found), status) == (2, None)


def test_http_1_0_with_an_encoding_is_the_last_request():
    data = CHUNKED.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    *_, body, keep_alive = one(data + b"1\r\nx\r\n0\r\n\r\n" + GET)
    assert (body, keep_alive) == (b"x", False)


def test_http_1_0_needs_no_host():
    assert one(b"GET /healthz HTTP/1.0\r\n\r\n")[1] == b"/healthz"


def test_options_of_the_server_has_a_star():
    assert one(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")[1] == b"*"


@pytest.mark.parametrize(
    ("target", "url"),
    [(b"http://a/b?c", b"/b?c"), (b"http://a", b"/"), (b"HTTP://A:80?x=/", b"/?x=/"), (b"http://[0:0::1]/", b"/")],
)
def test_an_absolute_target_becomes_a_path(target, url):
    data = GET.replace(b" /", b" " + target, 1)
    assert one(data, allowed_hosts=frozenset({b"a", b"[::1]"}))[1] == url


@pytest.mark.parametrize("target", [b"/healthz", b"/healthz?a=b", b"http://b/healthz"])
def test_some_targets_answer_any_host_but_not_a_malformed_one(target):
    limits = {"allowed_hosts": frozenset({b"a"}), "any_host_targets": frozenset({b"/healthz"})}
    data = b"GET %s HTTP/1.1\r\nHost: 10.0.0.7:8000\r\n\r\n" % target
    assert parse([data], **limits)[1] is None
    assert parse([data.replace(b"/healthz", b"/other")], **limits) == ([], 421)
    assert parse([data.replace(b"10.0.0.7", b"10.0@0.7")], **limits) == ([], 400)


@pytest.mark.parametrize("expect", [b"100-continue", b"100-Continue"])
def test_only_the_known_expectation_is_answered(expect):
    parser = RequestParser(HttpLimits())
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: %s\r\nContent-Length: 1\r\n\r\n" % expect
    parser.feed(head, 0)
    assert parser.wants_continue
    for other in (head.replace(expect, b"tea"), head.replace(b"1.1", b"1.0")):
        parser = RequestParser(HttpLimits())
        parser.feed(other, 0)
        assert not parser.wants_continue


def test_a_complete_request_comes_before_the_refusal_of_the_next():
    found, status = parse([GET + b"\x00\x01"])
    assert (len(found), status) == (1, 400)
