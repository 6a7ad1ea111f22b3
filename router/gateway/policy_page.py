"""Renders docs/policy.md from the policy itself: ``python -m router.gateway.policy_page > docs/policy.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from divisions.access.commands import COMMANDS
from divisions.access.roles import MEANINGS, PER_ENDPOINT, PURPOSES, RIGHTS, Action, Role
from router.gateway.route_actions import RULES

_LIMITED = "*"
"""Marks an action that a token for some endpoints may do there only."""
_BEGIN = """# Who may do what

<!-- Rendered by `python -m router.gateway.policy_page > docs/policy.md`. A test compares. -->

Whoever asks a gateway for more than a prediction needs a token. So does whoever asks for a prediction, where the
endpoint [asks for keys](limits.md). The file `token` of the home is the token of the
cluster's owner, who is an admin. A cluster on one machine needs no other. An admin makes further ones:

    divisions tokens create ci --role deployer --endpoint churn --expires 90d

The token is printed once. Pass it as `DIVISIONS_TOKEN`, or as `Authorization: Bearer`. Only a keyed hash of it is kept:
in the home (`access.json`), or on the journal's server if there is one. A token ends when it expires. One that is
revoked or rotated ends at once, on every gateway that reaches the controller. `divisions tokens list` says when each
was last used. The history of a rollout names who did what.

People and service accounts that an issuer knows (OpenID Connect) need no token of ours: their [JWTs](oidc.md) have the
roles that a file gives to their groups.

What these tables do not grant is denied. A refusal (403) says which roles may, and how to get one. A token for some
endpoints may do what has a `*` there only; what is read is of the whole cluster. An address that sends many wrong
tokens is answered 429 for a while. Right tokens from the same address still pass.

Without a token, the page shows endpoints, versions, weights and numbers of replicas. `DIVISIONS_PUBLIC_SECTIONS` lists
what else of `GET /api/v2/house` and `GET /api/v2/events` needs no token; it is empty by default.
"""

_END = """## The audit log

`audit.jsonl` in the home of the controller has lines for each change that somebody asks for: one before it is done,
and one for what came of it. Each has who, their role, their address, and how the rollout stood. What a gateway
refuses on these routes is in it, too: once a minute, one line for all refusals that are alike (who, from which
address, what for, which status), with their number. So a flood is a few lines. Each line's hash covers the line
before, and `audit.head` repeats the last one. So `divisions audit verify` finds a byte that differs, and a line that
is missing. Whoever can write both files can write another history. To hold against that, ship the lines elsewhere as
they come: each is one JSON object.

Nothing is changed that cannot be written there, with one exception: pause, abort and rollback are always possible. If
the disk is full, their lines are kept in memory, and written with the first line that can be. A controller that ends
before that loses them; the journal has the same decisions.
"""


def render() -> str:
    parts = [
        _BEGIN,
        "## Roles\n",
        _table(("role", "for"), [(f"`{role.value}`", PURPOSES[role]) for role in Role]),
        "## What a role may do\n",
        _table(
            ("action", "which is to", *(role.value for role in Role)),
            [
                (f"`{action.value}`{_LIMITED if action in PER_ENDPOINT else ''}", MEANINGS[action], *_marks(action))
                for action in Action
                if action not in {Action.PUBLIC, Action.HOME}
            ],
        ),
        "## Routes\n",
        "`public` needs no token, and `predict` only where the endpoint [asks for keys](limits.md). Routes with a "
        "`{name}` are for every name.\n",
        _table(
            ("route", "action"), [(f"`{method} {path}`", f"`{action.value}`") for (method, path), action in _routes()]
        ),
        "## Commands\n",
        f"`home`: {MEANINGS[Action.HOME]}. All others ask the gateway, which decides.\n",
        _table(
            ("command", "action"), [(f"`{name}`", f"`{action.value}`") for name, action in sorted(COMMANDS.items())]
        ),
    ]
    return "\n".join((*parts, _END))


def _routes() -> list[tuple[tuple[str, str], Action]]:
    return sorted(RULES.items(), key=lambda rule: (list(Action).index(rule[1]), rule[0][1], rule[0][0]))


def _marks(action: Action) -> Iterable[str]:
    return ("yes" if action in RIGHTS[role] else "" for role in Role)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())
