"""Look-ups in a shared store: many requests in one question, deadlines kept, memory bounded, a lost link survived."""

from __future__ import annotations

import asyncio

import pytest

from divisions.errors import DivisionsError, OnlineStoreError, OverloadedError, StoreUnavailableError
from divisions.redis_store.layout import pack_row
from divisions.redis_store.resp import ErrorReply, ReplyReader
from router.predict.shared_features import (
    IDLE_S,
    KEYS_PER_QUESTION,
    MOST_QUESTIONS,
    MOST_TRIES,
    MOST_WAITING_KEYS,
    SILENCE_S,
    SharedFeatures,
)
from router.predict.store_link import Link
from router.predict.stored_features import SLICE_KEYS, LookUp

LAYER = b"0" * 16


class FakeLink(Link):
    """A link to a server in memory, which answers when it is told to."""

    def __init__(self, owner) -> None:
        super().__init__()
        self.owner = owner
        self.sent: list[list[list[bytes]]] = []
        self.dropped: list[str] = []
        self.layers: bytes | None = LAYER
        self.rows = lambda key: pack_row(key, 1.0)

    def start(self):
        self.is_ready = True
        self.owner.link_ready()

    def send(self, data):
        self.sent.append(ReplyReader().feed(data))

    def drop(self, reason):
        self.dropped.append(reason)
        self.lose()

    def close(self):
        self.is_ready = False

    def lose(self):
        self.sent.clear()
        self.is_ready = False
        self.owner.link_lost()

    def go_away(self):
        self.is_away = True
        self.owner.link_away()

    def come_back(self):
        self.is_ready, self.is_away = True, False
        self.owner.link_ready()

    def answer(self, most=1_000_000):
        """Answers what was sent, and what is sent because of the answers."""
        while self.sent and most:
            most -= 1
            self.owner.link_replied([self._reply(command) for command in self.sent.pop(0)])

    def _reply(self, command):
        match command:
            case [b"GET", _]:
                return self.layers
            case [b"HMGET", _, *keys]:
                return [self.rows(key) for key in keys]
            case [b"EXISTS", *keys]:
                return len(keys)
            case [b"PING"]:
                return "PONG"
        raise AssertionError(command)

    @property
    def keys(self):
        """The customers of each question that has not been answered."""
        return [len(command) - 2 for commands in self.sent for command in commands if command[0] == b"HMGET"]


class Recorder(LookUp):
    def __init__(self, keys, give_up_s=1e9, endpoint="churn") -> None:
        super().__init__(endpoint, keys, give_up_s)
        self.results: dict[str, bytes | None] = {}
        self.end = ""
        self.error: Exception | None = None
        self.refuses: Exception | None = None

    def found(self, key, stored):
        if self.refuses is not None:
            raise self.refuses
        self.results[key] = stored and stored[1]

    def complete(self):
        self.end += "complete"

    def failed(self, error):
        self.end += "failed"
        self.error = error

    def unavailable(self, error):
        self.end += "unavailable"
        self.error = error


class Stage:
    def __init__(self, is_known=True) -> None:
        self.now_s = 100.0
        self.links: list[FakeLink] = []
        self.features = SharedFeatures(self._open, lambda: self.now_s)
        self.link = self.links[0]
        self.features.start()
        self.is_known = is_known

    def _open(self, owner):
        self.links.append(FakeLink(owner))
        return self.links[0]

    async def ask(self, *look_ups):
        if self.is_known:  # the layers are known already
            self.is_known = False
            first = Recorder(["first"])
            self.features.look_up(first)
            await asyncio.sleep(0)
            self.link.answer()
            assert first.end == "complete"
        for each in look_ups:
            self.features.look_up(each)
        await asyncio.sleep(0)

    @property
    def waiting(self):
        return self.features.health().waiting_keys

    def after(self, seconds):
        self.now_s += seconds
        self.features.sweep()


def keys(number, prefix="c"):
    return [f"{prefix}-{each}" for each in range(number)]


def test_the_customers_of_a_turn_are_one_question(run):
    async def scenario():
        it = Stage()
        look_ups = [Recorder([f"c-{index}", "same"]) for index in range(20)]
        await it.ask(*look_ups)
        assert it.link.keys == [40]
        it.link.answer()
        assert {each.end for each in look_ups} == {"complete"}
        assert look_ups[7].results == {"c-7": b"c-7", "same": b"same"}
        assert it.waiting == 0

    run(scenario())


