"""The controller killed before and after every write of a rollout that waits for an approval."""

from divisions.access.requests import Actor
from divisions.promotion import ApprovalCommand, NewApproval, PromotionPolicy
from tests.router.control.test_kills import Killer, Scenario, assert_same_story
from tests.router.rollout_world import spec

POLICY = PromotionPolicy(environment="production")
APPROVE = ApprovalCommand("approve", NewApproval("churn", "3.2", comment="fine"))


def approved(folder, points=()):
    scenario = Scenario(folder, points)
    world = scenario.world
    while world.status().canary_version != "3.2":
        scenario.act(lambda: world.controller.start_rollout(spec("3.2", policy=POLICY), actor=Actor("ann", "deployer")))
    for _ in range(400):
        gate = world.status().gate
        if gate is not None and gate.is_waiting:
            break
        scenario.second()
    assert world.status().phase == "BAKE", scenario.killer.kills
    for _ in range(8):
        scenario.second()
    assert world.status().phase == "BAKE", scenario.killer.kills
    while not scenario.act(lambda: world.controller.manage_approvals(APPROVE, Actor("bob", "approver"))):
        pass
    scenario.until("PROMOTED")
    for _ in range(8):  # a controller that was killed last thing publishes no table until replicas were heard
        scenario.second()
    return scenario


class Recorder(Killer):
    """Kills nobody, and notes the kind of each point."""

    def __init__(self):
        super().__init__(())
        self.kinds = []

    def __call__(self, kind, *, is_written):
        self.kinds.append(kind)
        return super().__call__(kind, is_written=is_written)


def test_killed_once_from_the_last_step_on_at_every_point_of_every_write(tmp_path, monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr("tests.router.control.test_kills.Killer", lambda points: recorder)
    calm = approved(tmp_path / "calm")
    monkeypatch.undo()
    first = recorder.kinds.index("BARRED")
    assert {"APPROVED", "PROMOTED"} <= set(recorder.kinds[first:])
    assert recorder.kinds.count("BARRED") == 2, "before and after the write"
    for point in range(first + 1, calm.killer.seen + 1):
        killed = approved(tmp_path / f"{point}", {point})
        assert len(killed.killer.kills) == 1
        assert [each.name for each in killed.world.controller.records["churn"].approvals] == ["bob"]
        assert_same_story(killed, calm)


def test_an_answered_approval_is_never_lost(tmp_path):
    scenario = Scenario(tmp_path / "world")
    world = scenario.world
    world.controller.start_rollout(spec("3.2", policy=POLICY), actor=Actor("ann", "deployer"))
    world.dies_at = scenario.killer = Killer({2})  # after the write of the approval, before its answer
    assert not scenario.act(lambda: world.controller.manage_approvals(APPROVE, Actor("bob", "approver")))
    assert scenario.killer.kills == [("APPROVED", True)]
    assert [each.name for each in world.controller.records["churn"].approvals] == ["bob"]
    scenario.until("PROMOTED")
