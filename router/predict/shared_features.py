"""Looks up stored features over the network: each request's customers once, those of many requests in one question.

What arrives in one turn of the loop, or while `MOST_QUESTIONS` questions are on their way, goes out together: up to
`KEYS_PER_QUESTION` customers of an endpoint, in slices of `SLICE_KEYS` that requests take in turns. Nothing waits for
a timer. So a request of thousands of customers does not hold up a request of one.

A request that has waited for its share of time gets an error, or is answered as ``on_unavailable`` says; a reply that
comes later is dropped. A server that is silent for `SILENCE_S` loses its connection. While it is away, look-ups fail at
once. Memory is bounded by `MOST_WAITING_KEYS`. There is no cache: a customer who was deleted, or has new features, must
be so at the next request.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from divisions.errors import DivisionsError, OnlineStoreError, OverloadedError, StoreUnavailableError
from divisions.redis_store.layout import RowQuery, prefix_of
from divisions.redis_store.resp import Reply, encode
from router.predict.store_link import Link, LinkOwner
from router.predict.stored_features import SLICE_KEYS, FeatureSource, LookUp, StoreHealth

log = logging.getLogger(__name__)

KEYS_PER_QUESTION: Final = 128
MOST_QUESTIONS: Final = 4
MOST_WAITING_KEYS: Final = 65_536
MOST_TRIES: Final = 4
"""A question is asked again if the connection was lost, or if a fill has begun or ended meanwhile."""
SILENCE_S: Final = 1.0
IDLE_S: Final = 5.0
"""After so long without a question, an empty one finds out whether the store is still there."""
_TICKS_PER_S: Final = 100
_REASONS: Final = ("away", "timeout", "refused", "overload")


class _Queue:
    """The look-ups of one endpoint that are still to be asked for, and the layers that its rows are in."""

    __slots__ = ("layers", "logged", "prefix", "waiting")

    def __init__(self, prefix: bytes) -> None:
        self.prefix = prefix
        self.layers: tuple[bytes, ...] = ()
        self.waiting: deque[LookUp] = deque()
        self.logged = ""
        """The last error that was logged, until a question is answered."""


class _Slice:
    """Some customers of one request."""

    __slots__ = ("keys", "look_up")

    def __init__(self, look_up: LookUp, keys: Sequence[str]) -> None:
        self.look_up = look_up
        self.keys = keys


class _Question:
    """One pipeline, and the replies that have come so far. Without a queue it only asks whether the server answers."""

    __slots__ = ("query", "queue", "replies", "sent_s", "slices", "tries")

    def __init__(self, queue: _Queue | None, slices: list[_Slice], tries: int) -> None:
        self.queue = queue
        self.slices = slices
        self.tries = tries
        self.query: RowQuery | None = None
        self.replies: list[Reply] = []
        self.sent_s = 0.0

    def encode(self) -> bytes:
        """Makes the query by the layers as they are known now."""
        self.replies = []
        queue = self.queue
        if queue is None:
            return encode([b"PING"])
        slices = self.slices
        keys = slices[0].keys if len(slices) == 1 else [key for each in slices for key in each.keys]
        query = self.query = RowQuery(queue.prefix, queue.layers, keys)
        return query.encode()

    @property
    def is_answered(self) -> bool:
        query = self.query
        return len(self.replies) >= (1 if query is None else query.num_replies)


class SharedFeatures(FeatureSource, LinkOwner):
    """See the module. Lives on one event loop.

    Args:
        link: makes the connection, for the owner that it is given.
        now_s: monotonic clock.
    """

    def __init__(self, link: Callable[[LinkOwner], Link], now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._link = link(self)
        self._queues: dict[str, _Queue] = {}
        self._turns: deque[_Queue] = deque()
        """Queues with look-ups."""
        self._again: deque[_Question] = deque()
        self._asked: deque[_Question] = deque()
        self._waiting_keys = 0
        self._due: dict[int, set[LookUp]] = {}
        """Look-ups by the tick of the clock at which they are given up."""
        self._swept = self._tick(now_s())
        self._heard_s = now_s()
        self._is_scheduled = False
        self._failures: dict[str, int] = dict.fromkeys(_REASONS, 0)

    def start(self) -> None:
        self._link.start()

    def close(self) -> None:
        self._link.close()

    def health(self) -> StoreHealth:
        return StoreHealth(self._link.is_ready, self._waiting_keys, self._failures)

    def look_up(self, look_up: LookUp) -> None:
        if self._waiting_keys + look_up.num_keys > MOST_WAITING_KEYS:
            self._failures["overload"] += 1
            look_up.failed(OverloadedError("too many requests wait for stored features", remedy="try again"))
            return
        self._waiting_keys += look_up.num_keys
        if self._link.is_away:
            self._give_up(look_up, "away")
            return
        queue = self._queues.get(look_up.endpoint)
        if queue is None:
            queue = self._queues[look_up.endpoint] = _Queue(prefix_of(look_up.endpoint))
        if look_up.give_up_s < math.inf:
            self._due.setdefault(max(self._tick(look_up.give_up_s), self._swept) + 1, set()).add(look_up)
        self._enqueue(queue, look_up)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def sweep(self) -> None:
        now_s = self._now_s()
        tick = self._tick(now_s)
        while self._swept < tick:
            self._swept += 1
            late = self._due.pop(self._swept, None)
            for look_up in late or ():
                if look_up.is_cancelled:
                    self._end(look_up)
                elif not look_up.is_over:
                    self._give_up(look_up, "timeout")
        if not self._link.is_ready:
            return
        if self._asked:
            if now_s - max(self._asked[0].sent_s, self._heard_s) > SILENCE_S:
                self._heard_s = now_s
                self._link.drop(f"it has not answered for {SILENCE_S:g} s")
        elif now_s - self._heard_s > IDLE_S:
            self._ask(_Question(None, [], 1))

    def link_ready(self) -> None:
        self._heard_s = self._now_s()
        self._ask_all()

    def link_replied(self, replies: Sequence[Reply]) -> None:
        self._heard_s = self._now_s()
        for reply in replies:
            if not self._asked:
                self._link.drop("it has sent what nobody asked for")
                return
            question = self._asked[0]
            question.replies.append(reply)
            if question.is_answered:
                self._asked.popleft()
                self._answered(question)
        self._ask_all()

    def link_lost(self) -> None:
        for question in self._asked:
            question.tries += 1
            if question.tries <= MOST_TRIES:
                self._again.append(question)
            else:
                self._give_up_all(question, "away")
        self._asked.clear()

    def link_away(self) -> None:
        questions = list(self._again)
        self._again.clear()
        for question in questions:
            self._give_up_all(question, "away")
        for queue in self._turns:
            look_ups = list(queue.waiting)
            queue.waiting.clear()
            for look_up in look_ups:
                self._give_up(look_up, "away")
        self._turns.clear()

    def _tick(self, at_s: float) -> int:
        return int(at_s * _TICKS_PER_S)

    def _turn(self) -> None:
        self._is_scheduled = False
        self._ask_all()

    def _ask_all(self) -> None:
        while self._link.is_ready and len(self._asked) < MOST_QUESTIONS:
            if self._again:
                self._ask(self._again.popleft())
            elif self._turns:
                question = self._gather()
                if question.slices:
                    self._ask(question)
            else:
                return

    def _ask(self, question: _Question) -> None:
        question.sent_s = self._now_s()
        self._asked.append(question)
        self._link.send(question.encode())

    def _enqueue(self, queue: _Queue, look_up: LookUp) -> None:
        if not queue.waiting:
            self._turns.append(queue)
        queue.waiting.append(look_up)

    def _gather(self) -> _Question:
        """Takes slices of one endpoint's look-ups, one after the other."""
        queue = self._turns.popleft()
        waiting, left = queue.waiting, KEYS_PER_QUESTION
        slices: list[_Slice] = []
        while waiting and left > 0:
            look_up = waiting.popleft()
            if look_up.is_over or look_up.is_cancelled:
                self._end(look_up)
                continue
            keys = look_up.take(min(SLICE_KEYS, left))
            left -= len(keys)
            slices.append(_Slice(look_up, keys))
            if not look_up.is_complete:
                waiting.append(look_up)
        if waiting:
            self._turns.append(queue)
        return _Question(queue, slices, 1)

    def _answered(self, question: _Question) -> None:
        queue, query = question.queue, question.query
        if queue is None or query is None:
            return
        try:
            rows = query.read(question.replies)
        except OnlineStoreError as error:
            reason = str(error)
            if reason != queue.logged:
                queue.logged = reason
                log.error("%s", reason)
            for each in question.slices:
                self._fail(each.look_up, error)
            return
        finally:
            queue.layers = query.layers
        if rows is None:
            question.tries += 1
            if question.tries <= MOST_TRIES:
                self._again.append(question)
            else:
                self._give_up_all(question, "timeout")
            return
        queue.logged = ""
        for each in question.slices:
            self._found(each, rows)

    def _found(self, part: _Slice, rows: dict[str, tuple[str, bytes, float]]) -> None:
        look_up = part.look_up
        if look_up.is_over or look_up.is_cancelled:
            self._end(look_up)
            return
        try:
            for key in part.keys:
                look_up.found(key, rows.get(key))
                look_up.num_found += 1
            if look_up.num_found == look_up.num_keys:
                self._end(look_up)
                look_up.complete()
        except DivisionsError as error:
            self._end(look_up)
            look_up.failed(error)
        except Exception:  # The edge of a look-up: the caller must have a reply, and others theirs.
            log.exception("a look-up failed")
            self._end(look_up)
            look_up.failed(DivisionsError("internal error; the log has the details"))

    def _fail(self, look_up: LookUp, error: OnlineStoreError) -> None:
        """Ends a look-up because of what the server answered."""
        if look_up.is_over or look_up.is_cancelled:
            self._end(look_up)
        elif isinstance(error, StoreUnavailableError):
            self._failures["refused"] += 1
            self._end_unavailable(look_up, error)
        else:
            self._end(look_up)
            look_up.failed(error)

    def _give_up_all(self, question: _Question, reason: str) -> None:
        for each in question.slices:
            self._give_up(each.look_up, reason)

    def _give_up(self, look_up: LookUp, reason: str) -> None:
        """Ends a look-up that was not answered."""
        if look_up.is_over or look_up.is_cancelled:
            self._end(look_up)
            return
        self._failures[reason] += 1
        what = "is not reachable" if reason == "away" else "does not answer in time"
        remedy = "try again, or send `features`; the gateway's log has the reason"
        self._end_unavailable(look_up, StoreUnavailableError(f"the online store {what}", remedy=remedy))

    def _end_unavailable(self, look_up: LookUp, error: StoreUnavailableError) -> None:
        self._end(look_up)
        try:
            look_up.unavailable(error)
        except DivisionsError as reason:
            look_up.failed(reason)
        except Exception:  # As in `_found`.
            log.exception("a look-up failed")
            look_up.failed(DivisionsError("internal error; the log has the details"))

    def _end(self, look_up: LookUp) -> None:
        """Forgets a look-up. It may be called more than once."""
        if look_up.is_over:
            return
        look_up.is_over = True
        self._waiting_keys -= look_up.num_keys
        if look_up.give_up_s < math.inf:
            due = self._due.get(self._tick(look_up.give_up_s) + 1)
            if due is not None:
                due.discard(look_up)
                if not due:
                    del self._due[self._tick(look_up.give_up_s) + 1]
