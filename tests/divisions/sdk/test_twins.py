"""The two clients are twins: the same methods with the same arguments and the same defaults."""

import inspect

import pytest

from divisions import AsyncClient, Client
from divisions.sdk.async_client import AsyncRollout
from divisions.sdk.client import Rollout

OWN = {"close", "aclose"}


def signatures(kind):
    """The public methods of a class, and how each is called."""
    found = {}
    for name, member in inspect.getmembers(kind):
        if (not name.startswith("_") or name == "__init__") and name not in OWN and inspect.isfunction(member):
            parameters = inspect.signature(member).parameters.values()
            found[name] = [(each.name, each.kind, each.default) for each in parameters]
    return found


@pytest.mark.parametrize(("one", "other"), [(Client, AsyncClient), (Rollout, AsyncRollout)])
def test_both_clients_are_called_in_the_same_way(one, other):
    assert signatures(one) == signatures(other)


def test_nothing_is_forced_unless_one_says_so():
    assert inspect.signature(Client.start_rollout).parameters["force"].default is False
