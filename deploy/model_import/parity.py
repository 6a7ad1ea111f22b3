"""Whether the adapted graph on our engine gives what the original gives on ONNX Runtime."""

from __future__ import annotations

from typing import Any

from deploy.model_import.graph import ForeignGraph, adapt
from divisions.errors import BundleError, EngineError
from serving.engines.external_data import refuse_external_data
from serving.engines.foreign_errors import as_engine_errors, first_line
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.parity import check_parity
from serving.engines.protocol import FloatArray

MAX_BATCH = 256


class Original:
    """The graph as it came, on ONNX Runtime, with its own names. It has what `check_parity` asks of an engine."""

    name = "the original"

    def __init__(self, foreign: ForeignGraph) -> None:
        """Raises: BundleError: ONNX Runtime cannot load it."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            self._session: Any = onnxruntime.InferenceSession(
                foreign.model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001  # the classes of its errors have no common base but Exception
            raise BundleError(
                f"ONNX Runtime cannot load the model: {first_line(error)}",
                remedy="export it with opset 20 and ONNX's own operators",
            ) from None
        self.columns = foreign.columns
        self._foreign = foreign

    def warm(self, max_batch: int) -> None:
        pass

    def run(self, rows_NF: FloatArray) -> FloatArray:
        foreign = self._foreign
        with as_engine_errors("ONNX Runtime"):
            (found,) = self._session.run([foreign.output_name], {foreign.input_name: rows_NF})
        scores: FloatArray = found[:, foreign.num_outputs - 1] if foreign.num_outputs else found
        return scores

    def close(self) -> None:
        self._session = None


def checked(foreign: ForeignGraph) -> tuple[bytes, float]:
    """The adapted graph, and the largest difference of two scores on random, missing and extreme rows.

    Raises:
        BundleError: it cannot be loaded, has external data, or gives other scores than the original.
    """
    refuse_external_data(foreign.model)
    original, adapted = Original(foreign), adapt(foreign)
    engine = OnnxRuntimeEngine(adapted, foreign.columns)
    try:
        engine.warm(MAX_BATCH)
        return adapted, check_parity(engine, original, MAX_BATCH, "fp32")
    except EngineError as error:
        raise BundleError(
            f"the model fails the parity check: {error.message}",
            remedy="export it so that a row's score depends on that row alone (inference mode, nothing random)",
        ) from None
    finally:
        engine.close()
