"""Who calls an endpoint that asks for keys, and what they may use of it now.

A key is looked up and hashed once for each head that callers send, not with each request: what came of it stays with
the head (`router.http.heads`), until a token changes or ends. Then the generation rises, and each head is looked up
again. So a revoked key is refused with the next request.

Limits are of the principal, whatever keys they have had. This gateway grants its share of them; the controller tells
how large that is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from mypy_extensions import mypyc_attr

from divisions.access.decision import Principal, decide
from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.roles import Action
from divisions.errors import (
    AccessDeniedError,
    DivisionsError,
    LimitReachedError,
    MissingTokenError,
    UnknownTokenError,
)
from divisions.reports import LimitShares
from router.http.cancellation import Cancellable, Held
from router.http.request import Handler, Request
from router.http.wrong_tokens import WrongTokens
from router.predict.endpoint import Endpoint
from router.predict.front import Options
from router.predict.pool import Pool
from router.predict.token_bucket import TokenBucket

ANY: Final = 1 << 60
"""As many requests at once as nobody has."""
FEW: Final = 8
"""So many requests at once are never too many for a principal's part of a busy version."""
TIMES_OTHERS: Final = 2
"""A principal with more requests than so many times the others' mean takes more than its part."""
MAX_NAMED: Final = 100
"""Principals that metrics name. All further ones are counted together."""
OTHERS: Final = "(others)"
SHORTLY_S: Final = 1.0
_NO_KEY: Final = (
    "this endpoint needs a key. send it as `Authorization: Bearer`; an admin creates it with "
    "`divisions tokens create NAME --role predictor`"
)


@mypyc_attr(allow_interpreted_subclasses=True)
class KeyBook(ABC):
    """Knows whose a key is."""

    @abstractmethod
    def authenticate(self, authorization: bytes) -> Principal | None:
        """Who sends this ``Authorization`` header; None if nobody is known by it.

        Raises:
            DivisionsError: it is known why it lets nobody in: it has expired, or its sender has no role.
        """

    @abstractmethod
    def why_wrong(self, authorization: bytes) -> str:
        """What to tell the sender of a header that nobody is known by."""

    @abstractmethod
    def must_wait(self, authorization: bytes) -> bool:
        """Whether such a header has to be checked first, which takes a while."""

    @abstractmethod
    def check(self, authorization: bytes, address: str, done: Callable[[], None]) -> None:
        """Has it checked; ``done`` is called when the book knows what it is.

        Raises:
            OverloadedError: too many wait for that, of this address or of all.
        """

    @abstractmethod
    def require_tester(self, authorization: bytes | None, endpoint: str) -> None:
        """Checks that the sender of a predict request may name the version that answers.

        Raises:
            DivisionsError: they may not.
        """


class _Waiting(Cancellable):
    """A request whose key is being checked. Its handler gets it again then."""

    __slots__ = ("_handler", "_is_gone", "_request")

    def __init__(self, request: Request, handler: Handler) -> None:
        self._request = request
        self._handler = handler
        self._is_gone = False

    def go_on(self) -> None:
        if not self._is_gone:
            self._request.exchange.work = None
            self._handler.handle(self._request)

    def cancel(self) -> None:
        self._is_gone = True


class CallerCounts:
    """What metrics tell of a principal, or of all that they do not name."""

    __slots__ = ("passed", "refused_concurrency", "refused_rate", "refused_share")

    def __init__(self) -> None:
        self.passed = 0
        self.refused_rate = 0
        self.refused_concurrency = 0
        self.refused_share = 0


