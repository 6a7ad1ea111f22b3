"""An actor class that Ray can start again on any node, also on one that lacks our code or has other code.

Ray gives an actor up for good when its class cannot be loaded or its first steps raise. A class of ours is sent by its
name, so one node without our wheel could end a controller that Ray starts again there. `portable` makes a class that is
sent whole and needs nothing of ours to be loaded. When the true class cannot start, its process ends instead, and Ray
tries again: it takes a node at random for an actor that asks for no resources.
"""

from __future__ import annotations

import inspect
from typing import Any

PAUSE_S = 1.0
"""Before the next try, so that a cluster with one bad node is not busy with starting processes."""


def portable(actor: type) -> type:
    """A class with the public coroutine methods of ``actor``, which is imported when an instance starts.

    An actor's first start raises what ``actor`` raises: the command that wants it tells the user. So do later starts
    with an error of our own, which names a remedy. Anything else ends the process.
    """
    module, name = actor.__module__, actor.__qualname__

    # Everything below must import what it needs itself: it runs where this module may be absent.
    class Portable:
        async def __init__(self, *arguments: Any, **options: Any) -> None:  # type: ignore[misc]  # Ray awaits it
            import asyncio
            import importlib
            import os
            import traceback

            import ray

            try:
                true = getattr(importlib.import_module(module), name)
                self._actor = true.__new__(true)
                await true.__init__(self._actor, *arguments, **options)
            except Exception as error:
                is_ours = any(kind.__name__ == "DivisionsError" for kind in type(error).__mro__)
                if is_ours or not ray.get_runtime_context().was_current_actor_reconstructed:
                    raise
                traceback.print_exc()
                print(f"{name} cannot start on this node; Ray starts it again", flush=True)
                await asyncio.sleep(pause_s)
                os._exit(1)

    pause_s = PAUSE_S
    for method in _methods(actor):
        setattr(Portable, method, _forward(method))
    Portable.__name__ = Portable.__qualname__ = name  # what Ray and its processes are called by
    return Portable


def _methods(actor: type) -> list[str]:
    found = inspect.getmembers(actor, inspect.iscoroutinefunction)
    return [name for name, _ in found if not name.startswith("_")]


def _forward(name: str) -> Any:
    async def method(self: Any, *arguments: Any, **options: Any) -> Any:
        return await getattr(self._actor, name)(*arguments, **options)

    method.__name__ = name
    return method
