"""Limits as a person writes them, and as a list shows them."""

from __future__ import annotations

import msgspec
import pytest

from divisions.access import tokens
from divisions.access.limits import MAX_CONCURRENCY, NO_LIMITS, Limits, read_limits, show_limits
from divisions.access.roles import Role
from divisions.access.store import decode, encode
from divisions.access.tokens import AccessList
from divisions.errors import UsageError


@pytest.mark.parametrize(
    ("rate", "concurrency", "deadline", "limits", "shown"),
    [
        ("", 0, "", NO_LIMITS, "none"),
        ("100/s", 8, "200ms", Limits(100, 1, 8, 200), "100/s, 8 at once, 200ms"),
        ("6000/m", 0, "", Limits(6_000, 60), "6000/m"),
        ("5/h", 0, "2s", Limits(5, 3_600, 0, 2_000), "5/h, 2000ms"),
        ("1000000/d", 0, "", Limits(1_000_000, 86_400), "1000000/d"),
    ],
)
def test_limits_are_read_and_shown(rate, concurrency, deadline, limits, shown):
    assert read_limits(rate, concurrency, deadline) == limits
    assert show_limits(limits) == shown


@pytest.mark.parametrize(
    ("rate", "concurrency", "deadline"),
    [
        ("100", 0, ""),
        ("0/s", 0, ""),
        ("-1/s", 0, ""),
        ("1/w", 0, ""),
        ("1000000001/s", 0, ""),
        ("", -1, ""),
        ("", MAX_CONCURRENCY + 1, ""),
        ("", 0, "200"),
        ("", 0, "0ms"),
        ("", 0, "601s"),
    ],
)
def test_what_is_no_limit_is_refused_with_an_example(rate, concurrency, deadline):
    with pytest.raises(UsageError, match="write "):
        read_limits(rate, concurrency, deadline)


def test_limits_are_kept_with_the_token_and_survive_its_rotation():
    limits, some = Limits(100, 1, 8, 200), b"x" * tokens.random_bytes_needed()
    known, _ = tokens.create(
        AccessList(), "ci", Role.PREDICTOR, (), 1.0, by="admin", now_s=0.0, randomness=some, limits=limits
    )
    rotated, _ = tokens.rotate(decode(encode(known), "here"), "ci", by="admin", now_s=1.0, randomness=some)
    assert [record.principal.limits for record in rotated.tokens] == [limits]


def test_a_list_of_a_release_without_limits_has_none():
    some = b"x" * tokens.random_bytes_needed()
    known, _ = tokens.create(AccessList(), "ci", Role.PREDICTOR, (), 1.0, by="admin", now_s=0.0, randomness=some)
    document = msgspec.json.decode(encode(known))
    del document["access"]["tokens"][0]["limits"]
    assert decode(msgspec.json.encode(document), "here") == known
