"""Every frame, byte for byte as the module's table describes it: the other end may be of another release."""

from __future__ import annotations

import struct

import pytest

from divisions.errors import ChannelError
from divisions.wire import (
    MAX_FRAME_BYTES,
    SMALL_BYTES,
    FrameReader,
    Hello,
    Request,
    Status,
    decode_frame,
    encode_hello,
    encode_hello_ack,
    encode_reply,
    encode_request,
)

FRAMES = {
    "HELLO": (encode_hello(b"tok"), struct.pack("<IBBH", 7, 1, 0, 0) + b"tok"),
    "HELLO_ACK": (encode_hello_ack(1, 20, 256, "3.2"), struct.pack("<IBBHHI", 13, 1, 1, 1, 20, 256) + b"3.2"),
    "REQUEST": (
        encode_request(2**33, 2, 3, 70_000, b"x" * 24),
        struct.pack("<IBBHIQI", 44, 1, 2, 3, 2, 2**33, 70_000) + b"x" * 24,
    ),
    "REPLY": (
        encode_reply(2**33, 0, 2, 5, 7, b"12345678"),
        struct.pack("<IBBHIQII", 32, 1, 3, 0, 2, 2**33, 5, 7) + b"12345678",
    ),
}


@pytest.mark.parametrize("name", list(FRAMES))
def test_a_frame_has_exactly_these_bytes(name):
    encoded, expected = FRAMES[name]
    assert encoded == expected
    (length,) = struct.unpack_from("<I", encoded)
    assert length == len(encoded) - 4


@pytest.mark.parametrize("name", list(FRAMES))
def test_a_frame_that_is_cut_or_longer_is_refused(name):
    encoded, _ = FRAMES[name]
    for data in (encoded[:5], encoded[:-1], encoded + b"x"):
        with pytest.raises(ChannelError):
            decode_frame(data)
    assert decode_frame(encoded) is not None


def test_the_numbers_of_states_are_part_of_the_format():
    assert {status.name: int(status) for status in Status} == {
        "OK": 0,
        "REFUSED": 1,
        "EXPIRED": 2,
        "FAILED": 3,
        "CLOSING": 4,
        "PARTIAL": 5,
    }


@pytest.mark.parametrize("status", [Status.REFUSED, Status.EXPIRED, Status.FAILED, Status.CLOSING])
def test_a_reply_without_scores_has_a_text_of_any_length(status):
    assert decode_frame(encode_reply(1, status, 3, 0, 0, b"why")).payload == b"why"


def test_times_and_deadlines_end_at_the_largest_number_of_their_field():
    assert decode_frame(encode_request(1, 0, 0, 2**32, b"")).deadline_us == 2**32 - 1
    reply = decode_frame(encode_reply(1, Status.FAILED, 0, 2**32, 2**32))
    assert (reply.queue_us, reply.compute_us) == (2**32 - 1, 2**32 - 1)


def test_a_frame_may_be_exactly_as_large_as_the_cap():
    frame = encode_request(1, 25, 1, 0, bytes(100))
    assert [type(each) for each in FrameReader(len(frame)).feed(frame)] == [Request]
    with pytest.raises(ChannelError, match=f"frame of {len(frame)} bytes is over the cap of {len(frame) - 1}"):
        list(FrameReader(len(frame) - 1).feed(frame))
    assert MAX_FRAME_BYTES == 64 * 1024 * 1024, "docs/serving.md says 64 MiB"
    assert FrameReader().max_frame_bytes == MAX_FRAME_BYTES


@pytest.mark.parametrize("cut", range(1, 40))
def test_frames_that_are_cut_anywhere_are_whole_in_the_end(cut):
    stream = encode_hello(b"token") + encode_request(1, 4, 1, 0, bytes(16)) + encode_hello(b"")
    reader = FrameReader()
    found = [*reader.feed(stream[:cut]), *reader.feed(stream[cut:])]
    assert [type(each) for each in found] == [Hello, Request, Hello]


def test_nothing_is_decoded_again_before_a_large_frame_is_whole():
    frame = encode_request(1, 5_000, 1, 0, bytes(20_000))
    reader = FrameReader()
    assert list(reader.feed(frame[:10])) == []
    for start in range(10, len(frame) - 1, 1_000):
        assert list(reader.feed(frame[start : min(start + 1_000, len(frame) - 1)])) == []
    assert [type(each) for each in reader.feed(frame[-1:])] == [Request]


def test_a_large_payload_is_a_view_and_a_small_one_bytes():
    for size, kind in ((SMALL_BYTES, bytes), (4 * SMALL_BYTES, memoryview)):
        frame = encode_request(1, size // 4 - 8, 1, 0, bytes(size - 32))
        (request,) = FrameReader().feed(frame)
        assert isinstance(request.rows_f32, kind)
