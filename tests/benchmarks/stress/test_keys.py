"""The arithmetic of the benchmark of keys, and that its loads carry a key."""

from __future__ import annotations

import pytest

from benchmarks.load.http_client import Target
from benchmarks.load.load_test import plan_load
from benchmarks.load.open_loop import OpenLoop
from benchmarks.stress.keys import cost_of, keys_for
from divisions.access.limits import Limits
from divisions.access.tokens import holds, split

URL = "http://127.0.0.1:1/p"


def test_the_cost_is_the_median_of_the_rounds():
    assert cost_of([110.0, 99.0, 300.0], [100.0, 100.0, 100.0]) == pytest.approx(0.1)


def test_each_name_has_a_token_that_is_right_and_its_limits():
    limits = Limits(rate=5)
    known, given = keys_for(("modest", Limits()), ("noisy", limits))
    for record, token in zip(known.tokens, given, strict=True):
        assert holds(record, split(token.encode())[1])
    assert [record.limits for record in known.tokens] == [Limits(), limits]


def test_every_request_of_a_plan_has_its_headers():
    plan = plan_load(URL, [b"{}"], 10.0, 1.0, headers=[("authorization", "Bearer x")])
    assert OpenLoop(plan)._requests == [Target.parse(URL).encode_post(b"{}", {"authorization": "Bearer x"})]
