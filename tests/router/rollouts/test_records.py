"""An endpoint's record: what runs, how traffic is split, what is remembered, and how a transition is told."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.control import FULL_BP, AccessPolicy
from divisions.prediction_log import LogPolicy
from divisions.status import Evidence, Explanation
from router.rollouts import canary, messages, records
from router.rollouts.canary import Capacity, Judgement, Timer
from router.rollouts.records import MAX_HISTORY, MAX_LATCHED, Queued, Retiring
from router.rollouts.status import MANY
from router.rollouts.status import status as status_of
from tests.router.rollout_world import ANALYSIS, spec, version

WARMING, SHADOW = canary.Warming(Timer(0.0)), canary.Shadowing(Timer(0.0))
STEP, BAKE = canary.Stepping(0, Timer(0.0)), canary.Baking(Timer(0.0))
GOING_BACK = [canary.RollingBack("why", 0, Timer(0.0)), canary.Draining("why", Timer(0.0)), canary.RolledBack("why")]


def record(state, label="3.2", before="3.1", **changes):
    """A record of a rollout in ``state`` beside a stable version."""
    first = records.begun(None, spec(before), salt="s", is_direct=False, at_s=1.0, now_s=1.0)
    first = records.moved(first, canary.Promoted(), 2.0, "serves")
    begun = records.begun(first, spec(label), salt="salt", is_direct=False, at_s=5.0, now_s=50.0)
    return msgspec.structs.replace(begun, rollout=msgspec.structs.replace(begun.rollout, state=state, **changes))


def split(of) -> list[tuple[str, int, bool]]:
    return [(share.version.version, share.weight_bp, share.is_canary) for share in records.shares(of)]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (canary.start(0.0), [("3.1", FULL_BP, False)]),
        (WARMING, [("3.1", FULL_BP, False), ("3.2", 0, True)]),
        (SHADOW, [("3.1", FULL_BP, False), ("3.2", 0, True)]),
        (STEP, [("3.1", 8_000, False), ("3.2", 2_000, True)]),
        (BAKE, [("3.1", 300, False), ("3.2", 9_700, True)]),
        (canary.Held(STEP, ""), [("3.1", 8_000, False), ("3.2", 2_000, True)]),
        (canary.Promoted(), [("3.2", FULL_BP, False)]),
        (GOING_BACK[0], [("3.1", FULL_BP, False), ("3.2", 0, True)]),
        (GOING_BACK[1], [("3.1", FULL_BP, False), ("3.2", 0, True)]),
        (GOING_BACK[2], [("3.1", FULL_BP, False)]),
    ],
)
def test_the_split_of_each_state(state, expected):
    assert split(record(state)) == expected


def test_the_first_version_has_no_split_before_it_serves():
    first = records.begun(None, spec("3.1"), salt="s", is_direct=False, at_s=1.0, now_s=1.0)
    assert split(first) == []
    assert (first.generation, first.rollout.number, first.rollout.is_direct, first.previous) == (1, 1, True, None)
    assert split(records.moved(first, canary.Promoted(), 2.0, "")) == [("3.1", FULL_BP, False)]


def test_a_rollout_begins_beside_what_serves_and_forgets_what_was_kept():
    before = msgspec.structs.replace(
        record(canary.Promoted()), latched=("a",), previous="3.1", retiring=(Retiring(version("3.1"), 99.0),)
    )
    begun = records.begun(before, spec("3.3"), salt="new", is_direct=False, at_s=7.0, now_s=70.0)
    assert begun.rollout.stable.version == "3.2"
    assert (begun.generation, begun.rollout.number) == (before.generation + 1, before.generation + 1)
    assert (begun.latched, begun.previous, begun.retiring) == (("a",), "3.1", ())
    assert (begun.rollout.started_at_s, begun.rollout.phase_since_s, begun.rollout.state) == (
        7.0,
        7.0,
        canary.start(70.0),
    )
    assert [(entry.at_s, entry.phase, entry.weight_bp) for entry in begun.history] == [(7.0, "PENDING", 0)]
    assert begun.history[0].message == begun.rollout.message == "3.3 created"
    assert not begun.rollout.is_direct
    assert begun.rollout.explanation is None


@pytest.mark.parametrize(
    ("state", "names"), [(WARMING, {"3.1", "3.2"}), (canary.Promoted(), {"3.2"}), (GOING_BACK[1], {"3.1", "3.2"}),
                         (GOING_BACK[2], {"3.1"})],
)  # fmt: skip
@pytest.mark.parametrize(("now_s", "is_kept"), [(99.9, True), (100.0, False)])
def test_what_runs(state, names, now_s, is_kept):
    kept = msgspec.structs.replace(record(state), retiring=(Retiring(version("2.9"), 100.0),))
    wanted = records.wanted_versions(kept, now_s)
    assert {each.version for each in wanted.values()} == names | ({"2.9"} if is_kept else set())
    assert all(name == each.app_name for name, each in wanted.items())


@pytest.mark.parametrize(
    ("state", "weights"),
    [
        (canary.start(0.0), (2_000, 5_000, 9_700)),
        (WARMING, (2_000, 5_000, 9_700)),
        (canary.Held(SHADOW, ""), (2_000, 5_000, 9_700)),
        (STEP, ()),
        (canary.Held(STEP, ""), ()),
        (canary.Promoted(), ()),
    ],
)
def test_salts_are_tried_for_the_weights_to_come_before_the_first(state, weights):
    assert records.trial_bp(record(state)) == weights
    assert records.trial_bp(record(state, is_direct=True)) == ()
    assert records.trial_bp(record(state, stable=None)) == ()


def test_gaps_are_those_of_the_present_weight():
    gaps = ((0.1,), (0.2,), (0.3,))
    assert record(STEP, gaps=gaps).rollout.present_gaps == (0.1,)
    assert record(canary.Stepping(1, Timer(0.0)), gaps=gaps).rollout.present_gaps == (0.2,)
    assert record(BAKE, gaps=gaps).rollout.present_gaps == (0.3,)
    assert record(WARMING, gaps=gaps).rollout.present_gaps == ()
    assert record(STEP).rollout.present_gaps == ()


def test_a_transition_is_a_generation_and_a_line_of_history():
    why = Explanation("latency", "slow")
    held = records.moved(record(STEP), GOING_BACK[0], 9.0, "text", rollback_reason="reason", explanation=why)
    assert held.generation == record(STEP).generation + 1
    last = held.history[-1]
    assert (last.at_s, last.phase, last.weight_bp, last.message) == (9.0, "ROLLING_BACK", 0, "text")
    assert (held.rollout.phase_since_s, held.rollout.message, held.rollout.rollback_reason) == (9.0, "text", "reason")
    drained = records.moved(held, GOING_BACK[1], 10.0, "draining")
    assert (drained.rollout.explanation, drained.rollout.rollback_reason) == (why, "reason")
    stepped = records.moved(held, STEP, 10.0, "on")
    assert stepped.rollout.explanation is None
    for number in range(MAX_HISTORY):
        held = records.moved(held, STEP, float(number), "on")
    assert len(held.history) == MAX_HISTORY
    assert held.history[0].at_s == 0.0


def test_what_was_rolled_back_is_latched_once_unless_it_made_way():
    it = record(STEP)
    digest = it.rollout.spec_sha256
    latched = records.latched(it)
    assert latched.latched == (digest,)
    assert records.latched(latched) == latched
    assert records.latched(msgspec.structs.replace(it, queued=Queued(spec("3.3")))).latched == ()
    assert records.latched(record(STEP, is_direct=True)).latched == ()
    full = msgspec.structs.replace(it, latched=tuple(str(number) for number in range(MAX_LATCHED)))
    assert records.latched(full).latched == (*full.latched[1:], digest)


def test_equal_specs_have_one_digest_and_others_another():
    assert records.spec_sha256(spec("3.2")) == records.spec_sha256(spec("3.2"))
    assert records.spec_sha256(spec("3.2")) != records.spec_sha256(spec("3.3"))


FULL = Capacity(2, 2)


def status(of, stable=FULL, ready=FULL, **judged):
    evidence = Evidence(latency_log_e=1.25, threshold=4.605, error_log_e=0.5, error_threshold=5.298)
    return status_of(of, 9, evidence, Judgement(step_requests=1_234, step_s=5.0, **judged), stable, ready)


def test_a_status_has_set_and_actual_weights_and_both_versions():
    told = status(record(BAKE))
    assert (told.set_weight_bp, told.actual_weight_bp, told.step_index, told.phase) == (FULL_BP, 9_700, 2, "BAKE")
    assert (told.stable_version, told.canary_version, told.epoch) == ("3.1", "3.2", 9)
    told = status(record(STEP))
    assert (told.set_weight_bp, told.actual_weight_bp, told.step_index) == (2_000, 2_000, 0)
    told = status(record(canary.Promoted()))
    assert (told.set_weight_bp, told.actual_weight_bp, told.stable_version) == (FULL_BP, FULL_BP, "3.2")
    told = status(record(WARMING), ready=Capacity(1, 2))
    assert (told.set_weight_bp, told.actual_weight_bp) == (0, 0)
    assert (told.stable_replicas, told.wanted_stable_replicas) == (2, 2)
    assert (told.canary_replicas, told.wanted_canary_replicas) == (1, 2)
    assert told.is_compared
    assert not status(record(STEP, is_direct=True)).is_compared
    assert status(msgspec.structs.replace(record(STEP), previous="3.0")).previous_version == "3.0"


@pytest.mark.parametrize(
    ("state", "begin"),
    [
        (STEP, "1,234 of 100 requests and 5 of 6 s judged; ln E latency 1.25 of 4.61, errors 0.50 of 5.30"),
        (BAKE, "1,234 of 150 requests and 5 of 6 s judged"),
    ],
)
def test_a_judged_step_tells_how_far_it_is(state, begin):
    assert status(record(state, message="words")).message.startswith(begin)
    assert "waits" not in status(record(state)).message
    short = status(record(state), stable=Capacity(1, 2), ready=Capacity(0, 2)).message
    assert short.endswith("; waits, because stable has 1 of 2 replicas and the canary has 0 of 2 replicas")
    assert status(record(canary.Held(state, ""), message="words")).message == "words"
    assert status(record(WARMING, message="words")).message == "words"


@pytest.mark.parametrize(("requests", "is_told"), [(MANY - 1, False), (MANY, True)])
def test_a_step_that_no_request_reaches_says_why(requests, is_told):
    evidence = Evidence(stable_applied=requests, stable_customers=1, split_threshold=9.2)
    told = status_of(record(STEP), 9, evidence, Judgement(step_requests=0, step_s=5.0), FULL, FULL).message
    assert ("only one customer called" in told) is is_told
    assert ("ln E" in told) is not is_told


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (WARMING, "waiting for 2 replicas of 3.2"),
        (SHADOW, "copying 20 % of stable's requests to 3.2; its answers are thrown away"),
        (STEP, "step 1/3: 20 % to 3.2"),
        (canary.Stepping(1, Timer(0.0)), "step 2/3: 50 % to 3.2"),
        (BAKE, "step 3/3: baking at 97 % on 3.2"),
        (canary.Held(STEP, "paused by me"), "paused by me"),
        (canary.Promoted(), "3.2 serves all traffic"),
        (GOING_BACK[0], "why"),
        (GOING_BACK[1], "no gateway sends to 3.2 any more; draining it"),
        (GOING_BACK[2], "rolled back: why"),
    ],
)
def test_a_transition_in_words(state, text):
    assert messages.message(state, record(STEP), None) == text


def test_an_explanation_is_told_instead_of_the_reason():
    why = Explanation("latency", "slow by numbers")
    for state in (canary.Held(STEP, "short"), GOING_BACK[0]):
        assert messages.message(state, record(STEP), why) == "slow by numbers"
    assert messages.message(GOING_BACK[2], record(STEP, explanation=why), None) == "rolled back: slow by numbers"


def test_an_event_is_the_transition_for_programs():
    told = messages.event("step", record(STEP), 7, 3.5, "note")
    assert (told.at_s, told.endpoint, told.kind, told.epoch, told.phase) == (3.5, "churn", "step", 7, "STEP")
    assert (told.weight_bp, told.stable_version, told.canary_version, told.message) == (2_000, "3.1", "3.2", "note")
    assert told.generation == record(STEP).generation


def test_a_policy_is_that_of_the_spec():
    policy = record(STEP).rollout.policy
    assert (policy.steps_bp, policy.analysis, policy.has_stable) == ((2_000, 5_000, 10_000), ANALYSIS, True)
    assert (policy.is_direct, policy.holds_on_failure) == (False, False)
    holding = msgspec.structs.replace(record(STEP).rollout, spec=spec("3.2", rollback_policy="hold"), stable=None)
    assert (holding.policy.holds_on_failure, holding.policy.has_stable) == (True, False)


def test_a_spec_of_an_older_release_keeps_its_digest():
    """What that release did not know is left out, so what was latched stays latched."""
    document = msgspec.to_builtins(spec("3.2"))
    for name in ("scaling", "nodes", "log", "access"):
        del document["version"][name]
    del document["policy"]
    assert records.spec_sha256(spec("3.2")) == hashlib.sha256(msgspec.json.encode(document)).hexdigest()
    placed = msgspec.structs.replace(spec("3.2"), version=version("3.2", nodes={"zone": "eu"}))
    assert records.spec_sha256(placed) != records.spec_sha256(spec("3.2"))
    logged = msgspec.structs.replace(spec("3.2"), version=version("3.2", log=LogPolicy()))
    assert records.spec_sha256(logged) != records.spec_sha256(spec("3.2"))
    keyed = msgspec.structs.replace(spec("3.2"), version=version("3.2", access=AccessPolicy(require_key=True)))
    opened = msgspec.structs.replace(spec("3.2"), version=version("3.2", access=AccessPolicy(require_key=False)))
    assert len({records.spec_sha256(each) for each in (keyed, opened, spec("3.2"))}) == 3


def test_a_size_is_kept_for_what_runs_and_told_only_with_a_message():
    of = record(STEP)
    name = spec("3.2").version.app_name
    quiet = records.resized(of, {name: 4, "gone": 9}, at_s=9.0)
    assert (dict(quiet.sizes), quiet.history) == ({name: 4}, of.history)
    assert records.size(quiet, spec("3.2").version) == 4
    told = records.resized(of, {name: 4}, at_s=9.0, message="more")
    assert (told.history[-1].at_s, told.history[-1].message, len(told.history)) == (9.0, "more", len(of.history) + 1)


@pytest.mark.parametrize(("stable_has", "new_has"), [(None, None), (1, None), (4, 4)])
def test_a_canary_begins_with_as_many_replicas_as_stable_was_scaled_to(stable_has, new_has):
    first = records.begun(None, spec("3.1"), salt="s", is_direct=False, at_s=1.0, now_s=1.0)
    first = records.moved(first, canary.Promoted(), 2.0, "serves")
    names = [spec(label).version.app_name for label in ("3.1", "3.2")]
    sizes = {} if stable_has is None else {names[0]: stable_has}
    begun = records.begun(
        msgspec.structs.replace(first, sizes=sizes), spec("3.2"), salt="x", is_direct=False, at_s=5.0, now_s=50.0
    )
    assert [begun.sizes.get(name) for name in names] == [stable_has, new_has]


def _after(before, label, says, *, is_direct=False, end=None):
    """The record after a rollout of a version that says so of keys, in the state ``end``."""
    asked = msgspec.structs.replace(spec(label), version=version(label, access=AccessPolicy(require_key=says)))
    begun = records.begun(before, asked, salt="s", is_direct=is_direct, at_s=1.0, now_s=1.0)
    return begun if end is None else records.moved(begun, end, 2.0, "ended")


PROMOTED, BACK = canary.Promoted(), canary.RolledBack("slow")


def test_a_requirement_of_keys_stays_with_the_endpoint_until_it_is_dropped_on_purpose():
    open_ = _after(None, "3.1", None, end=PROMOTED)
    assert not records.needs_key(open_)
    pending = _after(open_, "3.2", True)
    assert not records.needs_key(pending), "it has no share yet"
    assert records.needs_key(records.moved(pending, STEP, 2.0, "step"))
    assert not records.needs_key(_after(open_, "3.2", True, end=BACK)), "it never served: the way back is as it was"
    keyed = _after(open_, "3.2", True, end=PROMOTED)
    assert records.needs_key(keyed)
    for says in (None, False):
        back = _after(keyed, "3.1", says, is_direct=True, end=PROMOTED)
        assert records.needs_key(back), "a rollback opens nothing"
        assert "keys are still asked for" in back.history[0].message
        assert records.needs_key(_after(keyed, "3.3", says))
        assert records.needs_key(_after(keyed, "3.3", says, end=STEP))
        assert records.needs_key(_after(keyed, "3.3", says, end=BACK))
    assert records.needs_key(_after(keyed, "3.3", None, end=PROMOTED)), "a version that says nothing opens nothing"
    dropped = _after(keyed, "3.3", False, end=PROMOTED)
    assert not records.needs_key(dropped)
    assert "once promoted, no key is asked for" in dropped.history[0].message
    assert records.needs_key(_after(dropped, "3.2", True, is_direct=True, end=PROMOTED)), "a rollback may close"


@given(
    moves=st.lists(
        st.tuples(st.sampled_from([None, True, False]), st.booleans(), st.sampled_from([PROMOTED, BACK])), max_size=8
    )
)
def test_only_the_promotion_of_a_version_that_says_so_opens_an_endpoint(moves):
    at = _after(None, "1", None, end=PROMOTED)
    for number, (says, is_direct, end) in enumerate(moves, 2):
        before, at = at, _after(at, str(number), says, is_direct=is_direct, end=end)
        if records.needs_key(before) and not records.needs_key(at):
            assert (says, is_direct, end) == (False, False, PROMOTED)


def test_a_record_of_an_older_release_needs_keys_if_its_version_does():
    old = msgspec.json.decode(msgspec.json.encode(_after(None, "3.1", True, end=PROMOTED)))
    del old["needed_key"]
    assert records.needs_key(_after(msgspec.convert(old, records.EndpointRecord), "3.2", None, end=PROMOTED))
