"""How tests are shared out to workers (``pytest -n 2``): the first takes those of clusters, the others all else.

A cluster under test waits more than it computes. A worker beside it fills the processors with tests that need no
cluster. So the first worker takes groups of tests from the front of the queue, where the clusters are, and the others
from its end. They meet somewhere in between. `tests.two_ends_scheduler` tells pytest-xdist.
"""

from __future__ import annotations

import os

import pytest

FIRST = "gw0"
_YIELDS = 5
"""The nice value of all workers but the first: a cluster's deadlines run, whatever other tests compute."""
_SHARED = ("tests/e2e/live/", "tests/e2e/guarded/", "tests/cluster/", "tests/kube/")
"""Folders whose files share a cluster, hosts, or an API server."""
_TURNS = (*_SHARED[:2], "tests/e2e/", *_SHARED[2:])


def group_of(nodeid: str) -> str:
    """Tests of one group run on one worker, one after the other: those of a file, or those that share a cluster."""
    path = nodeid.partition("::")[0]
    return next((folder for folder in _SHARED if path.startswith(folder)), path)


def turn_of(nodeid: str) -> int:
    """Its place in the queue: clusters first."""
    return next((turn for turn, folder in enumerate(_TURNS) if nodeid.startswith(folder)), len(_TURNS))


def yield_to_first(config: pytest.Config) -> None:
    """Lowers the priority of this process if it is a worker, and not the first."""
    if getattr(config, "workerinput", {"workerid": FIRST})["workerid"] != FIRST:
        os.nice(_YIELDS)
