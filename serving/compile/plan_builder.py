"""Builds a TensorRT plan from an ONNX graph, on the GPU that will run it; or puts other weights into a plan.

The graph decides the precision (strongly typed networks); no flag does. ``STRICT_NANS`` matters, because a missing
feature is a NaN here, and without the flag the builder may replace ``x - x`` by 0. TF32 is off, so that float32 keeps
its precision.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from divisions.errors import EngineError
from serving.engines.external_data import refuse_external_data
from serving.engines.tensorrt import Logger, check_version, profile_ranges

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """``timing`` is the builder's timing cache, which makes the next build faster; empty if there is none."""

    plan: bytes
    timing: bytes


def build_plan(
    trt: Any, model_onnx: bytes, columns: int, max_batch: int, workspace_bytes: int, timing: bytes = b""
) -> BuiltPlan:
    """Builds a plan; takes seconds to minutes.

    Args:
        trt: the module ``tensorrt``.
        model_onnx: a graph ``rows float32[N, columns] -> scores float32[N]``, float16 inside or not.
        max_batch: the largest batch of the plan.
        workspace_bytes: the scratch memory that one kernel may use.
        timing: a timing cache of an earlier build on the same GPU.

    Raises:
        EngineError: TensorRT cannot read the graph, or the builder returns nothing.
    """
    check_version(trt.__version__)
    refuse_external_data(model_onnx)
    logger = Logger(trt)
    builder = trt.Builder(logger.native)
    network = builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger.native)
    if not parser.parse(model_onnx):
        raise EngineError(f"TensorRT cannot read the graph: {_parser_errors(parser)}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    config.set_flag(trt.BuilderFlag.REFIT)
    config.set_flag(trt.BuilderFlag.STRICT_NANS)
    config.clear_flag(trt.BuilderFlag.TF32)
    cache = config.create_timing_cache(timing)
    if cache is None:  # the cache is of another version; an empty cache always works
        cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, False)
    name = network.get_input(0).name
    for batches in profile_ranges(max_batch):
        profile = builder.create_optimization_profile()
        profile.set_shape(name, *((rows, columns) for rows in (batches.least, batches.best, batches.most)))
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"TensorRT refuses a profile of {batches.least} to {batches.most} rows")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT built nothing: {logger.last_error}")
    measured = config.get_timing_cache()
    return BuiltPlan(bytes(plan), bytes(measured.serialize()) if measured is not None else b"")


def refit_plan(trt: Any, plan: bytes, model_onnx: bytes) -> bytes | None:
    """Puts this model's weights into a plan of the same architecture. Returns None if they do not fit.

    A refit takes milliseconds, a build many seconds. The refitted plan keeps the chosen kernels.
    """
    refuse_external_data(model_onnx)
    logger = Logger(trt)
    runtime = trt.Runtime(logger.native)
    native = runtime.deserialize_cuda_engine(plan)
    if native is None or not native.refittable:
        return None
    refitter = trt.Refitter(native, logger.native)
    if not trt.OnnxParserRefitter(refitter, logger.native).refit_from_bytes(model_onnx):
        log.info("the weights do not fit the plan of their architecture: %s", logger.last_error)
        return None
    if not refitter.refit_cuda_engine():
        log.info("the plan of this architecture could not be refitted: %s", logger.last_error)
        return None
    return bytes(native.serialize())


def _network_flags(trt: Any) -> int:
    """The flag for a strongly typed network. TensorRT 11 has only such networks and may drop the flag."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parser_errors(parser: Any) -> str:
    texts = [str(parser.get_error(index)).partition("\n")[0] for index in range(parser.num_errors)]
    return "; ".join(texts)[:300] or "no reason given"
