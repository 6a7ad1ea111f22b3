"""Decides by the rules of a folder, which it follows. If rules cannot be used, the last good ones stay.

Without good ones, after a start, it refuses everything that it is asked. Predictions and what takes a rollout back are
not asked about.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from divisions.clock import Clock
from divisions.errors import PolicyError
from divisions.policy.bundle import Bundle, load_bundle
from divisions.policy.engine import Decision, Query, refusal
from divisions.policy.rego_engine import RegoEngine

log = logging.getLogger(__name__)

LOOK_S: Final = 2.0
AGAIN_S: Final = 60.0
"""After this, rules that could not be used are tried again: memory, time or the engine itself may have been missing."""

_UNFORESEEN: Final = "what went wrong was not foreseen: the controller's log has it"


class KeptEngine:
    """See the module. A thread looks for changes; `look` is one look.

    Args:
        folder: with the owner's policies.
        clock: the time.
        load: reads them.
        start: starts an engine for them.
        follows: whether to look by itself.
    """

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        load: Callable[[Path], Bundle] = load_bundle,
        start: Callable[[Bundle], RegoEngine] = RegoEngine,
        *,
        follows: bool = True,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._load = load
        self._start = start
        self._engine: RegoEngine | None = None
        self._seen = ""
        self._seen_fault = ""
        self._again_s = 0.0
        self._ended = threading.Event()
        self._looking = threading.Lock()
        self.fault = "its rules are being loaded"
        if follows:
            threading.Thread(target=self._follow, name="policy-watch", daemon=True).start()

    @property
    def digest(self) -> str:
        """Of the rules that decide; empty if there are none."""
        engine = self._engine
        return engine.digest if engine else ""

    @property
    def report(self) -> str:
        """The fault, and what follows from it; empty without one."""
        what = "the rules before still decide" if self._engine else "what it guards is refused"
        return f"{what}: {self.fault}" if self.fault else ""

    def decide(self, query: Query) -> Decision:
        """See `PolicyEngine`."""
        engine = self._engine
        if engine is None:
            return refusal(f"the policy cannot be used: {self.fault}", "correct it: `divisions policy check`")
        return engine.decide(query)

    def look(self) -> bool:
        """Takes the folder's rules if they are others than before. Returns whether those that decide have changed."""
        with self._looking:
            try:
                bundle = self._load(self._folder)
            except (PolicyError, OSError) as error:
                self._tell(str(error))
                return False
            # Tests count for whether rules are taken, and so for whether they are others.
            seen = bundle.digest + "".join(module.text for module in bundle.modules if module.is_test)
            now_s = self._clock.monotonic_s()
            if seen == self._seen and (not self._seen_fault or now_s < self._again_s):
                self._tell(self._seen_fault)
                return False
            self._seen, self._again_s, self._seen_fault = seen, now_s + AGAIN_S, _UNFORESEEN
            try:
                new = self._start(bundle)
            except (PolicyError, OSError) as error:
                self._seen_fault = str(error)
                self._tell(self._seen_fault)
                return False
            self._seen_fault = ""
            if self._ended.is_set():
                new.close()
                return False
            old, self._engine = self._engine, new
            self.fault = ""
            log.warning("policy %s decides from now on", bundle.digest[:12])
            if old is not None:
                old.close()
            return True

    def close(self) -> None:
        """Ends the process in which rules run."""
        self._ended.set()
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _tell(self, fault: str) -> None:
        """Logs a fault once, and that it is over."""
        if fault and fault != self.fault:
            kept = (
                f"; policy {self.digest[:12]} still decides" if self._engine else ", so all that it guards is refused"
            )
            log.error("the policy in %s cannot be used%s: %s", self._folder, kept, fault)
        elif self.fault and not fault:
            log.warning("the policy in %s can be used", self._folder)
        self.fault = fault

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                self.look()
                if self._engine is not None:
                    self._engine.revive()
            except Exception:
                log.exception("the policy in %s cannot be looked at", self._folder)
            self._ended.wait(LOOK_S)
