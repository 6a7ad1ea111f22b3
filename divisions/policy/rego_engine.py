"""Decides by the rules of a bundle in a process of its own, which is killed when it is late."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Final

import msgspec

from divisions.clock import Clock, SystemClock
from divisions.errors import PolicyError
from divisions.policy.bundle import Bundle
from divisions.policy.engine import LIMIT_S, Decision, Query, refusal
from divisions.policy.rego_worker import TESTS_S, Answer, Ask, Load, Loaded
from divisions.policy.trial import Failure
from divisions.policy.verdict import verdict

log = logging.getLogger(__name__)

START_S: Final = TESTS_S + 10
"""How long a process may take to start, load the rules and run their tests."""
_COMMAND: Final = (sys.executable, "-m", "divisions.policy.rego_worker")
_LATE: Final = "look for loops over large collections in the policy: `divisions policy eval` takes the same time"


class RegoEngine:
    """See the module. It has one process; questions wait for one another, and for no longer than the limit.

    Args:
        bundle: what is loaded.
        limit_s: within which there is a decision.
        clock: the time.
        command: starts the process.
        must_pass: whether tests that fail keep the rules from being used.

    Raises:
        PolicyError: the rules cannot be used, or fail their tests.
    """

    def __init__(
        self,
        bundle: Bundle,
        limit_s: float = LIMIT_S,
        clock: Clock | None = None,
        command: tuple[str, ...] = _COMMAND,
        *,
        must_pass: bool = True,
    ) -> None:
        self.digest = bundle.digest
        self._limit_s = limit_s
        self._clock = clock or SystemClock()
        self._command = command
        modules = tuple((module.name, module.text, module.is_ours) for module in bundle.modules)
        self._load = msgspec.json.encode(Load(modules, bundle.data, limit_s)) + b"\n"
        self._lock = threading.Lock()
        self._number = 0
        self._is_closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._starting: threading.Thread | None = None
        self._process, loaded = self._start()
        self.failures: tuple[Failure, ...] = loaded.failures
        self.num_tests = loaded.num_tests
        if loaded.failures and must_pass:
            self.close()
            raise PolicyError(
                f"{len(loaded.failures)} of {loaded.num_tests} tests fail: {loaded.failures[0]}",
                remedy="`divisions policy test` names them all",
            )

    def decide(self, query: Query) -> Decision:
        """Answers within the limit, see `PolicyEngine`."""
        until_s = self._clock.monotonic_s() + self._limit_s
        if not self._lock.acquire(timeout=self._limit_s):
            return self._refusal("other questions took all of its time", _LATE)
        try:
            self._replace_if_ended()
            if self._process is None:
                self._replace()  # The last try to start it may have failed.
                return self._refusal("it is being started again", "try again in a second")
            try:
                return self._ask(self._process, query, until_s)
            except Exception as error:  # It must never raise: what is unforeseen refuses.
                log.exception("the policy engine cannot be asked")
                self._replace()
                return self._refusal(f"it cannot be asked: {type(error).__name__}", "look at the controller's log")
        finally:
            self._lock.release()

    def revive(self) -> None:
        """Starts another process if somebody has ended ours, so that no question finds it ended."""
        if self._lock.acquire(blocking=False):  # else a question is under way, which notices it
            try:
                self._replace_if_ended()
            finally:
                self._lock.release()

    def close(self) -> None:
        """Ends the process."""
        self._is_closed = True
        with self._lock:
            _end(self._process)
            self._process = None

    def _ask(self, process: subprocess.Popen[bytes], query: Query, until_s: float) -> Decision:
        self._number += 1
        line = msgspec.json.encode(Ask(self._number, query.document())) + b"\n"
        reply = self._exchange(process, line, until_s)
        if reply is None:
            has_ended = process.poll() is not None
            self._replace()
            if has_ended:
                return self._refusal("it ended over this question", "look for what needs much memory in the policy")
            return self._refusal(f"it took longer than {self._limit_s * 1e3:.0f} ms", _LATE)
        answer = msgspec.json.decode(reply, type=Answer)
        if answer.number != self._number:
            self._replace()
            return self._refusal("it answered another question", "try again in a second")
        return verdict(answer.result, self.digest)

    def _exchange(self, process: subprocess.Popen[bytes], line: bytes, until_s: float) -> bytes | None:
        """Writes a line and reads one; None if that took too long, or the process has ended."""
        assert process.stdin is not None
        assert process.stdout is not None
        to, source, reply = process.stdin.fileno(), process.stdout.fileno(), b""
        poll = select.poll()  # select() raises over descriptors above 1023, as a controller with many connections has
        poll.register(source, select.POLLIN)
        poll.register(to, select.POLLOUT)
        while not reply.endswith(b"\n"):
            left_s = until_s - self._clock.monotonic_s()
            ready = {number for number, _ in poll.poll(max(left_s, 0.0) * 1e3)}
            if not ready:
                return None
            try:
                if to in ready:
                    line = line[os.write(to, line) :]
                    if not line:
                        poll.unregister(to)
                if source in ready:
                    part = os.read(source, 1 << 16)
                    if not part:
                        return None
                    reply += part
            except BrokenPipeError:
                return None
        return reply

    def _start(self) -> tuple[subprocess.Popen[bytes], Loaded]:
        process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        try:
            reply = self._exchange(process, self._load, self._clock.monotonic_s() + START_S)
            if reply is None:
                raise PolicyError(
                    "the process for the rules ended, or took too long, while it loaded them and ran their tests",
                    remedy="look for endless tests, and for what needs much memory",
                )
            loaded = msgspec.json.decode(reply, type=Loaded)
            if loaded.error:
                raise PolicyError(loaded.error)
        except BaseException:
            _end(process)
            raise
        return process, loaded

    def _replace_if_ended(self) -> None:
        if self._process is not None and (status := self._process.poll()) is not None:
            log.error("the process of the policy engine has ended with status %d: another one is started", status)
            self._replace()

    def _replace(self) -> None:
        """Ends the process and has another one started, while questions are refused."""
        _end(self._process)
        self._process = None
        if not self._is_closed and (self._starting is None or not self._starting.is_alive()):
            self._starting = threading.Thread(target=self._start_again, name="policy-engine", daemon=True)
            self._starting.start()

    def _start_again(self) -> None:
        try:
            process, _ = self._start()
        except (PolicyError, OSError, msgspec.MsgspecError) as error:
            log.error("the policy engine cannot be started again: %s", error)
            return
        with self._lock:
            if self._is_closed:
                _end(process)
            else:
                self._process = process

    def _refusal(self, message: str, remedy: str) -> Decision:
        return refusal(f"the policy engine refuses, because {message}", remedy, self.digest)


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None:
        return
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


def failures_of(bundle: Bundle, new: Callable[..., RegoEngine] = RegoEngine) -> tuple[tuple[Failure, ...], int]:
    """Loads a bundle only to run its tests: those that fail, and how many there are."""
    with contextlib.closing(new(bundle, must_pass=False)) as engine:
        return engine.failures, engine.num_tests
