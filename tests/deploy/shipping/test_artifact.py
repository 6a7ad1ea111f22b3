"""The steps of the artifact come before a target's own, if there is something to ship."""

import pytest

from deploy.shipping.artifact import WithArtifact
from deploy.shipping.release import Act, Plan, Release, Step
from divisions.artifacts.cache import Bundles

RELEASE = Release("churn-predictor", "3.2", "churn", "churn-predictor/0123", "0" * 64, "churn-v3", "1" * 64)
START, WATCH = Step("start", "Start it"), Step("watch", "Watch it", Act.WATCH)


class PlannedTarget:
    def __init__(self, *steps):
        self._steps = steps

    def plan(self, release, *, is_watched):
        return Plan(self._steps, ("+ it",), ("1 CPU",))


class MemoryStore:
    name = "s3://models"

    def __init__(self, *, has):
        self._has = has

    def has(self, address, file):
        return self._has


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (None, ["check", "start"]),
        (MemoryStore(has=True), ["check", "start"]),
        (MemoryStore(has=False), ["check", "push", "start"]),
    ],
)
def test_the_bundle_is_pushed_only_to_a_store_that_lacks_it(tmp_path, store, expected):
    target = WithArtifact(PlannedTarget(START), Bundles(tmp_path, store))
    plan = target.plan(RELEASE, is_watched=False)
    assert [step.name for step in plan.steps] == expected
    assert (plan.changes, plan.costs) == (("+ it",), ("1 CPU",))


@pytest.mark.parametrize("steps", [(), (WATCH,)])
def test_nothing_is_shipped_for_what_is_served_or_on_its_way(tmp_path, steps):
    target = WithArtifact(PlannedTarget(*steps), Bundles(tmp_path, MemoryStore(has=False)))
    assert target.plan(RELEASE, is_watched=True).steps == steps
