"""Which engine a replica uses, and why not a better one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serving.engines.onnx_runtime import OnnxRuntimeEngine, Provider


@dataclass(frozen=True, slots=True)
class Choice:
    """``passed_over`` says, for each better engine, why it was not taken; empty when the best one was."""

    provider: Provider
    passed_over: tuple[str, ...] = ()


def choose(num_gpus: float, providers: Sequence[str]) -> Choice:
    """Chooses where the model runs.

    Args:
        num_gpus: the share of a GPU that the replica was given.
        providers: the names of ONNX Runtime's providers in this process.
    """
    if num_gpus <= 0:
        return Choice(Provider.CPU, (f"{Provider.CUDA}: no GPU was asked for",))
    if Provider.CUDA not in providers:
        reason = "the installed onnxruntime has no CUDA support; install the extra 'gpu'"
        return Choice(Provider.CPU, (f"{Provider.CUDA}: {reason}",))
    return Choice(Provider.CUDA)


def open_engine(model: bytes, columns: int, num_gpus: float) -> tuple[OnnxRuntimeEngine, Choice]:
    """Opens the best engine that this process can run.

    Raises:
        BundleError: the model cannot be loaded, or a provider that should work cannot be opened.
    """
    import onnxruntime

    choice = choose(num_gpus, onnxruntime.get_available_providers())
    return OnnxRuntimeEngine(model, columns, choice.provider), choice
