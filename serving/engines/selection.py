"""Which engine a replica uses, and why not a better one.

    auto:    tensorrt -> onnxruntime-cuda -> onnxruntime-cpu: the first one that is installed, opens, warms up and gives
             the scores of the reference. Each engine that was passed over has a reason.
    forced:  the named engine, or the replica does not start

The reasons are logged. ``divisions status`` shows them (`ReplicaAddress.engine_note`), and so does the metric
``divisions_engine_replicas``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from divisions.control import EngineChoice
from divisions.errors import BundleError, EngineError, EngineUnavailableError, OverCommitError
from serving.engines.capabilities import Capabilities
from serving.engines.protocol import Engine

LADDER = (EngineChoice.TENSORRT, EngineChoice.ONNXRUNTIME_CUDA, EngineChoice.ONNXRUNTIME_CPU)

log = logging.getLogger(__name__)

Openers = Mapping[EngineChoice, Callable[[], Engine]]
"""How to open each engine. The result is warm and was compared with the reference; otherwise an error is raised."""


@dataclass(frozen=True, slots=True)
class OpenedEngine:
    """An engine, and why each better one was passed over. There are no reasons when the best was taken."""

    engine: Engine
    passed_over: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The reasons as one line. Engines with the same reason stand together."""
        by_reason: dict[str, list[str]] = {}
        for text in self.passed_over:
            engine, _, reason = text.partition(": ")
            by_reason.setdefault(reason, []).append(engine)
        return "; ".join(f"{', '.join(engines)}: {reason}" for reason, engines in by_reason.items())


def candidates(wanted: EngineChoice, capabilities: Capabilities) -> tuple[tuple[EngineChoice, ...], tuple[str, ...]]:
    """The engines to try, best first, and why better ones are not among them.

    Raises:
        EngineUnavailableError: the version demands an engine that is not available.
    """
    if wanted is not EngineChoice.AUTO:
        if wanted in capabilities.missing:
            raise _unavailable(wanted, capabilities.missing[wanted])
        return (wanted,), ()
    there = tuple(engine for engine in LADDER if engine not in capabilities.missing)
    return there, tuple(
        f"{engine}: {capabilities.missing[engine]}" for engine in LADDER if engine in capabilities.missing
    )


def open_best(wanted: EngineChoice, capabilities: Capabilities, openers: Openers) -> OpenedEngine:
    """Opens the best engine that works.

    Raises:
        EngineUnavailableError: the version demands an engine that does not work here.
        OverCommitError: the GPU has no room for this replica. Another engine on that GPU would have no room either, and
            a silent fallback to the CPU would hide a mistake in the pipeline file.
        BundleError: the CPU cannot run the model either.
    """
    ladder, passed_over = candidates(wanted, capabilities)
    reasons = list(passed_over)
    for engine in ladder:
        try:
            opened = openers[engine]()
        except OverCommitError:
            raise
        except (EngineError, BundleError) as error:
            if wanted is not EngineChoice.AUTO:
                raise _unavailable(wanted, error.message) from error
            if engine is LADDER[-1]:
                raise
            log.warning("%s is passed over: %s", engine, error)
            reasons.append(f"{engine}: {error.message}")
            continue
        return OpenedEngine(opened, tuple(reasons))
    raise AssertionError("the last engine returns or raises")


def _unavailable(wanted: EngineChoice, reason: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"this version must run on {wanted}, which cannot be had here: {reason}",
        remedy="set serving.engine: auto in the pipeline file, or deploy to a node that has it (`divisions compile`)",
    )
