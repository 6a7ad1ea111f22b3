"""Turns errors of other libraries into our own, so that the next engine can be tried."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from divisions.errors import DivisionsError, EngineError

MAX_CHARS = 200

log = logging.getLogger(__name__)


@contextlib.contextmanager
def as_engine_errors(library: str) -> Iterator[None]:
    """Lets our own errors through. Turns every other error into an `EngineError` that names its class.

    The errors of GPU libraries have no common base but `Exception`. TensorRT's bindings raise ``TypeError`` where a
    constructor got a null pointer. ONNX Runtime and PyTorch each have their own classes for full memory.
    """
    try:
        yield
    except DivisionsError:
        raise
    except Exception as error:
        log.debug("%s failed", library, exc_info=True)
        raise EngineError(f"{library} failed with {type(error).__name__}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of an error's text, cut to `MAX_CHARS`."""
    return str(error).strip().partition("\n")[0][:MAX_CHARS]
