"""``divisions tokens …``: who may do what on this cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.access.roles import Role
from divisions.commands.connection import connect
from divisions.commands.output import Format, Output, age, print_json, table
from divisions.errors import UsageError

if TYPE_CHECKING:
    from divisions.access.requests import TokenAnswer, TokenRow

app = typer.Typer(help="Who may do what: tokens of named principals.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Whose token: a person, a pipeline, an application.")]
_DAYS = re.compile(r"([0-9]{1,5})([hd])")
_SHOWN_ONCE = "this token is shown only now; keep it where secrets are kept, and pass it as DIVISIONS_TOKEN"


@app.command("create")
def create(
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="What it allows, see docs/policy.md.")],
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", help="Where it allows it; may be repeated. Default: everywhere.")
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="90d", help="When it ends: days (d) or hours (h).")
    ] = "90d",
    rate: Annotated[
        str,
        typer.Option("--rate", metavar="100/s", help="Predictions per second, or per m, h or d."),
    ] = "",
    concurrency: Annotated[int, typer.Option("--concurrency", metavar="8", help="Requests at once.")] = 0,
    deadline: Annotated[
        str, typer.Option("--deadline", metavar="200ms", help="The latest deadline of a request: ms or s.")
    ] = "",
    output: Output = Format.TEXT,
) -> None:
    """Make a token and print it, this once. Limits hold for predictions; without one there is none."""
    from divisions.access.limits import read_limits
    from divisions.sdk.tokens import Tokens

    days, limits = days_of(expires), read_limits(rate, concurrency, deadline)
    with connect() as client:
        _show_new(Tokens(client).create(name, role, endpoints=endpoint or [], days=days, limits=limits), output)


@app.command("list")
def list_tokens(output: Output = Format.TEXT) -> None:
    """Show who has a token, what it allows, when it ends, and when it was last used."""
    from divisions.clock import SystemClock
    from divisions.sdk.tokens import Tokens

    with connect() as client:
        rows = Tokens(client).list()
    if output is Format.JSON:
        print_json(rows)
        return
    print(render(rows, SystemClock().wall_s()))


@app.command("rotate")
def rotate(name: Name, output: Output = Format.TEXT) -> None:
    """Replace a token by a new one with the same rights. The old one ends at once."""
    from divisions.sdk.tokens import Tokens

    with connect() as client:
        _show_new(Tokens(client).rotate(name), output)


@app.command("revoke")
def revoke(name: Name, output: Output = Format.TEXT) -> None:
    """End a token, on every gateway at once."""
    from divisions.sdk.tokens import Tokens

    with connect() as client:
        Tokens(client).revoke(name)
    if output is Format.JSON:
        print_json({"revoked": name})
    else:
        print(f"{name} has no token any more")


def days_of(text: str) -> float:
    """``90d`` or ``12h`` in days.

    >>> days_of("90d"), days_of("12h")
    (90.0, 0.5)
    """
    found = _DAYS.fullmatch(text)
    if found is None:
        raise UsageError(f"{text[:20]!r} is no time", remedy="write it like 90d or 12h")
    return int(found[1]) / (1 if found[2] == "d" else 24)


def render(rows: tuple[TokenRow, ...], now_s: float) -> str:
    """The list as a table."""
    from divisions.access.limits import show_limits

    if not rows:
        return "nobody has a token but the cluster's owner (the file `token` of its home)"
    return table(
        ("NAME", "ROLE", "ENDPOINTS", "LIMITS", "AGE", "BY", "EXPIRES", "LAST USED"),
        [
            (
                row.name,
                row.role.value,
                ",".join(row.endpoints) or "all",
                show_limits(row.limits),
                age(now_s - row.created_s),
                row.created_by,
                f"in {age(row.expires_s - now_s)}" if row.expires_s > now_s else "expired",
                f"{age(now_s - row.last_used_s)} ago" if row.last_used_s else "never",
            )
            for row in rows
        ],
    )


def _show_new(answer: TokenAnswer, output: Format) -> None:
    if output is Format.JSON:
        print_json({"token": answer.token, **({"name": answer.tokens[0].name} if answer.tokens else {})})
        return
    typer.echo(f"note: {_SHOWN_ONCE}", err=True)
    print(answer.token)
