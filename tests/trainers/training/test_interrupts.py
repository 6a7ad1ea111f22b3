"""Ctrl-C around a library that takes the signal for itself."""

import contextlib
import signal
import sys
import threading

import pytest

from trainers.training.interrupts import preserve_interrupt_handler, preserve_stop_handler


@pytest.fixture
def handler():
    """The handler that stood there before; the test's own is taken away again."""
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def terminator():
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGTERM, before)


def exit_quietly(*_):
    sys.exit(0)


def train(ending):
    """As Ray Train does: takes the signal, and ends in some way."""
    with preserve_interrupt_handler():
        signal.signal(signal.SIGINT, exit_quietly)
        ending()


def interrupt():
    signal.raise_signal(signal.SIGINT)


def diverge():
    raise ValueError("diverged")


def test_an_exit_after_ctrl_c_is_an_interrupt(handler):
    with pytest.raises(KeyboardInterrupt):
        train(interrupt)
    assert signal.getsignal(signal.SIGINT) is handler


def test_after_the_library_ctrl_c_interrupts_again(handler):
    train(lambda: None)
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def test_other_exceptions_pass_and_the_handler_is_restored(handler):
    with pytest.raises(ValueError, match="diverged"):
        train(diverge)
    assert signal.getsignal(signal.SIGINT) is handler


def test_outside_the_main_thread_no_handler_is_touched(handler):
    failures = []

    def work():
        try:
            with preserve_interrupt_handler():
                pass
        except Exception as error:  # noqa: BLE001  # told to the main thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
    assert signal.getsignal(signal.SIGINT) is handler


def test_after_a_library_that_takes_sigterm_it_does_again_what_it_did(terminator):
    with preserve_stop_handler():
        signal.signal(signal.SIGTERM, exit_quietly)  # as `ray.init` does
    assert signal.getsignal(signal.SIGTERM) is terminator


def test_sigterm_is_given_back_after_an_error_too(terminator):
    with contextlib.suppress(ValueError), preserve_stop_handler():
        signal.signal(signal.SIGTERM, exit_quietly)
        diverge()
    assert signal.getsignal(signal.SIGTERM) is terminator
