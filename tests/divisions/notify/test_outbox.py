"""The outbox: each notice once, bounded, nothing old, whatever is added and told in whatever order."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from divisions.notice import Notice, Topic
from divisions.notify.outbox import MOST_TOLD, MOST_WAITING, REMEMBERED_S, Outbox, added, fresh, told
from divisions.notify.retry import OLDEST_S


def notice(key: str, at_s: float = 0.0) -> Notice:
    return Notice(key, Topic.HELD, "churn", "", at_s)


@given(st.lists(st.tuples(st.sampled_from(["add", "tell"]), st.integers(0, 9))))
def test_a_notice_is_told_once_however_often_it_is_added(steps):
    box, sent = Outbox(), []
    for step, number in steps:
        if step == "add":
            box, dropped = added(box, notice(str(number)))
            assert dropped == 0
        elif box.waiting:
            sent.append(box.waiting[0].key)
            box = told(box, box.waiting[0], 0.0)
        box = msgspec.json.decode(msgspec.json.encode(box), type=Outbox)
    sent += [each.key for each in box.waiting]
    assert sorted(sent) == sorted({str(number) for step, number in steps if step == "add"} & set(sent))
    assert set(sent) == {str(number) for step, number in steps if step == "add"}


def test_too_many_cost_the_oldest_and_memory_is_bounded():
    box, lost = Outbox(), 0
    for number in range(MOST_WAITING + 3):
        box, dropped = added(box, notice(str(number)))
        lost += dropped
    assert (lost, len(box.waiting), box.waiting[0].key) == (3, MOST_WAITING, "3")
    for number in range(MOST_TOLD + 5):
        box = told(box, notice(f"told {number}"), 0.0)
    assert len(box.told) == MOST_TOLD
    assert box.knows(f"told {MOST_TOLD + 4}")
    assert not box.knows("told 4")


def test_a_told_key_is_forgotten_when_nothing_can_bring_it_back():
    box = told(Outbox(), notice("old"), 0.0)
    assert told(box, notice("new"), REMEMBERED_S).knows("old")
    assert not told(box, notice("new"), REMEMBERED_S + 1).knows("old")


@given(st.lists(st.floats(0.0, 10_000.0), max_size=20), st.floats(0.0, 10_000.0))
def test_what_is_too_old_is_given_up_and_never_comes_again(times, now_s):
    box = Outbox(tuple(notice(str(number), at_s) for number, at_s in enumerate(times)))
    left, lost = fresh(box, now_s)
    old = [each for each in box.waiting if now_s - each.at_s > OLDEST_S]
    assert lost == len(old)
    assert [each for each in box.waiting if each not in old] == list(left.waiting)
    assert all(added(left, each) == (left, 0) for each in old)
