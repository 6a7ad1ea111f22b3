"""From a model to a TensorRT engine: its plan is cached, refitted or built, and always compared with the reference.

cached and signed? --yes--> open, compare --ok--> serve
      | no                        | not ok: discard
      v                           v
plan of the same architecture? -> refit, open, compare --ok--> keep, serve
      | no, or not ok
      v
build, open, compare --ok--> keep, serve
      | not ok: build once more, without the timing cache; if that fails, the next engine serves
"""

from __future__ import annotations

import enum
import logging
from dataclasses import dataclass
from typing import Any

from divisions.errors import BundleError, EngineError
from serving.compile.engine_cache import EngineCache, PlanKey
from serving.compile.plan_builder import build_plan, refit_plan
from serving.engines.cuda_driver import Cuda
from serving.engines.foreign_errors import as_engine_errors
from serving.engines.parity import check_parity
from serving.engines.protocol import Engine
from serving.engines.tensorrt import TensorRtEngine

NUM_BUILDS = 2

log = logging.getLogger(__name__)


class Origin(enum.StrEnum):
    """Where a plan came from."""

    CACHED = "cached"
    REFITTED = "refitted"
    BUILT = "built"


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """The model and its limits. ``workspace_bytes`` limits a kernel; ``budget_bytes`` limits the engine that serves."""

    model_onnx: bytes
    columns: int
    max_batch: int
    precision: str
    workspace_bytes: int
    budget_bytes: int
    key: PlanKey


@dataclass(frozen=True, slots=True)
class OpenedPlan:
    """A warm engine and the key of its plan. ``difference`` is the largest one from the reference."""

    engine: TensorRtEngine
    origin: Origin
    difference: float
    key: PlanKey


def open_plan(trt: Any, cuda: Cuda, cache: EngineCache, request: PlanRequest, reference: Engine) -> OpenedPlan:
    """Opens a plan from the cache, or makes one. A lock lets one process at a time do so for a key.

    Raises:
        EngineError: TensorRT cannot run this model here, or its scores differ from the reference.
    """
    with cache.locked(request.key):
        return _open_locked(trt, cuda, cache, request, reference)


def _open_locked(trt: Any, cuda: Cuda, cache: EngineCache, request: PlanRequest, reference: Engine) -> OpenedPlan:
    key = request.key
    plan = cache.plan(key)
    if plan is not None:
        try:
            return _try(trt, cuda, plan, Origin.CACHED, request, reference)
        except EngineError as error:
            log.warning("the cached plan is discarded: %s", error)
            cache.discard(key)
    same_architecture = cache.same_architecture(key)
    if same_architecture is not None:
        try:
            with as_engine_errors("TensorRT"):
                refitted = refit_plan(trt, same_architecture, request.model_onnx)
            if refitted is not None:
                return _keep(cache, key, refitted, _try(trt, cuda, refitted, Origin.REFITTED, request, reference))
        except EngineError as error:
            log.warning("the refitted plan is not used: %s", error)
    for attempt in range(NUM_BUILDS):
        try:
            built = _build(trt, cache, request, with_timing=attempt == 0)
            return _keep(cache, key, built, _try(trt, cuda, built, Origin.BUILT, request, reference))
        except EngineError as error:
            log.warning("build %d of %d failed: %s", attempt + 1, NUM_BUILDS, error)
            last = error
    raise last


def _build(trt: Any, cache: EngineCache, request: PlanRequest, with_timing: bool) -> bytes:
    """Builds a plan. The second build ignores the timing cache, which may have caused the failure."""
    timing = cache.timing(request.key) if with_timing else b""
    with as_engine_errors("TensorRT"):
        built = build_plan(trt, request.model_onnx, request.columns, request.max_batch, request.workspace_bytes, timing)
    if built.timing:
        cache.put_timing(request.key, built.timing)
    return built.plan


def _try(trt: Any, cuda: Cuda, plan: bytes, origin: Origin, request: PlanRequest, reference: Engine) -> OpenedPlan:
    with as_engine_errors("TensorRT"):
        engine = TensorRtEngine(plan, request.columns, cuda, request.precision, request.budget_bytes, trt)
    try:
        with as_engine_errors("TensorRT"):
            engine.warm(request.max_batch)
            difference = check_parity(engine, reference, request.max_batch, request.precision)
    except BaseException as error:
        engine.close()
        if isinstance(error, BundleError):
            raise EngineError(error.message, remedy=error.remedy) from error
        raise
    return OpenedPlan(engine, origin, difference, request.key)


def _keep(cache: EngineCache, key: PlanKey, plan: bytes, opened: OpenedPlan) -> OpenedPlan:
    cache.put_plan(key, plan)
    return opened
