"""What becomes of a customer whose features come from the online store: the endpoint's policy for old and unknown ones.

===========  ========================  ======================================================
features     ``serving.online``        the row is answered from
===========  ========================  ======================================================
fresh                                  the stored features
stale        ``on_stale: serve``       the stored features, and the reply says that they are stale
stale        ``on_stale: default``     no features at all: every one is missing
stale        ``on_stale: error``       nothing: the request is refused
missing      ``on_missing: default``   no features at all: every one is missing
missing      ``on_missing: error``     nothing: the request is refused
unavailable  ``on_unavailable: ...``   the same two ways, if a shared store does not answer
===========  ========================  ======================================================

Features are stale if their event time is more than ``max_age`` ago. The stable version's policy holds for both
versions.
"""

from __future__ import annotations

import datetime as dt
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from mypy_extensions import mypyc_attr

from divisions.errors import DivisionsError, StaleFeaturesError, UnknownEntityError
from router.predict.decode import Values
from router.predict.endpoint import Endpoint
from router.predict.stored_features import LookUp

WAIT_SHARE: Final = 0.5
"""Share of a request's time that a shared store is waited for. The rest is for the replica, or for another replica."""

FRESH: Final = 0
STALE: Final = 1
DEFAULT: Final = 2
"""How a row's features are. With `DEFAULT` none are used."""

_STATUS: Final = (b"", b',"features_status":"stale"', b',"features_status":"default"')
_KNOWN_NOTES: Final = 1_024


@mypyc_attr(allow_interpreted_subclasses=True)
class CustomerLookUp(LookUp):
    """One request's customers, at one endpoint.

    Args:
        endpoint: the endpoint.
        keys: distinct customers.
        wall_s: the time, in seconds since the Unix epoch. It is asked only if features can be stale.
        give_up_s: see `LookUp`.
    """

    def __init__(
        self, endpoint: Endpoint, keys: Sequence[str], wall_s: Callable[[], float], give_up_s: float = math.inf
    ) -> None:
        super().__init__(endpoint.name, keys, give_up_s)
        self.served_by = endpoint
        policy = endpoint.online
        self._stale_before_s = -math.inf if policy.max_age_s is None else wall_s() - policy.max_age_s

    @abstractmethod
    def accept(self, key: str, values: Values, as_of_s: float, status: int) -> None:
        """Takes the features of one customer.

        Args:
            as_of_s: their event time, in seconds since the Unix epoch; NaN if the store has none.
            status: `FRESH`, `STALE` or `DEFAULT`.
        """

    @abstractmethod
    def place_of(self, key: str) -> str:
        """Where the request names the customer, for errors: empty, or such as ``instances[7]: ``."""

    def found(self, key: str, stored: tuple[str, bytes, float] | None) -> None:
        endpoint = self.served_by
        counts = endpoint.state.stored
        if stored is None:
            if endpoint.online.on_missing != "default":
                counts.missing_refused += 1
                raise UnknownEntityError(
                    f"{self.place_of(key)}the online store has no features for this {endpoint.decoder.entity}",
                    remedy="send `features`, or run the pipeline on data that holds it",
                )
            counts.missing_default += 1
            self.accept(key, endpoint.decoder.nothing, math.nan, DEFAULT)
            return
        as_of_s = stored[2]
        if as_of_s >= self._stale_before_s:
            counts.fresh += 1
            self.accept(key, endpoint.decoder.decode_stored(stored[1]), as_of_s, FRESH)
        elif endpoint.online.on_stale == "serve":
            counts.stale_served += 1
            self.accept(key, endpoint.decoder.decode_stored(stored[1]), as_of_s, STALE)
        elif endpoint.online.on_stale == "default":
            counts.stale_default += 1
            self.accept(key, endpoint.decoder.nothing, as_of_s, DEFAULT)
        else:
            counts.stale_refused += 1
            max_age_days = (endpoint.online.max_age_s or 0.0) / 86_400
            raise StaleFeaturesError(
                f"{self.place_of(key)}the online store's features for this {endpoint.decoder.entity} are of"
                f" {utc_text(as_of_s)}, which is more than {max_age_days:g} days ago",
                remedy="send `features`, or run the pipeline on newer data",
            )

    def unavailable(self, error: DivisionsError) -> None:
        endpoint = self.served_by
        left = self._keys[self.num_found :]
        if endpoint.online.on_unavailable != "default":
            endpoint.state.stored.unavailable_refused += len(left)
            self.failed(error)
            return
        endpoint.state.stored.unavailable_default += len(left)
        for key in left:
            self.accept(key, endpoint.decoder.nothing, math.nan, DEFAULT)
        self.complete()


class Notes:
    """What a reply says about stored features, as members of JSON. Many customers share an event time."""

    def __init__(self) -> None:
        self._known: dict[tuple[float, int], bytes] = {}

    def of(self, as_of_s: float, status: int) -> bytes:
        """Such as ``,"features_as_of":"2025-01-14T00:00:00Z"``."""
        key = (as_of_s, status)
        note = self._known.get(key)
        if note is None:
            note = self._known_anew(key)
        return note

    def _known_anew(self, key: tuple[float, int]) -> bytes:
        if len(self._known) >= _KNOWN_NOTES:
            self._known.clear()
        as_of_s, status = key
        text = utc_text(as_of_s)
        quoted = b'"%s"' % text.encode() if text else b"null"
        note = self._known[key] = b',"features_as_of":%s%s' % (quoted, _STATUS[status])
        return note


def utc_text(at_s: float) -> str:
    """A time as ISO 8601; empty if it is NaN or no time that a calendar has."""
    try:
        return dt.datetime.fromtimestamp(at_s, dt.UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""
