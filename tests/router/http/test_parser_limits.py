"""What a request may have at most, exactly at each limit; and what becomes of one byte, field or connection more."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from router.http.limits import HttpLimits
from router.http.parser import CHUNKED, IDLE, OVER, SIZED, RequestParser
from tests.router.http.test_parser import parse

DOCS = (Path(__file__).parents[3] / "docs" / "data-plane.md").read_text()
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
CODED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def documented(pattern: str) -> float:
    return float(re.search(pattern, DOCS)[1].replace(",", ""))


def test_limits_are_those_of_the_documentation():
    limits = HttpLimits()
    assert limits.request_s == documented(r"more than ([\d.]+) s to arrive")
    assert limits.max_header_bytes == documented(r"headers are over (\d+) KiB") * 1024
    assert limits.max_headers == documented(r"KiB, or more than (\d+)")


@pytest.mark.parametrize(("num_bytes", "status"), [(0, None), (99, None), (100, None), (101, 413)])
def test_a_body_may_be_as_large_as_its_limit(num_bytes, status):
    sized = HEAD + b"Content-Length: %d\r\n\r\n" % num_bytes + b"z" * num_bytes
    coded = CODED + (b"%x\r\n%s\r\n" % (num_bytes, b"z" * num_bytes) if num_bytes else b"") + b"0\r\n\r\n"
    halves = CODED + b"32\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (b"z" * 50, num_bytes - 50, b"z" * (num_bytes - 50))
    for data in (sized, coded, halves) if num_bytes > 50 else (sized, coded):
        found, refused = parse([data], max_body_bytes=100)
        assert refused == status
        assert [body for _, _, _, body, _ in found] == ([b"z" * num_bytes] if status is None else [])


def test_a_body_that_is_too_large_is_refused_before_it_comes():
    assert parse([HEAD + b"Content-Length: 101\r\n\r\n"], max_body_bytes=100) == ([], 413)


@pytest.mark.parametrize(("length", "status"), [(b"0" * 17 + b"1", None), (b"0" * 18 + b"1", 413), (b"9" * 18, 413)])
def test_a_length_has_up_to_18_digits(length, status):
    found, refused = parse([HEAD + b"Content-Length: " + length + b"\r\n\r\nx"])
    assert (len(found), refused) == (int(status is None), status)


@pytest.mark.parametrize(("count", "status"), [(100, None), (101, 431)])
def test_a_head_may_have_a_hundred_fields(count, status):
    fields = b"".join(b"x-%d: y\r\n" % number for number in range(count - 1))
    found, refused = parse([GET[:-2] + fields + b"\r\n"])
    assert (len(found), refused) == (int(status is None), status)
    if status is None:
        assert len(found[0][2]) == count
        assert parse([(GET[:-2] + fields + b"\r\n") * 3])[1] is None, "each head counts for itself"


@pytest.mark.parametrize(("count", "status"), [(98, None), (99, 431)])
def test_trailers_count_as_fields(count, status):
    trailers = b"".join(b"x-%d: y\r\n" % number for number in range(count))
    assert parse([CODED + b"0\r\n" + trailers + b"\r\n"])[1] == status


@pytest.mark.parametrize(("length", "status"), [(100, None), (101, 431)])
def test_a_target_may_be_as_long_as_a_head(length, status):
    target = b"/" + b"t" * (length - 1)
    assert parse([b"GET %s HTTP/1.0\r\n\r\n" % target], max_header_bytes=100)[1] == status


@pytest.mark.parametrize("cut", [20, 60, 99])
@pytest.mark.parametrize(("total", "status"), [(100, None), (101, 431)])
def test_an_unfinished_field_may_be_as_long_as_a_head(cut, total, status):
    """What httptools keeps until it is whole counts by the bytes that came."""
    data = (b"GET / HTTP/1.1\r\nx: " + b"y" * 200)[:total]
    assert parse([data[:cut], data[cut:]], max_header_bytes=100)[1] == status


@pytest.mark.parametrize(("total", "status"), [(100, None), (101, 431)])
def test_an_unfinished_head_behind_a_request_counts_alone(total, status):
    """The bytes of the request before it do not count, whether it has a body or not."""
    begun = (b"GET / HTTP/1.1\r\nx: " + b"y" * 200)[:total]
    for before in (GET, HEAD + b"Content-Length: 200\r\n\r\n" + b"z" * 200):
        found, refused = parse([before + begun], max_header_bytes=100)
        assert (len(found), refused) == (1, status)


@pytest.mark.parametrize(("total", "status"), [(100, None), (101, 431)])
def test_an_extension_of_a_chunk_may_be_as_long_as_a_head(total, status):
    extension = (b"1;" + b"e" * 200)[:total]
    assert parse([CODED, extension[:50], extension[50:]], max_header_bytes=100)[1] == status
    assert parse([CODED, b"1\r\nx\r\n", extension[:50], extension[50:]], max_header_bytes=100)[1] == status


def test_chunks_of_a_growing_body_do_not_count():
    found, status = parse([CODED, *[b"50\r\n%s\r\n" % (b"z" * 80)] * 20, b"0\r\n\r\n"], max_header_bytes=100)
    assert status is None
    assert len(found[0][3]) == 1_600


def test_phases():
    parser = RequestParser(HttpLimits())
    assert (parser.phase, parser.is_receiving) == (IDLE, False)
    parser.feed(HEAD, 0)
    assert parser.is_receiving
    parser.feed(b"Content-Length: 2\r\n\r\n", 0)
    assert (parser.phase, parser.is_receiving) == (SIZED, True)
    parser.feed(b"ab", 0)
    assert (parser.phase, parser.is_receiving, parser.take_body()) == (IDLE, False, b"ab")
    assert (parser.complete, parser.take_body()) == (None, b"")
    parser.feed(CODED, 0)
    assert (parser.phase, parser.is_receiving) == (CHUNKED, True)
    parser.close()
    assert (parser.phase, parser.is_receiving) == (OVER, False)


def test_a_request_began_with_its_first_byte():
    parser = RequestParser(HttpLimits())
    for now_s, data in ((1.0, GET[:5]), (2.0, GET[5:]), (3.0, GET[:-1]), (4.0, GET[-1:] + GET)):
        parser.now_s = now_s
        parser.feed(data, 0)
    assert parser.began_s == 3.0
    parser.feed(GET, 0)
    assert parser.began_s == 4.0


def test_an_offer_that_is_parsed_again_began_once():
    parser = RequestParser(HttpLimits())
    offer = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    parser.now_s = 1.0
    parser.feed(offer[:9], 0)
    parser.now_s = 2.0
    parser.feed(offer[9:], 0)
    assert parser.complete is not None
    assert parser.began_s == 1.0
    assert (b"upgrade", b"h2c") not in parser.complete.headers


@pytest.mark.parametrize(
    ("data", "detail"),
    [
        (GET.replace(b"1.1", b"2.0"), "this server speaks HTTP/1.1 and HTTP/1.0"),
        (GET.replace(b"GET /", b"CONNECT a:80").replace(b"a\r\n", b"a\r\nUpgrade: x\r\n"), "this server is no proxy"),
        (GET.replace(b" /", b" ftp://a/"), "the request's target must be a path"),
        (GET.replace(b" /", b" a/b"), "not well-formed"),
        (b"GET / HTTP/1.1\r\n\r\n", "exactly one Host header"),
        (GET.replace(b": a", b": a b"), "the Host is malformed"),
        (HEAD + b"Content-Encoding: gzip\r\n\r\n", "compressed bodies are not taken"),
        (HEAD + b"Content-Length: 9999999\r\n\r\n", "the body is over 1048576 bytes"),
        (GET[:-2] + b"a: b\r\n" * 100 + b"\r\n", "the headers are over 32768 bytes or 100 fields"),
        (b"GET /" + b"a" * 40_000, "the URL is too long"),
        (b"\x00\r\n\r\n", "not well-formed HTTP/1.1"),
    ],
)
def test_a_refusal_says_what_is_wrong(data, detail):
    parser = RequestParser(HttpLimits())
    parser.feed(data, 0)
    assert detail in parser.refusal.detail
    assert not parser.is_receiving
    assert parser.complete is None


def test_a_plain_encoding_of_the_body_is_none():
    assert parse([HEAD + b"Content-Encoding: Identity\r\nContent-Length: 1\r\n\r\nx"])[1] is None


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b" chunked "])
def test_chunked_is_read_in_any_case(value):
    found, status = parse([CODED.replace(b"chunked", value) + b"1\r\nx\r\n0\r\n\r\n"])
    assert (found[0][3], status) == (b"x", None)


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
def test_whether_a_connection_goes_on(version, connection, keep_alive):
    field = f"Connection: {connection}\r\n" if connection else ""
    ((*_, goes_on),), status = parse([f"GET / HTTP/{version}\r\nHost: a\r\n{field}\r\n".encode()])
    assert (goes_on, status) == (keep_alive, None)
