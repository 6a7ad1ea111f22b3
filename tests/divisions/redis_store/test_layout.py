"""How rows are asked for and read: layers, and what must be asked again."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import OnlineStoreError, StoreUnavailableError
from divisions.redis_store.layout import RowQuery, pack_row, read_layers, unpack_row
from divisions.redis_store.resp import ErrorReply, ReplyReader

OLD, NEW = b"0" * 16, b"a" * 16
PREFIX = b"divisions:online:{churn}:"
TIMES = st.floats(allow_nan=False)


@given(TIMES, st.binary())
def test_rows_are_packed_and_unpacked(event_time_s, features):
    assert unpack_row("c", pack_row(features, event_time_s)) == ("c", features, event_time_s)


@given(st.lists(st.tuples(st.none() | TIMES, st.none() | TIMES), min_size=1, max_size=6))
def test_of_two_layers_the_newer_row_wins_and_of_equal_ones_that_of_the_newer_layer(times):
    ids = [f"c-{index}" for index in range(len(times))]
    query = RowQuery(PREFIX, (NEW, OLD), ids)
    rows = [
        [None if pair[layer] is None else pack_row(b"%d" % layer, pair[layer]) for pair in times] for layer in (0, 1)
    ]
    found = query.read([*rows, 2, NEW + b" " + OLD])
    for entity_id, (newer, older) in zip(ids, times, strict=True):
        if newer is None and older is None:
            assert entity_id not in found
        elif older is None or (newer is not None and newer >= older):
            assert found[entity_id] == (entity_id, b"0", newer)
        else:
            assert found[entity_id] == (entity_id, b"1", older)


def test_a_damaged_row_has_no_features():
    assert RowQuery(PREFIX, (NEW,), ["a", "b"]).read([[b"short", pack_row(b"{}", 1.0)], 1, NEW]) == {
        "a": ("a", b"", math.inf),
        "b": ("b", b"{}", 1.0),
    }


def test_the_layers_are_asked_for_after_the_rows():
    sent = ReplyReader().feed(RowQuery(PREFIX, (NEW, OLD), ["c", "\ud800"]).encode())
    rows, layers = PREFIX + b"rows:", PREFIX + b"layers"
    assert sent == [
        [b"HMGET", rows + NEW, b"c", b"\xed\xa0\x80"],
        [b"HMGET", rows + OLD, b"c", b"\xed\xa0\x80"],
        [b"EXISTS", rows + NEW, rows + OLD],
        [b"GET", layers],
    ]
    assert ReplyReader().feed(RowQuery(PREFIX, (), ["c"]).encode()) == [[b"GET", layers]]


def test_a_query_is_asked_again_if_the_layers_are_others():
    for known, replies in [((), [NEW]), ((OLD,), [[None], 0, NEW]), ((OLD,), [[pack_row(b"", 1.0)], 1, NEW])]:
        query = RowQuery(PREFIX, known, ["c"])
        assert query.num_replies == len(replies)
        assert query.read(replies) is None
        assert query.layers == (NEW,)


@pytest.mark.parametrize("replies", [[[None], 0, None], [[None], 0, NEW]])
def test_a_store_without_rows_is_an_error(replies):
    """Also one whose rows were evicted: not everybody is unknown then."""
    query = RowQuery(PREFIX, (NEW,), ["c"])
    with pytest.raises(OnlineStoreError, match="no customers of this endpoint") as caught:
        query.read(replies)
    assert not isinstance(caught.value, StoreUnavailableError)


def test_a_refusal_tells_its_code_only():
    with pytest.raises(StoreUnavailableError) as caught:
        RowQuery(PREFIX, (NEW,), ["c"]).read([ErrorReply("WRONGTYPE of a secret key"), 1, NEW])
    assert "refused: WRONGTYPE" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("replies", [[b"x", 1, NEW], [[], 1, NEW], [[None], 1, b"x"]])
def test_values_of_others_are_told(replies):
    with pytest.raises(OnlineStoreError, match="not of Divisions"):
        RowQuery(PREFIX, (NEW,), ["c"]).read(replies)


@pytest.mark.parametrize("value", [b"", b"x", NEW + b" ", b" ".join([NEW, OLD, OLD]), 3, [NEW], b"/" * 16])
def test_layers_have_names_of_ours(value):
    with pytest.raises(OnlineStoreError, match="not of Divisions"):
        read_layers(value)
