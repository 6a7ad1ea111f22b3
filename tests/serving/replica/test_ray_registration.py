"""How a replica finds the controller again, with Ray's head away or not. Calls of Ray are replaced."""

import pytest
import ray

from divisions.control import ReplicaAddress
from serving.replica.ray_registration import MAX_UNANSWERED, Registration

ADDRESS = ReplicaAddress("v#1", "v", "node", "/sock", "", 8)
DEAD, AWAY = ray.exceptions.ActorDiedError(), ray.exceptions.ActorUnavailableError("away", None)


class Cluster:
    """``answers`` are those of calls, in order: an error, True for an answer, False for none, or a text: "go"."""

    def __init__(self, *answers: Exception | bool | str) -> None:
        self.answers = list(answers)
        self.looked_up = 0
        self.register_replica = self

    def get_actor(self, name: str, namespace: str) -> "Cluster":
        self.looked_up += 1
        return self

    def remote(self, payload: bytes) -> Exception | bool | str:
        return self.answers.pop(0)

    def wait(self, calls, timeout):
        return (calls, []) if calls[0] is not False else ([], calls)

    def get(self, call, timeout=None):
        if isinstance(call, Exception):
            raise call
        return call == "go" or None


@pytest.fixture
def beats(monkeypatch):
    def beats(cluster: Cluster, number: int) -> list[bool]:
        for name in ("get_actor", "wait", "get"):
            monkeypatch.setattr(ray, name, getattr(cluster, name))
        registration = Registration(ADDRESS, lambda: None)
        return [registration.beat() for _ in range(number)]

    return beats


def test_an_actor_that_is_unavailable_for_a_moment_is_not_looked_up_again(beats):
    cluster = Cluster(True, AWAY, AWAY, True)
    assert beats(cluster, 4) == [True, False, False, True]
    assert cluster.looked_up == 1


def test_an_actor_that_is_dead_is_looked_up_again(beats):
    cluster = Cluster(True, DEAD, True)
    assert beats(cluster, 3) == [True, False, True]
    assert cluster.looked_up == 2


def test_a_call_that_is_never_answered_is_given_up_and_meanwhile_not_repeated(beats):
    cluster = Cluster(False, True)
    assert beats(cluster, MAX_UNANSWERED + 1) == [False] * MAX_UNANSWERED + [True]
    assert cluster.looked_up == 2


def test_a_replica_is_asked_to_go_as_long_as_the_controller_says_so(monkeypatch):
    cluster = Cluster(True, "go", DEAD, "go", True)
    for name in ("get_actor", "wait", "get"):
        monkeypatch.setattr(ray, name, getattr(cluster, name))
    registration = Registration(ADDRESS, lambda: None)
    asked = []
    while cluster.answers:
        registration.beat()
        asked.append(registration.is_asked_to_go)
    assert asked == [False, True, True, True, False]
