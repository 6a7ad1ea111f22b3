"""Registers a replica's address with the controller, which is looked up by its actor name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import ray
from ray.exceptions import ActorUnavailableError, RayError

from divisions.cause import cause_in
from divisions.control import ReplicaAddress
from divisions.errors import UnhealthyReplicaError
from serving.replica.certification import Certification

CONTROLLER = "divisions-controller"
NAMESPACE = "divisions"
CALL_TIMEOUT_S = 1.5
MAX_UNANSWERED = 4
"""After this many time-outs the call is given up and the actor is looked up again."""

log = logging.getLogger(__name__)


class Registration:
    """Registers one replica. `serving.replica.heartbeat.Heartbeat` calls `beat`.

    Args:
        address: what is registered.
        check_health: raises when the replica cannot answer.
        certification: gets the certificate for its TCP port; None if it has no port, or a plain one.
    """

    def __init__(
        self, address: ReplicaAddress, check_health: Callable[[], None], certification: Certification | None = None
    ) -> None:
        self._replica_id = address.replica_id
        self._payload = msgspec.msgpack.encode(address)
        self._check_health = check_health
        self._certification = certification
        self._controller: Any = None
        self._call: Any = None
        self._unanswered = 0
        self.is_asked_to_go = False
        """Whether the controller wants the replica on another node, where it has started another one."""

    def beat(self) -> bool:
        """Registers the replica if it is healthy. Returns whether the controller has accepted it.

        If the controller is dead, restarting or hung, this returns False after about `CALL_TIMEOUT_S`. A hung
        controller gets no second call while the first is unanswered.
        """
        try:
            self._check_health()
        except UnhealthyReplicaError as error:
            log.warning("not registering: %s", error)
            return False
        try:
            return self._certify() and self._register()
        except (RayError, ValueError) as error:  # ValueError: no actor has this name, or not yet
            log.debug("cannot register: %s", error)
            if isinstance(error, ActorUnavailableError):
                self._drop_call()  # the actor is the same; looking it up would wait for Ray's head, which may be away
            else:
                self._forget()
            return False

    def leave(self) -> bool:
        """Tells the controller that the replica is about to stop. Returns whether the controller has heard it."""
        try:
            call = self._find().leave_replica.remote(self._replica_id)
            done, _ = ray.wait([call], timeout=CALL_TIMEOUT_S)
            if done:
                ray.get(call)
            return bool(done)
        except (RayError, ValueError, AttributeError) as error:  # AttributeError: a controller of an earlier release
            log.info("cannot tell the controller that this replica stops: %s", error)
            return False

    def _certify(self) -> bool:
        """Renews the certificate in time. Returns whether there is one: without it, no gateway could connect."""
        certification = self._certification
        if certification is None or not certification.is_due:
            return True
        try:
            request = certification.ask()
            certification.take(ray.get(self._find().issue_certificate.remote(request), timeout=CALL_TIMEOUT_S))
        except (RayError, ValueError) as error:
            log.warning("no new certificate: %s", cause_in([str(error)]) or error)
            if not certification.has_any:
                raise
        return True

    def _find(self) -> Any:
        if self._controller is None:
            self._controller = ray.get_actor(CONTROLLER, namespace=NAMESPACE)
        return self._controller

    def _register(self) -> bool:
        if self._call is None:
            self._call = self._find().register_replica.remote(self._payload)
        done, _ = ray.wait([self._call], timeout=CALL_TIMEOUT_S)
        if not done:
            self._unanswered += 1
            if self._unanswered >= MAX_UNANSWERED:
                self._forget()
            return False
        call, self._call, self._unanswered = self._call, None, 0
        self.is_asked_to_go = bool(ray.get(call))  # None from a controller of an earlier release
        return True

    def _forget(self) -> None:
        self._controller = None
        self._drop_call()

    def _drop_call(self) -> None:
        self._call = None
        self._unanswered = 0