class CallLoad:
    """The requests of all principals that are not answered yet."""

    __slots__ = ("active", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self.active = 0
        """Principals that have one."""


class Caller(Held):
    """A principal, as far as this gateway knows it."""

    __slots__ = ("_load", "asked", "bucket", "counts", "in_flight", "is_used", "limits", "most", "name", "token_id")

    def __init__(self, name: str, counts: CallerCounts, load: CallLoad) -> None:
        self.name = name
        self.token_id = ""
        self.limits = NO_LIMITS
        self.bucket: TokenBucket | None = None
        self.most = ANY
        """Requests at once."""
        self.in_flight = 0
        self.asked = 0
        """Predictions since the last report."""
        self.is_used = False
        """Whether a request came since the last report."""
        self.counts = counts
        self._load = load

    def hold(self) -> None:
        """A request has passed."""
        if self.in_flight == 0:
            self._load.active += 1
        self.in_flight += 1
        self._load.in_flight += 1

    def release(self) -> None:
        self.in_flight -= 1
        self._load.in_flight -= 1
        if self.in_flight == 0:
            self._load.active -= 1

    def is_at_rest(self, now_s: float) -> bool:
        """Whether forgetting it gives nothing away."""
        return not self.in_flight and (self.bucket is None or self.bucket.is_full(now_s))

    def charge(self, predictions: int) -> None:
        """Counts further predictions of a request that has passed."""
        self.asked += predictions
        if self.bucket is not None:
            self.bucket.charge(predictions)


class Callers:
    """See the module. Lives on the gateway's event loop.

    Args:
        book: knows whose a key is.
        now_s: monotonic clock.
    """

    def __init__(self, book: KeyBook, now_s: Callable[[], float]) -> None:
        self.generation = 0
        """Rises when what is known of keys may be wrong."""
        self.counts: dict[str, CallerCounts] = {}
        """By the name of the principal, or `OTHERS`."""
        self._book = book
        self._now_s = now_s
        self._wrong = WrongTokens()
        self._by_name: dict[str, Caller] = {}
        self._load = CallLoad()
        self._shares = LimitShares()

    def admit(self, endpoint: Endpoint, options: Options, request: Request, handler: Handler) -> bool:
        """Lets a request to an endpoint that asks for keys in. It is the caller's until it is answered.

        Returns:
            False for one that must wait until its key was checked; ``handler`` gets it again then.

        Raises:
            DivisionsError: it has no key, the key is not known or does not allow it, or a limit is reached.
        """
        caller: Caller | None = options.caller
        if caller is None or options.generation != self.generation or options.admitted != endpoint.name:
            if self._waits(options, request, handler):
                return False
            caller = self._identify(endpoint.name, options, request)
        caller.asked += 1
        caller.is_used = True
        if caller.in_flight >= caller.most:
            raise self._too_many_at_once(caller)
        if caller.in_flight > FEW and self._takes_too_much(caller, endpoint):
            raise self._too_large_a_part(caller)
        bucket = caller.bucket
        if bucket is not None and not bucket.take(request.received_s):
            raise self._too_fast(caller, bucket)
        caller.counts.passed += 1
        caller.hold()
        request.exchange.held = caller
        return True

    def check_tester(self, options: Options, request: Request, handler: Handler) -> bool:
        """Checks the sender of a request that names the version which must answer.

        Returns:
            False if the request must wait, as for `admit`.

        Raises:
            DivisionsError: they may not.
        """
        if self._waits(options, request, handler):
            return False
        self._book.require_tester(options.authorization, options.name)
        return True

    def _waits(self, options: Options, request: Request, handler: Handler) -> bool:
        authorization = options.authorization
        if authorization is None or not self._book.must_wait(authorization):
            return False
        waiting = _Waiting(request, handler)
        request.exchange.work = waiting
        self._book.check(authorization, request.exchange.peer, waiting.go_on)
        return True

    def _identify(self, endpoint: str, options: Options, request: Request) -> Caller:
        options.caller = None
        if options.authorization is None:
            raise MissingTokenError(_NO_KEY)
        principal = self._book.authenticate(options.authorization)
        if principal is None:
            wait_s = self._wrong.wait_s(request.exchange.peer, self._now_s())
            if wait_s:
                raise LimitReachedError(
                    "too many wrong keys from this address", remedy="wait, and check the key", retry_after_s=wait_s
                )
            raise UnknownTokenError(self._book.why_wrong(options.authorization))
        decision = decide(principal, Action.PREDICT, endpoint)
        if not decision.is_allowed:
            raise AccessDeniedError(decision.reason)
        caller = self._caller(principal)
        options.caller = caller
        options.generation = self.generation
        options.admitted = endpoint
        deadline_ms = caller.limits.deadline_ms
        options.timeout_s = min(options.asked_timeout_s, deadline_ms / 1000) if deadline_ms else options.asked_timeout_s
        request.head.has_known_key = True
        return caller

    def _caller(self, principal: Principal) -> Caller:
        caller = self._by_name.get(principal.name)
        if caller is None:
            caller = Caller(principal.name, self._counts_of(principal.name), self._load)
            self._by_name[principal.name] = caller
        caller.token_id = principal.token_id
        if caller.limits != principal.limits:
            self._limit(caller, principal.limits)
        return caller

    def _limit(self, caller: Caller, limits: Limits) -> None:
        share, now_s = self._share_of(caller.name), self._now_s()
        caller.limits = limits
        before = caller.bucket
        caller.bucket = TokenBucket(limits.rate, float(limits.window_s), share, now_s) if limits.rate else None
        if before is not None and caller.bucket is not None:
            caller.bucket.begin_as(before, now_s)  # Whoever has two keys with other limits must not win a full bucket.
        caller.most = _part(limits.concurrency, share)

    def _counts_of(self, name: str) -> CallerCounts:
        shown = name if name in self.counts or len(self.counts) < MAX_NAMED else OTHERS
        counts = self.counts.get(shown)
        if counts is None:
            counts = self.counts[shown] = CallerCounts()
        return counts

    def _share_of(self, name: str) -> float:
        return self._shares.by_name.get(name, 1.0 / max(1, self._shares.gateways))

    def _takes_too_much(self, caller: Caller, endpoint: Endpoint) -> bool:
        load, canary = self._load, endpoint.canary
        if load.active < 2 or not (_is_busy(endpoint.stable) or (canary is not None and _is_busy(canary))):
            return False
        others = (load.in_flight - caller.in_flight) / (load.active - 1)
        return caller.in_flight > TIMES_OTHERS * others

    # -- refusals -----------------------------------------------------------------------------------------------

    def _too_fast(self, caller: Caller, bucket: TokenBucket) -> DivisionsError:
        caller.counts.refused_rate += 1
        limits, wait_s = caller.limits, bucket.wait_s()
        error = LimitReachedError(
            f"{caller.name} may ask for {limits.rate} predictions in {limits.window_s} s, and has",
            remedy="ask more slowly, or ask an admin for a higher limit; Retry-After says when the next request passes",
            retry_after_s=wait_s,
        )
        error.policy = f'"rate";q={limits.rate};w={limits.window_s}'
        error.left = f'"rate";r=0;t={max(1, round(wait_s))}'
        return error

    def _too_many_at_once(self, caller: Caller) -> DivisionsError:
        caller.counts.refused_concurrency += 1
        most = caller.limits.concurrency
        error = LimitReachedError(
            f"{caller.name} may have {most} requests at once, and has",
            remedy="wait for an answer before the next request, or ask an admin for a higher limit",
            retry_after_s=SHORTLY_S,
        )
        error.policy = f'"concurrency";q={most};qu="concurrent-requests"'
        error.left = '"concurrency";r=0'
        return error

    def _too_large_a_part(self, caller: Caller) -> DivisionsError:
        caller.counts.refused_share += 1
        return LimitReachedError(
            f"the endpoint is busy, and {caller.name} has more than its part of the requests that wait",
            remedy="ask again after the time that Retry-After names, with fewer requests at once",
            retry_after_s=SHORTLY_S,
        )

    # -- once a second ------------------------------------------------------------------------------------------

    def changed(self, names: Sequence[str]) -> None:
        """Keys have changed, or one has ended. What is kept of principals without a key goes, unless they have used
        their limits up: with their next key they have the same.

        Args:
            names: the principals that have a key.
        """
        self.generation += 1
        living, now_s = set(names), self._now_s()
        for name in [name for name, each in self._by_name.items() if name not in living and each.is_at_rest(now_s)]:
            del self._by_name[name]

    def take_shares(self, shares: LimitShares) -> None:
        """Grants another part of each limit from now on."""
        if shares == self._shares:
            return
        self._shares = shares
        now_s = self._now_s()
        for caller in self._by_name.values():
            share = self._share_of(caller.name)
            if caller.bucket is not None:
                caller.bucket.share(share, now_s)
            caller.most = _part(caller.limits.concurrency, share)

    def take_asked(self) -> tuple[tuple[str, int], ...]:
        """How many predictions each principal with a limit has asked for since the last call."""
        asked = [(each.name, each.asked) for each in self._by_name.values() if each.asked and each.limits != NO_LIMITS]
        for caller in self._by_name.values():
            caller.asked = 0
        return tuple(asked)

    def take_used(self) -> list[str]:
        """The ids of the tokens that were used since the last call; the owner's has none."""
        used = [each.token_id for each in self._by_name.values() if each.is_used and each.token_id]
        for caller in self._by_name.values():
            caller.is_used = False
        return used


def _part(concurrency: int, share: float) -> int:
    """This gateway's part of a limit of requests at once; at least one, or the principal could not call here."""
    return max(1, int(concurrency * share + 1e-9)) if concurrency else ANY


def _is_busy(pool: Pool) -> bool:
    return pool.queue.rows >= pool.max_batch
