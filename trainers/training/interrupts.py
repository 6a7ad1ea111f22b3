"""Ctrl-C while a library runs that takes the signal for itself.

Ray Train puts a handler of its own in place of Python's, which asks its training to stop and then exits, and leaves it
there when the training is over. It swallowed the first two Ctrl-C of whatever came next; and one during the training
looked like a failure.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def kept_interrupts() -> Iterator[None]:
    """Lets what runs inside handle SIGINT as it likes; outside, Ctrl-C is `KeyboardInterrupt` as before.

    Raises:
        KeyboardInterrupt: what ran inside wanted to exit.
    """
    is_main = threading.current_thread() is threading.main_thread()  # No other thread may set handlers, Ray's code too.
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ending:
        raise KeyboardInterrupt from ending
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)
