"""``divisions predict``."""

from __future__ import annotations

from typing import Annotated

import typer

from divisions.commands.connection import connect
from divisions.commands.output import Format, Output, print_json, table
from divisions.errors import UsageError
from divisions.sdk.explanations import DEFAULT_TOP, MAX_TOP, ScoreExplanation


def predict(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name, such as churn.")],
    body: Annotated[
        str,
        typer.Option("--json", help='{"customer_id": …}, {"features": {…}}, both, or {"instances": […]}.'),
    ],
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which features have moved each score; at most 32 rows.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, max=MAX_TOP, help="Features that an explanation names.")] = DEFAULT_TOP,
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
        answer = client.explain(endpoint, **request, top=top) if explain else client.predict(endpoint, **request)
    if output is Format.JSON:
        print_json(answer)
        return
    answers = answer if isinstance(answer, list) else [answer]
    rows = [
        (
            str(one.customer_id or "<none>"),
            f"{one.probability:.4f}",
            "-" if one.decision is None else "yes" if one.decision else "no",
            f"{one.model} {one.version}",
            f"{one.features_as_of or '-'} {one.features_status}".rstrip(),
            one.request_id or "",
        )
        for one in answers
    ]
    print(table(("CUSTOMER", "PROBABILITY", "DECISION", "MODEL", "FEATURES AS OF", "REQUEST"), rows))
    for one in answers:
        if one.explanation is not None:
            print(f"\n{one.customer_id or '<none>'}: {_scores(one.explanation)}")
            print(table(("FEATURE", "VALUE", "REFERENCE", "CONTRIBUTION"), _contributions(one.explanation)))


def _scores(explanation: ScoreExplanation) -> str:
    unit = "log-odds" if explanation.scale == "log_odds" else "score"
    return f"{unit} {explanation.score:+.3f}, of a typical customer {explanation.reference:+.3f}"


def _contributions(explanation: ScoreExplanation) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (each.feature, _text(each.value), _text(each.reference), f"{each.contribution:+.3f}")
        for each in explanation.contributions
    ]
    rest = (("(others)", explanation.others), ("(joint)", explanation.joint))
    return rows + [(name, "", "", f"{value:+.3f}") for name, value in rest if abs(value) >= 5e-4]


def _text(value: float | bool | str | None) -> str:
    if value is None:
        return "<missing>"
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
