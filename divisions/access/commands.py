"""Which action each command is. Pure. A test walks the command line and fails for a command that is not here.

A command that asks the gateway is refused there if the token does not allow it. A command that is ``HOME`` works on the
files of the home, or with credentials of its own (a registry's, a Kubernetes cluster's); no token of ours is involved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from divisions.access.roles import Action

COMMANDS: Final[Mapping[str, Action]] = {
    "up": Action.HOME,
    "down": Action.HOME,
    "join": Action.HOME,
    "run": Action.HOME,
    "serve": Action.HOME,
    "compile": Action.HOME,
    "manifests": Action.HOME,
    "deployments": Action.HOME,
    "logs": Action.HOME,
    "status": Action.READ,
    "predict": Action.PREDICT,
    "deploy": Action.START_ROLLOUT,
    "rollout start": Action.START_ROLLOUT,
    "rollout status": Action.READ,
    "rollout watch": Action.READ,
    "rollout pause": Action.STEER_ROLLOUT,
    "rollout resume": Action.STEER_ROLLOUT,
    "rollout promote": Action.PROMOTE,
    "rollout abort": Action.ROLL_BACK,
    "approve": Action.APPROVE,
    "approvals list": Action.READ,
    "rollback": Action.ROLL_BACK,
    "scale": Action.SCALE,
    "tokens create": Action.MANAGE_TOKENS,
    "tokens list": Action.MANAGE_TOKENS,
    "tokens rotate": Action.MANAGE_TOKENS,
    "tokens revoke": Action.MANAGE_TOKENS,
    **dict.fromkeys(
        (
            "runs list", "runs show", "runs compare", "runs logs", "runs mirror",
            "schedule list", "schedule add", "schedule remove", "schedule pause", "schedule resume", "schedule run-now",
            "data describe", "data used-by",
            "models import", "models list", "models show", "models archive", "models unarchive", "models register",
            "models package", "models sign", "models verify", "models prune",
            "keys create", "keys show", "images sign", "images verify",
            "audit list", "audit verify",
            "policy test", "policy check", "policy show", "policy eval", "policy bundle",
            "journal check", "journal restore",
            "features get", "features delete", "features expire", "features check",
            "prometheus config", "prometheus rules", "notify test", "outcomes add", "outcomes show",
            "bench load", "bench compare",
        ),
        Action.HOME,
    ),
}  # fmt: skip
"""By the command's words."""
