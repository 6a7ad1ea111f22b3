"""The protocol of Redis: what is encoded can be read, however the bytes are cut; anything else is an error."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.redis_store.resp import ErrorReply, ProtocolError, ReplyReader, encode

LINES = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20)
REPLIES = st.recursive(
    st.none() | st.binary(max_size=40) | st.integers(-(10**18), 10**18) | LINES | LINES.map(ErrorReply),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


def to_bytes(reply):
    match reply:
        case None:
            return b"$-1\r\n"
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(reply), reply)
        case int():
            return b":%d\r\n" % reply
        case ErrorReply():
            return b"-%b\r\n" % reply.encode()
        case str():
            return b"+%b\r\n" % reply.encode()
    return b"*%d\r\n" % len(reply) + b"".join(map(to_bytes, reply))


@given(st.lists(REPLIES, max_size=6), st.lists(st.integers(0, 400), max_size=12))
def test_replies_are_read_however_their_bytes_are_cut(replies, cuts):
    stream = b"".join(map(to_bytes, replies))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader, found = ReplyReader(), []
    for start, stop in itertools.pairwise(places):
        found += reader.feed(stream[start:stop])
    assert found == replies
    assert [type(each) for each in found] == [type(each) for each in replies]


@given(st.lists(REPLIES, min_size=1, max_size=2))
def test_replies_are_read_byte_by_byte(replies):
    reader, found = ReplyReader(), []
    for byte in b"".join(map(to_bytes, replies)):
        found += reader.feed(bytes([byte]))
    assert found == replies


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=8))
def test_a_command_is_an_array_of_its_parts(parts):
    assert ReplyReader().feed(encode(parts)) == [parts]


@given(st.binary(min_size=1, max_size=60))
def test_no_bytes_do_harm(data):
    reader = ReplyReader()
    try:
        reader.feed(data)
        reader.feed(b"\r\n")
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n", b"$17000000\r\n", b"$-2\r\n", b"$x\r\n", b"*1000001\r\n", b"*99999999999\r\n",
        b"$0000000001\r\n", b":\r\n", b":1.5\r\n", b":" + b"9" * 30 + b"\r\n", b"\r\n",
        b"x" * 20_000, b"%1\r\n", "$²\r\n".encode(),
    ],
)  # fmt: skip
def test_another_protocol_is_noticed(data):
    with pytest.raises(ProtocolError, match="does not speak Redis' protocol"):
        ReplyReader().feed(data)


@pytest.mark.parametrize("before", [b"", b":1\r\n"])
def test_a_line_ends_within_sixteen_kibibytes(before):
    ReplyReader().feed(before + b"+" * 16_384)
    with pytest.raises(ProtocolError):
        ReplyReader().feed(before + b"+" * 16_385)


def test_a_number_may_be_negative():
    assert ReplyReader().feed(b":-5\r\n:0\r\n") == [-5, 0]
    with pytest.raises(ProtocolError):
        ReplyReader().feed(b":--5\r\n")


def test_an_error_has_a_code():
    (reply,) = ReplyReader().feed(b"-OOM command not allowed\r\n")
    assert reply.code == "OOM"


def test_a_long_value_is_joined_once():
    reader = ReplyReader()
    chunk = b"x" * 65_536
    assert reader.feed(b"$%d\r\n" % (160 * len(chunk))) == []
    for _ in range(160):
        assert reader.feed(chunk) == []
    assert len(reader._chunks) > 100
    assert reader.feed(b"\r\n") == [chunk * 160]
