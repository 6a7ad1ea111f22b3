from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import ChannelError
from divisions.wire import (
    MAX_FRAME_BYTES,
    Frame,
    FrameReader,
    Hello,
    HelloAck,
    Reply,
    Request,
    Status,
    decode_frame,
    encode_hello,
    encode_hello_ack,
    encode_reply,
    encode_request,
)

U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (16, 32, 64))


@st.composite
def requests(draw) -> tuple[bytes, Frame]:
    rows, columns = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    payload = draw(st.binary(min_size=rows * columns * 4, max_size=rows * columns * 4))
    request_id, deadline_us = draw(U64), draw(U32)
    data = encode_request(request_id, rows, columns, deadline_us, payload)
    return data, Request(request_id, rows, columns, deadline_us, payload)


@st.composite
def replies(draw) -> tuple[bytes, Frame]:
    status, rows = draw(st.sampled_from(Status)), draw(st.integers(0, 9))
    is_ok = status in {Status.OK, Status.PARTIAL}
    payload = draw(st.binary(min_size=rows * 4, max_size=rows * 4) if is_ok else st.binary(max_size=40))
    request_id, queue_us, compute_us = draw(U64), draw(U32), draw(U32)
    data = encode_reply(request_id, status, rows, queue_us, compute_us, payload)
    return data, Reply(request_id, status, rows, queue_us, compute_us, payload)


@st.composite
def greetings(draw) -> tuple[bytes, Frame]:
    if draw(st.booleans()):
        token = draw(st.binary(max_size=64))
        return encode_hello(token), Hello(token)
    values = draw(U16), draw(U16), draw(U32), draw(st.text(max_size=12))
    return encode_hello_ack(*values), HelloAck(*values)


FRAMES = st.one_of(requests(), replies(), greetings())


@given(FRAMES)
def test_a_frame_survives_the_way(frame: tuple[bytes, Frame]) -> None:
    data, expected = frame
    assert decode_frame(data) == expected


@given(st.lists(FRAMES, max_size=8), st.data())
def test_frames_survive_any_cutting_of_the_stream(frames: list[tuple[bytes, Frame]], data: st.DataObject) -> None:
    stream = b"".join(encoded for encoded, _ in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader, seen = FrameReader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        seen += list(reader.feed(stream[begin:end]))
    assert seen == [expected for _, expected in frames]


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_noise_raises_nothing_but_channel_errors(pieces: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for piece in pieces:
            for frame in reader.feed(piece):
                assert isinstance(frame, Frame)
    except ChannelError:
        pass


@given(FRAMES, st.integers(0, 200), st.integers(1, 255))
def test_a_damaged_frame_decodes_or_raises_a_channel_error(frame: tuple[bytes, Frame], place: int, flip: int) -> None:
    data = bytearray(frame[0])
    data[place % len(data)] ^= flip
    with contextlib.suppress(ChannelError):
        assert isinstance(decode_frame(bytes(data)), Frame)


def test_a_frame_over_the_cap_is_refused_before_it_is_held() -> None:
    with pytest.raises(ChannelError, match="over the cap"):
        list(FrameReader().feed((MAX_FRAME_BYTES - 3).to_bytes(4, "little")))


def test_the_cap_may_rise_between_two_frames_of_one_piece() -> None:
    reader = FrameReader(max_frame_bytes=64)
    large = encode_request(1, 10, 10, 5, bytes(400))
    seen = []
    for frame in reader.feed(encode_hello(b"token") + large):
        seen.append(type(frame))
        reader.max_frame_bytes = 1_000
    assert seen == [Hello, Request]


def test_a_large_frame_in_small_pieces_is_joined_in_linear_time() -> None:
    frame = encode_request(1, 1_000, 1_000, 5, bytes(4_000_000))
    reader = FrameReader()
    seen = [type(found) for begin in range(0, len(frame), 1_000) for found in reader.feed(frame[begin : begin + 1_000])]
    assert seen == [Request]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x01", "shorter than its prefix"),
        (encode_hello(b"")[:4] + b"\x02" + encode_hello(b"")[5:], "wire version 2"),
        (encode_hello(b"") + b"x", "frame says 8 bytes, but has 9"),
        (b"\x02\x00\x00\x00\x01\x02", "frame of kind 2 is damaged"),
        (b"\x02\x00\x00\x00\x01\x09", "unknown frame kind 9"),
        (encode_request(1, 2, 1, 5, bytes(4)), "payload must be 8 bytes, got 4"),
        (encode_reply(1, Status.OK, 2, 5, 5, bytes(4)), "payload must be 8 bytes, got 4"),
        (encode_reply(1, Status.PARTIAL, 2, 5, 5, bytes(4)), "payload must be 8 bytes, got 4"),
    ],
)
def test_errors_say_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(ChannelError, match=message):
        decode_frame(data)


def test_a_deadline_that_has_passed_or_is_far_away_is_clamped() -> None:
    assert decode_frame(encode_request(1, 0, 1, -5, b"")).deadline_us == 0
    assert decode_frame(encode_request(1, 0, 1, 2**40, b"")).deadline_us == 2**32 - 1


def test_times_beyond_the_field_are_clamped() -> None:
    reply = decode_frame(encode_reply(1, Status.OK, 0, 2**40, 2**41))
    assert (reply.queue_us, reply.compute_us) == (2**32 - 1, 2**32 - 1)
    reply = decode_frame(encode_reply(1, Status.OK, 0, 5, 7))
    assert (reply.queue_us, reply.compute_us) == (5, 7)
