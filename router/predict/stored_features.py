"""Looks up stored features for requests that name customers only: each customer of a request once, many in one query.

`router.predict.shared_features` does it over the network. Here the store is a file, and look-ups run on the event loop,
so they are bounded: `KEYS_PER_TURN` customers in one turn of the loop, in slices of `SLICE_KEYS` that requests take in
turns. What is left waits for the next turn, and other connections are served between. So one request of thousands of
customers does not hold up a request of one.
"""

from __future__ import annotations

import asyncio
import logging
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mypy_extensions import mypyc_attr

from divisions.errors import DivisionsError
from divisions.online_store import OnlineStoreReader
from router.http.cancellation import Cancellable

log = logging.getLogger(__name__)

KEYS_PER_TURN: Final = 128
SLICE_KEYS: Final = 32


@mypyc_attr(allow_interpreted_subclasses=True)
class LookUp(Cancellable):
    """One request's customers. Exactly one of `complete`, `failed` and `unavailable` is called, unless it is cancelled.

    Args:
        endpoint: the endpoint's name.
        keys: distinct customers.
        give_up_s: when a store that does not answer is waited for no longer, by the monotonic clock.
    """

    def __init__(self, endpoint: str, keys: Sequence[str], give_up_s: float = math.inf) -> None:
        self.endpoint = endpoint
        self.give_up_s = give_up_s
        self.is_cancelled = False
        self.is_over = False
        """Whether it has ended in another way, for a store that answers later."""
        self.num_found = 0
        """How many customers `found` was called for, in the order of the keys."""
        self._keys = keys
        self._position = 0

    @property
    def num_keys(self) -> int:
        return len(self._keys)

    def cancel(self) -> None:
        """The caller has gone."""
        self.is_cancelled = True

    @property
    def is_complete(self) -> bool:
        return self._position == len(self._keys)

    def take(self, most: int) -> Sequence[str]:
        """The next customers to look up."""
        taken = self._keys[self._position : self._position + most]
        self._position += len(taken)
        return taken

    @abstractmethod
    def found(self, key: str, stored: tuple[str, bytes, float] | None) -> None:
        """Takes the row of one customer (see `OnlineStoreReader.get_many`); None if it is unknown.

        May raise a `DivisionsError`.
        """

    @abstractmethod
    def complete(self) -> None:
        """All customers were looked up."""

    @abstractmethod
    def failed(self, error: DivisionsError) -> None:
        """A customer could not be looked up; no more will be."""

    def unavailable(self, error: DivisionsError) -> None:
        """The store does not answer. The customers after the first ``num_found`` were not looked up."""
        self.failed(error)


@dataclass(frozen=True)
class StoreHealth:
    """How a store that is not in this process is doing.

    ``failures`` counts look-ups of requests that it did not answer, by reason.
    """

    is_reachable: bool
    waiting_keys: int
    failures: dict[str, int]


@mypyc_attr(allow_interpreted_subclasses=True)
class FeatureSource(ABC):
    """Where the gateway finds stored features. Lives on one event loop."""

    @abstractmethod
    def look_up(self, look_up: LookUp) -> None:
        """Begins a look-up. It may end before this returns."""

    @abstractmethod
    def start(self) -> None:
        """Connects to what it needs."""

    @abstractmethod
    def sweep(self) -> None:
        """Gives up what has waited too long. Call it every few milliseconds."""

    @abstractmethod
    def close(self) -> None:
        """Ends every connection."""

    @abstractmethod
    def health(self) -> StoreHealth | None:
        """How the store is doing; None for a file, which each look-up finds anew."""


class StoredFeatures(FeatureSource):
    """See the module: look-ups in a file, on the event loop.

    Args:
        store: opens the store of an endpoint.
    """

    def __init__(self, store: Callable[[str], OnlineStoreReader]) -> None:
        self._store = store
        self._waiting: deque[LookUp] = deque()
        self._left = KEYS_PER_TURN
        self._is_scheduled = False

    def start(self) -> None:
        """A file needs no connection."""

    def sweep(self) -> None:
        """Nothing waits for a file."""

    def close(self) -> None:
        """See `start`."""

    def health(self) -> StoreHealth | None:
        return None

    def look_up(self, look_up: LookUp) -> None:
        """Looks up at once, as far as this turn of the loop allows, or in later turns."""
        self._waiting.append(look_up)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)
        if len(self._waiting) == 1:
            self._work()

    def _turn(self) -> None:
        self._left = KEYS_PER_TURN
        self._work()
        self._is_scheduled = bool(self._waiting)
        if self._is_scheduled:
            asyncio.get_running_loop().call_soon(self._turn)

    def _work(self) -> None:
        while self._waiting and self._left > 0:
            look_up = self._waiting.popleft()
            if look_up.is_cancelled:
                continue
            try:
                self._look_up_slice(look_up)
                if look_up.is_complete:
                    look_up.complete()
                else:
                    self._waiting.append(look_up)
            except DivisionsError as error:
                look_up.failed(error)
            except Exception:  # The edge of a turn: the caller must have a reply, and others their turn.
                log.exception("a look-up failed")
                look_up.failed(DivisionsError("internal error; the log has the details"))

    def _look_up_slice(self, look_up: LookUp) -> None:
        keys = look_up.take(min(SLICE_KEYS, self._left))
        self._left -= len(keys)
        stored = self._store(look_up.endpoint).get_many(keys)
        for key in keys:
            look_up.found(key, stored.get(key))
