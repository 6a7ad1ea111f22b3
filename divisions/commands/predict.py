"""``divisions predict``."""

from __future__ import annotations

from typing import Annotated

import typer

from divisions.commands.connection import connect
from divisions.commands.output import Format, Output, print_json, table
from divisions.errors import UsageError


def predict(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name, such as churn.")],
    body: Annotated[
        str,
        typer.Option("--json", help='{"customer_id": …}, {"features": {…}}, both, or {"instances": […]}.'),
    ],
    output: Output = Format.TEXT,
) -> None:
    """Ask an endpoint for a prediction."""
    import msgspec

    try:
        request = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"--json is not JSON: {error}", remedy="quote it with single quotes in the shell") from None
    known = {"customer_id", "features", "instances"}
    if not isinstance(request, dict) or not request or set(request) - known:
        raise UsageError(
            f"--json must be an object with {', '.join(sorted(known))}", remedy="see `divisions predict --help`"
        )
    with connect() as client:
        answer = client.predict(endpoint, **request)
    if output is Format.JSON:
        print_json(answer)
        return
    rows = [
        (
            str(one.customer_id or "<none>"),
            f"{one.probability:.4f}",
            "-" if one.decision is None else "yes" if one.decision else "no",
            f"{one.model} {one.version}",
            f"{one.features_as_of or '-'} {one.features_status}".rstrip(),
            one.request_id or "",
        )
        for one in (answer if isinstance(answer, list) else [answer])
    ]
    print(table(("CUSTOMER", "PROBABILITY", "DECISION", "MODEL", "FEATURES AS OF", "REQUEST"), rows))
