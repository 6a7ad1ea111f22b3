"""A rollout's trace: each step with its decision, the rollback with its reason, the same after restarts."""

import itertools

import msgspec

from divisions.access.requests import Actor
from divisions.control import RolloutCommand
from divisions.traces.parent import parent_of
from router.rollouts import trace
from tests.router.rollout_world import spec

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def record(world):
    return world.controller.records["churn"]


def test_a_promotion_is_its_steps_with_their_weights_and_decisions_below_the_command(world):
    world.controller.start_rollout(spec("3.2"), actor=Actor("ann", traceparent=CALLER))
    world.until("STEP")
    world.restart_controller()
    world.until("PROMOTED")
    whole, *phases = trace.spans(record(world))
    caller = parent_of(CALLER)
    assert (whole.trace_id, whole.parent_id, whole.error) == (caller.trace_id, caller.span_id, "")
    assert whole.name == "rollout churn"
    assert whole.attributes["divisions.rollout_id"] == f"churn/{record(world).rollout.number}"
    assert (whole.attributes["divisions.version"], whole.attributes["divisions.stable_version"]) == ("3.2", "3.1")
    assert [span.name for span in phases] == ["pending", "load replicas", "step", "step", "bake"]
    assert [span.attributes["divisions.weight"] for span in phases[2:4]] == [0.2, 0.5]
    assert phases[2].attributes["divisions.decision"] == phases[3].attributes["divisions.message"]
    assert "3.2 serves all traffic" in phases[-1].attributes["divisions.decision"]
    assert {span.parent_id for span in phases} == {whole.span_id}
    assert {span.trace_id for span in phases} == {caller.trace_id}
    assert (phases[0].start_s, phases[-1].end_s) == (whole.start_s, whole.end_s)
    for one, after in itertools.pairwise(phases):
        assert one.end_s == after.start_s
    assert len({span.span_id for span in (whole, *phases)}) == 6
    assert trace.spans(record(world)) == [whole, *phases]


def test_a_rollback_says_why_and_without_a_caller_begins_a_trace(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    command = RolloutCommand("churn", "abort", who="ann", reason="it smells")
    world.controller.command(command)
    world.until("ROLLED_BACK")
    whole, *phases = trace.spans(record(world))
    assert whole.parent_id == 0
    assert whole.error.startswith("rolled back: ")
    assert whole.attributes["divisions.outcome"] == "ROLLED_BACK"
    assert whole.attributes["divisions.guard"] == "operator"
    assert [span.name for span in phases][-3:] == ["step", "rollback", "drain"]
    assert "it smells" in phases[-3].attributes["divisions.decision"]


def test_every_rollout_that_ends_is_told_once(world, tmp_path):
    ended = []
    world.controller._driver.over = ended.append
    world.controller.start_rollout(spec("3.2"))
    world.until("PROMOTED")
    world.seconds(40)
    assert [each.rollout.spec.version.version for each in ended] == ["3.2"]
    assert msgspec.json.decode(msgspec.json.encode(ended[0]), type=type(ended[0])) == ended[0]
