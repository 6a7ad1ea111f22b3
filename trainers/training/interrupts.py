"""Keeps Ctrl-C working around a library that replaces the signal's handler.

Ray Train installs its own handler, which stops the training and then exits. It does not restore the old handler after
the training: the next stages lost the first two Ctrl-C. Also, a Ctrl-C during the training looked like a failure.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def preserve_interrupt_handler() -> Iterator[None]:
    """Code inside may handle SIGINT in its own way. Outside, Ctrl-C raises `KeyboardInterrupt` as before.

    Raises:
        KeyboardInterrupt: the code inside tried to exit.
    """
    is_main = threading.current_thread() is threading.main_thread()  # Only the main thread may set handlers.
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ending:
        raise KeyboardInterrupt from ending
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def preserve_stop_handler() -> Iterator[None]:
    """Code inside may handle SIGTERM in its own way. Afterwards it does again what it did before.

    `ray.init` installs a handler that exits. A run that was stopped ended as FAILED then, with a traceback.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
