"""Which role may do which action. This table is the whole policy; docs/policy.md is rendered from it. Pure.

What the table does not grant is denied. The separation of duties behind it: a deployer starts rollouts and lets the
evidence carry them; only an approver may overrule the evidence, by promoting early or by starting again what was
rolled back. Whoever may change anything about a rollout may take it back.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final


class Role(enum.StrEnum):
    """What a principal is for. A principal has one role."""

    VIEWER = "viewer"
    PREDICTOR = "predictor"
    TRAINER = "trainer"
    DEPLOYER = "deployer"
    APPROVER = "approver"
    ADMIN = "admin"


class Action(enum.StrEnum):
    """What can be asked for. ``PUBLIC`` and ``HOME`` are granted by no role, see `MEANINGS`."""

    PUBLIC = "public"
    HOME = "home"
    PREDICT = "predict"
    READ = "read"
    TEST_VERSION = "test-version"
    START_ROLLOUT = "start-rollout"
    STEER_ROLLOUT = "steer-rollout"
    ROLL_BACK = "roll-back"
    SCALE = "scale"
    PROMOTE = "promote"
    APPROVE = "approve"
    FORCE_ROLLOUT = "force-rollout"
    MANAGE_TOKENS = "manage-tokens"


MEANINGS: Final[Mapping[Action, str]] = {
    Action.PUBLIC: "health, metadata, metrics and the page: anybody, without a token",
    Action.HOME: "works on the files of the home: whoever owns that folder, whatever their token",
    Action.PREDICT: "predict",
    Action.READ: "read status, rollouts and events of the whole cluster",
    Action.TEST_VERSION: "name the version that must answer a prediction",
    Action.START_ROLLOUT: "start a rollout",
    Action.STEER_ROLLOUT: "pause and resume a rollout",
    Action.ROLL_BACK: "abort a rollout, or go back to an earlier version",
    Action.SCALE: "set the number of replicas",
    Action.PROMOTE: "promote a canary before its evidence is complete; break the glass",
    Action.APPROVE: "approve a version, or take an approval back",
    Action.FORCE_ROLLOUT: "start again what was rolled back before",
    Action.MANAGE_TOKENS: "create, list, rotate and revoke tokens",
}

PURPOSES: Final[Mapping[Role, str]] = {
    Role.VIEWER: "people and dashboards that only look",
    Role.PREDICTOR: "applications that ask for predictions",
    Role.TRAINER: "jobs that train and evaluate: they read, and predict to evaluate",
    Role.DEPLOYER: "pipelines that bring versions into service, step by step, on evidence",
    Role.APPROVER: "people who approve versions, may overrule the evidence, and take anything back",
    Role.ADMIN: "everything, tokens included; the file `token` of the home is this",
}

_LOOK: Final = frozenset({Action.READ})
_TAKE_BACK: Final = frozenset({Action.STEER_ROLLOUT, Action.ROLL_BACK})

RIGHTS: Final[Mapping[Role, frozenset[Action]]] = {
    Role.VIEWER: _LOOK,
    Role.PREDICTOR: frozenset({Action.PREDICT}),
    Role.TRAINER: _LOOK | {Action.PREDICT},
    Role.DEPLOYER: _LOOK | _TAKE_BACK | {Action.PREDICT, Action.TEST_VERSION, Action.START_ROLLOUT, Action.SCALE},
    Role.APPROVER: _LOOK | _TAKE_BACK | {Action.TEST_VERSION, Action.PROMOTE, Action.APPROVE, Action.FORCE_ROLLOUT},
    Role.ADMIN: frozenset(Action) - {Action.PUBLIC, Action.HOME},
}

PER_ENDPOINT: Final = frozenset(
    {
        Action.PREDICT,
        Action.TEST_VERSION,
        Action.START_ROLLOUT,
        Action.STEER_ROLLOUT,
        Action.ROLL_BACK,
        Action.SCALE,
        Action.PROMOTE,
        Action.APPROVE,
        Action.FORCE_ROLLOUT,
    }
)
"""Actions on one endpoint. A token for some endpoints may do them there only. Reading is of the whole cluster."""


def roles_with(action: Action) -> tuple[Role, ...]:
    """The roles that may do something, the weakest first.

    >>> [role.value for role in roles_with(Action.PROMOTE)]
    ['approver', 'admin']
    """
    return tuple(role for role in Role if action in RIGHTS[role])
