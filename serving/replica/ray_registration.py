"""Tells the controller, an actor known by its name only, where a replica listens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError

from divisions.control import ReplicaAddress
from divisions.errors import UnhealthyReplicaError

CONTROLLER = "divisions-controller"
NAMESPACE = "divisions"
CALL_TIMEOUT_S = 1.5
MAX_UNANSWERED = 4
"""Time-outs after which an unanswered call is given up and the actor is looked up again."""

log = logging.getLogger(__name__)


class Registration:
    """One replica's standing with the controller; `beat` is made for `serving.replica.heartbeat.Heartbeat`."""

    def __init__(self, address: ReplicaAddress, check_health: Callable[[], None]) -> None:
        self._payload = msgspec.msgpack.encode(address)
        self._check_health = check_health
        self._controller: Any = None
        self._call: Any = None
        self._unanswered = 0

    def beat(self) -> bool:
        """Registers, if the replica is healthy; returns whether the controller has taken it.

        A controller that is dead, restarting or hung makes this return False in `CALL_TIMEOUT_S` or so. A hung one
        gets no second call on top of the first.
        """
        try:
            self._check_health()
        except UnhealthyReplicaError as error:
            log.warning("not registering: %s", error)
            return False
        try:
            return self._register()
        except (RayError, ValueError) as error:  # ValueError: no actor has this name, or not yet
            log.debug("cannot register: %s", error)
            self._forget()
            return False

    def _register(self) -> bool:
        if self._controller is None:
            self._controller = ray.get_actor(CONTROLLER, namespace=NAMESPACE)
        if self._call is None:
            self._call = self._controller.register_replica.remote(self._payload)
        done, _ = ray.wait([self._call], timeout=CALL_TIMEOUT_S)
        if not done:
            self._unanswered += 1
            if self._unanswered >= MAX_UNANSWERED:
                self._forget()
            return False
        call, self._call, self._unanswered = self._call, None, 0
        ray.get(call)
        return True

    def _forget(self) -> None:
        self._controller = self._call = None
        self._unanswered = 0
