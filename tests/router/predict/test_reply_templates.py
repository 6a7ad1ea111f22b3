"""Replies that are put together from templates and tables."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.predict.jobs import Version
from router.predict.reply_templates import ReplyTemplate, millis

IDS = st.text("abc-._%", min_size=1, max_size=128).map(str.encode)


@given(st.integers(0, 10**9))
def test_microseconds_are_told_as_milliseconds(us):
    assert millis(us) == b"%.3f" % (us / 1000)


@given(
    request_id=IDS,
    total_us=st.integers(0, 20_000_000),
    compute_us=st.integers(0, 20_000_000),
    entity=st.none() | st.text(max_size=2_000),
    score=st.floats(0, 1, width=32),
    names=st.tuples(IDS, IDS, IDS),
)
def test_a_reply_says_what_it_was_filled_with_and_how_long_it_is(
    request_id, total_us, compute_us, entity, score, names
):
    endpoint, model, label = names
    form = ReplyTemplate(b"customer_id", endpoint, Version("app", model, label))
    for _ in range(2):  # the second time from what the form has remembered
        reply = form.fill(
            request_id, total_us, compute_us, b"connection: close\r\n", msgspec.json.encode(entity), score
        )
        head, _, body = reply.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines)
        assert status == b"HTTP/1.1 200 OK"
        assert int(headers[b"content-length"]) == len(body)
        assert headers[b"x-request-id"] == request_id
        assert headers[b"x-model-version"] == label
        assert headers[b"connection"] == b"close"
        queue, compute = (float(part.partition(b"dur=")[2]) for part in headers[b"server-timing"].split(b", "))
        assert queue == pytest.approx(max(0, total_us - compute_us) / 1e3)
        assert compute == pytest.approx(compute_us / 1e3)
        said = msgspec.json.decode(body)
        assert said.pop(f"{endpoint.decode()}_probability") == pytest.approx(score, rel=1e-7)
        assert said == {
            "customer_id": entity,
            "model": model.decode(),
            "version": label.decode(),
            "request_id": request_id.decode(),
        }
