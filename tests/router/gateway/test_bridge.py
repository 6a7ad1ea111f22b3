"""Errors that cross the bridge: ours whole, of all others nothing but their class."""

import pytest

from divisions.errors import ConflictError, DivisionsError, JournalDamagedError
from router.gateway.bridge import error_of, failure
from router.gateway.ray_gateway import not_running

RAY = (
    "\x1b[36mray::ControllerActor.command()\x1b[39m (pid=4711, ip=10.0.0.7, actor_id=ab12)\n"
    '  File "/srv/router/control/controller.py", line 3, in command\n'
    "sqlite3.OperationalError: disk I/O error\n"
)


def test_our_own_error_comes_back_as_it_was():
    error = error_of(failure(7, ConflictError("it runs already", remedy="see its status")))
    assert type(error) is ConflictError
    assert (error.message, error.remedy) == ("it runs already", "see its status")


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, KeyError])
def test_of_another_error_no_text_gets_through(kind):
    error = error_of(failure(7, kind(RAY)))
    assert type(error) is DivisionsError
    for part in ("pid", "10.0.0.7", "\x1b", "/srv", "sqlite3", "\n"):
        assert part not in str(error)
    assert kind.__name__ in str(error)
    assert "logs" in error.remedy


def test_a_controller_that_cannot_start_says_why():
    died = RuntimeError(
        f"The actor died\n{RAY}divisions.errors.JournalDamagedError: the journal is damaged. restore it\n"
    )
    assert str(not_running(died)) == "the controller cannot start: the journal is damaged. restore it"
    assert JournalDamagedError.__name__ not in str(not_running(died))
    assert str(not_running(TimeoutError(RAY))).startswith("the controller does not answer (TimeoutError). Ray restarts")