def test_layers_are_found_first_and_a_changed_layer_is_asked_again(run):
    async def scenario():
        it = Stage(is_known=False)
        one = Recorder(["c"])
        await it.ask(one)
        assert it.link.sent == [[[b"GET", b"divisions:online:{churn}:layers"]]]
        it.link.answer(1)
        it.link.layers = b"1" * 16 + b" " + LAYER
        it.link.answer(1)
        assert it.link.keys == [1, 1], "it is asked of both layers now"
        it.link.answer(1)
        assert one.end == "complete"

    run(scenario())


def test_layers_that_never_stay_are_given_up(run):
    async def scenario():
        it = Stage()
        one = Recorder(["c"])
        await it.ask(one)
        for number in range(MOST_TRIES):
            it.link.layers = b"%016d" % (number + 1)
            it.link.answer(1)
        assert one.end == "unavailable"
        assert it.waiting == 0

    run(scenario())


def test_a_large_request_is_cut_and_does_not_hold_up_a_small_one(run):
    async def scenario():
        it = Stage()
        greedy, small = Recorder(keys(4_096)), Recorder(["small"])
        await it.ask(greedy)
        assert it.link.keys == [KEYS_PER_QUESTION] * MOST_QUESTIONS
        await it.ask(small)
        assert len(it.link.keys) == MOST_QUESTIONS, "no more at a time"
        it.link.answer(MOST_QUESTIONS + 1)
        assert small.end == "complete"
        assert not greedy.end
        it.link.answer()
        assert greedy.end == "complete"
        assert len(greedy.results) == 4_096

    run(scenario())


def test_requests_take_turns_in_a_question(run):
    async def scenario():
        it = Stage()
        look_ups = [Recorder(keys(100, f"r{number}")) for number in range(2)]
        await it.ask(*look_ups)
        asked = [key.decode()[:2] for key in it.link.sent[0][0][2:]]
        assert asked == [name for name in ("r0", "r1", "r0", "r1") for _ in range(SLICE_KEYS)]
        it.link.answer()
        assert [each.end for each in look_ups] == ["complete"] * 2

    run(scenario())


def test_endpoints_have_questions_of_their_own(run):
    async def scenario():
        it = Stage()
        churn, spam = Recorder(["a"]), Recorder(["b"], endpoint="spam")
        await it.ask(churn, spam)
        assert [commands[0][1] for commands in it.link.sent] == [
            b"divisions:online:{churn}:rows:" + LAYER,
            b"divisions:online:{spam}:layers",
        ]
        it.link.answer()
        assert churn.end == spam.end == "complete"

    run(scenario())


def test_an_unknown_customer_is_none_and_a_refused_row_ends_its_request_alone(run):
    async def scenario():
        it = Stage()
        it.link.rows = lambda key: None if key == b"nobody" else pack_row(key, 1.0)
        unknown, refusing, broken, good = (
            Recorder(["nobody", "c"]),
            Recorder(keys(300)),
            Recorder(["c"]),
            Recorder(["c"]),
        )
        refusing.refuses, broken.refuses = OnlineStoreError("stale"), ValueError("bug")
        await it.ask(unknown, refusing, broken, good)
        it.link.answer()
        assert unknown.results == {"nobody": None, "c": b"c"}
        assert [each.end for each in (unknown, refusing, broken, good)] == ["complete", "failed", "failed", "complete"]
        assert type(broken.error) is DivisionsError, "it says nothing of the bug"
        assert it.waiting == 0

    run(scenario())


def test_a_request_that_waits_too_long_is_ended_once_and_its_late_reply_is_dropped(run):
    async def scenario():
        it = Stage()
        short, long = Recorder(["a"], give_up_s=100.5), Recorder(["b"], give_up_s=101.9)
        await it.ask(short, long)
        it.after(0.45)
        assert not short.end
        it.after(0.1)
        assert (short.end, long.end) == ("unavailable", "")
        assert isinstance(short.error, StoreUnavailableError)
        it.link.answer()
        assert (short.end, long.end) == ("unavailable", "complete")
        assert it.features.health().failures["timeout"] == 1
        it.after(60.0)
        assert it.waiting == 0
        assert not it.features._due

    run(scenario())


def test_a_caller_that_leaves_costs_no_more_and_is_forgotten(run):
    async def scenario():
        it = Stage()
        leaving, staying = Recorder(keys(2_000), give_up_s=100.5), Recorder(keys(10, "s"))
        await it.ask(leaving, staying)
        leaving.cancel()
        it.link.answer()
        assert (leaving.end, staying.end) == ("", "complete")
        gone = Recorder(["c"], give_up_s=100.5)
        await it.ask(gone)
        gone.cancel()
        it.after(1.0)
        assert gone.end == ""
        assert it.waiting == 0

    run(scenario())


