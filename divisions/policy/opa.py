"""Asks an Open Policy Agent server: adapts its HTTP API. One question is one POST, and has the whole limit once."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
from typing import Any, Final

import httpx
import msgspec

from divisions.clock import Clock, SystemClock
from divisions.policy.engine import LIMIT_S, Decision, Query, refusal
from divisions.policy.verdict import verdict

PATH: Final = "/v1/data/divisions/authz/decision"
MOST_BYTES: Final = 256 * 1024
_THREADS: Final = 4
_REMEDY: Final = "is DIVISIONS_OPA_URL right, and does the server run with the bundle of `divisions policy bundle`?"


class OpaEngine:
    """See the module. Anything but a 200 with a boolean ``allow`` refuses.

    A server that sends a byte now and then passes every timeout of a read. So the question is asked in a thread of its
    own, which gives up by itself, and is left alone when the limit is over.

    Args:
        url: of the server, such as ``http://127.0.0.1:8181``.
        limit_s: within which there is a decision.
        clock: the time.
    """

    digest = ""

    def __init__(self, url: str, limit_s: float = LIMIT_S, clock: Clock | None = None) -> None:
        self._url = url.rstrip("/") + PATH
        self._limit_s = limit_s
        self._clock = clock or SystemClock()
        # Neither a proxy of the environment nor a redirect decides who is asked.
        self._client = httpx.Client(timeout=limit_s, trust_env=False, follow_redirects=False)
        self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "opa")

    def decide(self, query: Query) -> Decision:
        """Answers within the limit, see `PolicyEngine`."""
        try:
            until_s = self._clock.monotonic_s() + self._limit_s
            return self._threads.submit(self._ask, query, until_s).result(self._limit_s)
        except concurrent.futures.TimeoutError:
            return refusal(f"the policy server gave no answer within {self._limit_s * 1e3:.0f} ms", _REMEDY)
        except Exception as error:  # noqa: BLE001  # It must never raise: what is unforeseen refuses.
            return refusal(f"the policy server cannot be asked: {type(error).__name__}", _REMEDY)

    def close(self) -> None:
        """Ends its connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(httpx.HTTPError, RuntimeError):
            self._client.close()

    def _ask(self, query: Query, until_s: float) -> Decision:
        left_s = until_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise concurrent.futures.TimeoutError
        content = msgspec.json.encode({"input": query.document()})
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        body = b""
        with self._client.stream("POST", self._url, content=content, headers=headers, timeout=left_s) as reply:
            if reply.status_code != 200:
                return refusal(f"the policy server answers {reply.status_code}", _REMEDY)
            for part in reply.iter_raw():
                body += part
                if len(body) > MOST_BYTES:
                    return refusal("the policy server's answer is too large", _REMEDY)
                if self._clock.monotonic_s() > until_s:
                    raise concurrent.futures.TimeoutError
        return verdict(_result(body))


def _result(body: bytes) -> Any:
    """The document in an answer; None if there is none, which is how a server says *undefined*."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer.get("result") if isinstance(answer, dict) else None
