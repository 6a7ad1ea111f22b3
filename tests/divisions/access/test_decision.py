"""Who may do what: the matrix spelled out once more, by hand. Defence: default deny, least privilege."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.access.decision import Principal, decide
from divisions.access.roles import MEANINGS, PER_ENDPOINT, PURPOSES, RIGHTS, Action, Role, roles_with

MATRIX = {
    "viewer": {"read"},
    "predictor": {"predict"},
    "trainer": {"read", "predict"},
    "deployer": {
        "read", "predict", "test-version", "start-rollout", "steer-rollout", "roll-back", "scale"
    },
    "approver": {"read", "test-version", "steer-rollout", "roll-back", "promote", "force-rollout", "approve"},
    "admin": {
        "predict", "read", "test-version", "start-rollout", "steer-rollout", "roll-back", "scale", "promote",
        "force-rollout", "approve", "manage-tokens",
    },
}  # fmt: skip


@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_exactly_this(role):
    allowed = {action.value for action in Action if decide(Principal("ann", role), action).is_allowed}
    assert allowed == MATRIX[role.value]


def test_whoever_may_change_a_rollout_may_take_it_back():
    changing = {Action.START_ROLLOUT, Action.PROMOTE, Action.FORCE_ROLLOUT, Action.STEER_ROLLOUT}
    for role in Role:
        if RIGHTS[role] & changing:
            assert Action.ROLL_BACK in RIGHTS[role]


def test_nobody_who_starts_rollouts_may_overrule_the_evidence_but_an_admin():
    starters = set(roles_with(Action.START_ROLLOUT))
    assert starters & {*roles_with(Action.PROMOTE), *roles_with(Action.FORCE_ROLLOUT)} == {Role.ADMIN}


def test_every_role_and_action_says_what_it_is_for():
    assert set(PURPOSES) == set(RIGHTS) == set(Role)
    assert set(MEANINGS) == set(Action)


@given(st.sampled_from(Role), st.sampled_from(Action), st.sets(st.sampled_from("abc")), st.sampled_from("abcd"))
def test_endpoints_only_take_rights_away(role, action, scope, endpoint):
    free = decide(Principal("ann", role), action, endpoint).is_allowed
    limited = decide(Principal("ann", role, tuple(sorted(scope))), action, endpoint).is_allowed
    assert limited == (free and (not scope or endpoint in scope or action not in PER_ENDPOINT))


def test_a_refusal_tells_which_role_is_missing_and_how_to_get_it():
    reason = decide(Principal("ann", Role.VIEWER), Action.SCALE, "churn").reason
    assert reason == (
        "ann is viewer, and may not scale; the roles deployer and admin may. ask an admin for a token with one of "
        "them: `divisions tokens create NAME --role deployer`"
    )
    assert "the role admin may" in decide(Principal("ann", Role.APPROVER), Action.MANAGE_TOKENS).reason
    assert "no role may" in decide(Principal("ann", Role.ADMIN), Action.HOME).reason


def test_a_refusal_tells_which_endpoints_a_token_is_for():
    reason = decide(Principal("ci", Role.DEPLOYER, ("churn", "fraud")), Action.SCALE, "other").reason
    assert reason.startswith("ci may scale on churn, fraud only. ")
    assert "--role deployer --endpoint ENDPOINT" in reason
