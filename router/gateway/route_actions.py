"""Which action each route is, so that it can be decided who may ask for it. Pure. What is not here is for admins only.

A new route needs a line in `RULES`; a test walks the application's own routes and fails for one that has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from divisions.access.roles import Action

_ROLLOUT: Final = "/api/v2/rollouts/{endpoint}"
_MODEL: Final = "/v2/models/{model}"
_VERSION: Final = _MODEL + "/versions/{version}"
_OF_MODEL: Final = ("", "/config", "/stats", "/ready")

RULES: Final[Mapping[tuple[str, str], Action]] = {
    ("GET", "/"): Action.PUBLIC,
    ("GET", "/page/{name}"): Action.PUBLIC,
    ("GET", "/healthz"): Action.PUBLIC,
    ("GET", "/readyz"): Action.PUBLIC,
    ("GET", "/metrics"): Action.PUBLIC,
    ("GET", "/openapi.json"): Action.PUBLIC,
    ("GET", "/ping"): Action.PUBLIC,
    ("GET", "/execution-parameters"): Action.PUBLIC,
    ("GET", "/v2"): Action.PUBLIC,
    ("GET", "/v2/health/live"): Action.PUBLIC,
    ("GET", "/v2/health/ready"): Action.PUBLIC,
    ("POST", "/v2/repository/index"): Action.PUBLIC,
    ("GET", "/v2/models/stats"): Action.PUBLIC,
    **{("GET", path + part): Action.PUBLIC for path in (_MODEL, _VERSION) for part in _OF_MODEL},
    ("POST", "/api/v2/predict/{endpoint}"): Action.PREDICT,
    ("POST", "/v2/models/{model}/infer"): Action.PREDICT,
    ("POST", "/v2/models/{model}/versions/{version}/infer"): Action.PREDICT,
    ("POST", "/invocations"): Action.PREDICT,
    ("GET", "/api/v2/status"): Action.READ,
    ("GET", "/api/v2/events"): Action.READ,
    ("GET", "/api/v2/house"): Action.READ,
    ("GET", "/api/v2/drift"): Action.READ,
    ("GET", "/api/v2/drift/{endpoint}"): Action.READ,
    ("GET", "/api/v2/rollouts"): Action.READ,
    ("GET", _ROLLOUT): Action.READ,
    ("POST", "/api/v2/rollouts"): Action.START_ROLLOUT,
    ("POST", _ROLLOUT + "/scale"): Action.SCALE,
    ("POST", _ROLLOUT + "/pause"): Action.STEER_ROLLOUT,
    ("POST", _ROLLOUT + "/resume"): Action.STEER_ROLLOUT,
    ("POST", _ROLLOUT + "/promote"): Action.PROMOTE,
    ("POST", _ROLLOUT + "/abort"): Action.ROLL_BACK,
    ("POST", _ROLLOUT + "/rollback"): Action.ROLL_BACK,
    ("GET", "/api/v2/approvals"): Action.READ,
    ("POST", "/api/v2/approvals"): Action.APPROVE,
    ("POST", "/api/v2/approvals/revoke"): Action.APPROVE,
    ("GET", "/api/v2/tokens/self"): Action.READ,
    ("GET", "/api/v2/tokens"): Action.MANAGE_TOKENS,
    ("POST", "/api/v2/tokens"): Action.MANAGE_TOKENS,
    ("POST", "/api/v2/tokens/{name}/{verb}"): Action.MANAGE_TOKENS,
}
"""By method and path; a name in braces stands for one part of a path."""


@dataclass(frozen=True, slots=True)
class Asked:
    """``endpoint`` is the one in the path; empty if there is none."""

    action: Action
    endpoint: str = ""


def asked_for(method: str, path: str) -> Asked | None:
    """What a request asks for; None if no rule knows it.

    >>> asked_for("POST", "/api/v2/rollouts/churn/promote")
    Asked(action=<Action.PROMOTE: 'promote'>, endpoint='churn')
    >>> asked_for("DELETE", "/api/v2/status")
    """
    method = "GET" if method == "HEAD" else method
    for (rule_method, pattern), action in _PATTERNS.items():
        found = pattern.fullmatch(path) if rule_method == method else None
        if found is not None:
            return Asked(action, found.groupdict().get("endpoint", ""))
    return None


def has_route(path: str) -> bool:
    """Whether a rule knows the path, by whatever method.

    >>> has_route("/api/v2/status"), has_route("/api/v2/stauts")
    (True, False)
    """
    return any(pattern.fullmatch(path) for _, pattern in _PATTERNS)


def _compiled(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))


_PATTERNS: Final = {(method, _compiled(path)): action for (method, path), action in RULES.items()}
