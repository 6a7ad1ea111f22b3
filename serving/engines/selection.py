"""Which engine a replica uses, and why not a better one.

    auto:    tensorrt -> onnxruntime-cuda -> onnxruntime-cpu: the first that is there, opens, warms up and answers as
             the reference does; each that was passed over leaves a reason
    forced:  that one, or the replica does not start

The reasons are logged, stand in ``divisions status`` (`ReplicaAddress.engine_note`) and in the metric
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
"""For each engine, how to open it: warm and compared, or an error."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An engine, and for each better one why it was passed over; no reasons when the best was taken."""

    engine: Engine
    passed_over: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """The reasons as one line, engines with the same reason together."""
        by_reason: dict[str, list[str]] = {}
        for text in self.passed_over:
            engine, _, reason = text.partition(": ")
            by_reason.setdefault(reason, []).append(engine)
        return "; ".join(f"{', '.join(engines)}: {reason}" for reason, engines in by_reason.items())


def rungs(wanted: EngineChoice, capabilities: Capabilities) -> tuple[tuple[EngineChoice, ...], tuple[str, ...]]:
    """The engines to try, best first, and why better ones need not be tried.

    Raises:
        EngineUnavailableError: the version insists on one that is not there.
    """
    if wanted is not EngineChoice.AUTO:
        if wanted in capabilities.missing:
            raise _unavailable(wanted, capabilities.missing[wanted])
        return (wanted,), ()
    there = tuple(engine for engine in LADDER if engine not in capabilities.missing)
    return there, tuple(
        f"{engine}: {capabilities.missing[engine]}" for engine in LADDER if engine in capabilities.missing
    )


def open_best(wanted: EngineChoice, capabilities: Capabilities, openers: Openers) -> Opened:
    """Opens the best engine that works.

    Raises:
        EngineUnavailableError: the version insists on one that does not work here.
        OverCommitError: the GPU has no room for this replica: a lesser engine on it would have none either, and
            falling back to the CPU in silence would hide a mistake in the file.
        BundleError: not even the CPU can run the model.
    """
    ladder, passed_over = rungs(wanted, capabilities)
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
        return Opened(opened, tuple(reasons))
    raise AssertionError("the last rung returns or raises")


def _unavailable(wanted: EngineChoice, reason: str) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"this version must run on {wanted}, which cannot be had here: {reason}",
        remedy="set serving.engine: auto in the pipeline file, or deploy to a node that has it (`divisions compile`)",
    )
