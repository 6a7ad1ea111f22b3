from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
import ray

from deploy.cluster import ray_attach
from divisions.deployment import Deployment
from divisions.errors import ClusterError

DEPLOYED = (Deployment("code", "/home", {"DIVISIONS_PORT": "1"}), {"token": b"t"})


class Controller:
    """An actor's handle. Its calls give what it has: an answer, or the error of `ray.get`."""

    def __init__(self, given: bytes | Exception) -> None:
        self.deployment = SimpleNamespace(remote=lambda: given)


def ray_with(monkeypatch: pytest.MonkeyPatch, controllers: list[Controller | None]) -> list[float]:
    """Look-ups find these, one after the other, then the last one. Returns the time that was slept."""
    slept: list[float] = []

    def get(given: bytes | Exception, *, timeout: float) -> bytes:
        if isinstance(given, Exception):
            raise given
        return given

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(
        ray_attach, "find_controller", lambda: controllers.pop(0) if len(controllers) > 1 else controllers[0]
    )
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(ray_attach, "time", clock)
    return slept


def test_a_controller_that_died_with_its_up_is_none_once_its_name_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = Controller(ray.exceptions.ActorDiedError())
    slept = ray_with(monkeypatch, [dead, dead, None])
    assert ray_attach._running() == (None, None)
    assert len(slept) == 2


def test_one_that_another_up_has_started_meanwhile_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    living = Controller(msgspec.msgpack.encode(DEPLOYED))
    ray_with(monkeypatch, [Controller(ray.exceptions.ActorDiedError()), living])
    assert ray_attach._running() == (living, DEPLOYED)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ray.exceptions.ActorDiedError(), "has died"),
        (ray.exceptions.GetTimeoutError(), "its node may be away"),
        (ray.exceptions.ActorUnavailableError("away", None), "does not answer"),
    ],
)
def test_one_that_stays_dead_or_silent_is_an_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    ray_with(monkeypatch, [Controller(error)])
    with pytest.raises(ClusterError, match=said):
        ray_attach._running()
