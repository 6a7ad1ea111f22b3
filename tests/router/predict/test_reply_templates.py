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
    threshold=st.none() | st.floats(0, 1),
)
def test_a_reply_says_what_it_was_filled_with_and_how_long_it_is(
    request_id, total_us, compute_us, entity, score, names, threshold
):
    endpoint, model, label = names
    form = ReplyTemplate(b"customer_id", endpoint, Version("app", model, label, threshold))
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
        decision = said.pop(endpoint.decode(), None)
        assert decision is (None if threshold is None else score >= threshold)
        member = b',"%s":%s' % (endpoint, b"true" if decision else b"false")
        assert form.decision(score) == (b"" if threshold is None else member)
        assert said == {
            "customer_id": entity,
            "model": model.decode(),
            "version": label.decode(),
            "request_id": request_id.decode(),
        }


@pytest.mark.parametrize("name", [b"model", b"version", b"request_id", b"customer_id", b"features_as_of"])
def test_an_endpoint_with_the_name_of_another_member_gets_no_decision(name):
    form = ReplyTemplate(b"customer_id", name, Version("app", b"m", b"3.1", 0.5))
    body = form.fill(b"r", 1, 1, b"", b"null", 0.75).partition(b"\r\n\r\n")[2]
    assert body.count(b'"%s":' % name) == (1 if name != b"features_as_of" else 0)
    assert (form.decision(0.75), b"true" in body) == (b"", False)
