"""How a gateway finds the controller while Ray's head, which answers look-ups, is away."""

import asyncio
import threading
from concurrent.futures import Future

import pytest
import ray

from divisions.errors import NotRunningError
from router.gateway.ray_gateway import RayController

DEAD, AWAY = ray.exceptions.ActorDiedError(), ray.exceptions.ActorUnavailableError("away", None)


class Actor:
    """``answers`` are results or errors of its calls, in order; None never answers."""

    def __init__(self, *answers: bytes | Exception | None) -> None:
        self._answers = list(answers)
        self.ping = self

    def remote(self) -> "Actor":
        return self

    def future(self) -> Future[bytes]:
        future: Future[bytes] = Future()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(answer)
        return future


class Head:
    """Answers look-ups with ``actors`` in order; waits while it is away."""

    def __init__(self, *actors: Actor) -> None:
        self.actors = list(actors)
        self.asked = 0
        self.is_here = threading.Event()
        self.is_here.set()

    def find(self) -> Actor:
        self.asked += 1
        self.is_here.wait(120)
        if not self.actors:
            raise ValueError("no such actor")
        return self.actors.pop(0)


def played(head: Head, scenario):
    async def play():
        try:
            return await scenario(RayController(head.find))
        finally:
            head.is_here.set()

    return asyncio.run(play())


async def ask(controller: RayController, timeout_s: float = 20.0) -> bytes:
    return await controller.call("ping", (), timeout_s)


async def refused(controller: RayController, timeout_s: float = 20.0) -> None:
    with pytest.raises(NotRunningError):
        await ask(controller, timeout_s)


async def settled(controller: RayController) -> None:
    """Waits for the look-up that is under way."""
    await asyncio.wait([controller._search])
    await asyncio.sleep(0)


@pytest.mark.parametrize("failure", [None, AWAY])
def test_the_actor_that_is_known_stays_in_use_while_the_head_is_away(failure):
    head = Head(Actor(b"one", failure, b"two", b"three"))

    async def scenario(controller):
        assert await ask(controller) == b"one"
        head.is_here.clear()
        await refused(controller, 0.01 if failure is None else 20.0)
        assert await ask(controller) == b"two"
        assert await ask(controller) == b"three"

    played(head, scenario)
    assert head.asked == 2


def test_an_actor_that_another_has_replaced_is_looked_up():
    head = Head(Actor(b"old", DEAD), Actor(b"new"))

    async def scenario(controller):
        assert await ask(controller) == b"old"
        await refused(controller)
        assert await ask(controller) == b"new"

    played(head, scenario)


def test_an_actor_that_does_not_answer_is_replaced_by_what_the_head_knows():
    head = Head(Actor(AWAY), Actor(b"new"))

    async def scenario(controller):
        await refused(controller)
        await settled(controller)
        assert await ask(controller) == b"new"

    played(head, scenario)


def test_callers_wait_no_longer_than_they_said_and_share_one_look_up():
    head = Head(Actor(*[b"found"] * 3))
    head.is_here.clear()

    async def scenario(controller):
        await asyncio.gather(*(refused(controller, 0.01) for _ in range(20)))
        waiting = [asyncio.create_task(ask(controller)) for _ in range(2)]
        await asyncio.sleep(0)
        assert head.asked == 1
        head.is_here.set()
        assert [await one for one in waiting] == [b"found"] * 2

    played(head, scenario)
    assert head.asked == 1


def test_a_controller_that_does_not_exist_yet_is_looked_up_until_it_does():
    head = Head()

    async def scenario(controller):
        await refused(controller)
        await settled(controller)
        head.actors.append(Actor(b"found"))
        assert await ask(controller) == b"found"

    played(head, scenario)