def test_a_silent_server_loses_its_connection_and_is_asked_again(run):
    async def scenario():
        it = Stage()
        one = Recorder(["a"])
        await it.ask(one)
        it.after(SILENCE_S / 2)
        assert not it.link.dropped
        it.after(SILENCE_S)
        assert it.link.dropped == ["it has not answered for 1 s"]
        late = Recorder(["b"])
        await it.ask(late)
        assert (one.end, late.end, it.link.sent) == ("", "", []), "both wait for the new connection"
        it.link.come_back()
        it.link.answer()
        assert (one.end, late.end) == ("complete", "complete")

    run(scenario())


def test_a_server_that_answers_slowly_but_answers_is_kept(run):
    async def scenario():
        it = Stage()
        look_ups = [Recorder(keys(KEYS_PER_QUESTION, f"r{number}")) for number in range(4)]
        await it.ask(*look_ups)
        for _ in range(4):
            it.after(SILENCE_S * 0.9)
            it.link.answer(1)
        assert not it.link.dropped
        assert {each.end for each in look_ups} == {"complete"}

    run(scenario())


def test_while_the_server_is_away_requests_fail_at_once(run):
    async def scenario():
        it = Stage()
        asked, waiting = Recorder(keys(2_000)), Recorder(["b"])
        await it.ask(asked, waiting)
        it.link.lose()
        assert not it.features.health().is_reachable
        it.link.go_away()
        later = Recorder(["c"])
        it.features.look_up(later)
        assert [each.end for each in (asked, waiting, later)] == ["unavailable"] * 3
        assert it.features.health().failures["away"] == 3
        assert it.waiting == 0
        it.link.come_back()
        again = Recorder(["d"])
        await it.ask(again)
        it.link.answer()
        assert again.end == "complete"
        assert it.features.health().is_reachable

    run(scenario())


def test_a_question_that_always_costs_the_connection_is_given_up(run):
    async def scenario():
        it = Stage()
        poison = Recorder(["a"])
        await it.ask(poison)
        for _ in range(MOST_TRIES):
            assert not poison.end
            it.link.lose()
            it.link.come_back()
        assert poison.end == "unavailable"

    run(scenario())


def test_memory_is_bounded(run):
    async def scenario():
        it = Stage()
        many = [Recorder(keys(4_096, f"r{number}")) for number in range(MOST_WAITING_KEYS // 4_096 + 1)]
        await it.ask(*many)
        assert [each.end for each in many] == [""] * 16 + ["failed"]
        assert isinstance(many[-1].error, OverloadedError)
        it.link.answer()
        assert [each.end for each in many[:-1]] == ["complete"] * 16
        assert it.waiting == 0

    run(scenario())


@pytest.mark.parametrize(
    ("layers", "rows", "end", "kind"),
    [
        (None, None, "failed", OnlineStoreError),
        (ErrorReply("LOADING Redis is loading"), None, "unavailable", StoreUnavailableError),
        (b"not ours", None, "failed", OnlineStoreError),
    ],
)
def test_what_the_server_answers_decides_how_a_request_ends(run, caplog, layers, rows, end, kind):
    async def scenario():
        it = Stage()
        await it.ask()
        it.link.layers, it.link.rows = layers, lambda key: rows
        look_ups = [Recorder(["a"]), Recorder(["b"])]
        await it.ask(*look_ups)
        it.link.answer()
        assert [each.end for each in look_ups] == [end] * 2
        assert {type(each.error) for each in look_ups} == {kind}
        assert len(caplog.messages) == 1, "told once"
        it.link.layers, it.link.rows = LAYER, lambda key: pack_row(key, 1.0)
        later = Recorder(["c"])
        await it.ask(later)
        it.link.answer()
        assert later.end == "complete"

    run(scenario())


def test_a_policy_that_refuses_in_the_end_is_told(run):
    class Late(Recorder):
        def unavailable(self, error):
            raise OnlineStoreError("too late for that, too")

    async def scenario():
        it = Stage()
        late = Late(["a"], give_up_s=100.1)
        await it.ask(late)
        it.after(0.2)
        assert (late.end, str(late.error)) == ("failed", "too late for that, too")

    run(scenario())


def test_an_idle_connection_is_checked(run):
    async def scenario():
        it = Stage()
        await it.ask()
        it.after(IDLE_S / 2)
        assert it.link.sent == []
        it.after(IDLE_S)
        it.after(0.01)
        assert it.link.sent == [[[b"PING"]]]
        it.link.answer()
        it.after(IDLE_S + 1)
        it.after(SILENCE_S + 0.1)
        assert len(it.link.dropped) == 1, "this one was not answered"

    run(scenario())


def test_replies_to_nothing_cost_the_connection(run):
    async def scenario():
        it = Stage()
        it.link.owner.link_replied([b"what?"])
        assert it.link.dropped == ["it has sent what nobody asked for"]

    run(scenario())
