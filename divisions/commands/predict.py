"""``divisions predict``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from divisions.commands.connection import connect
from divisions.commands.output import Format, Output, print_json, table
from divisions.errors import DivisionsError, StaleFeaturesError, UnknownEntityError, UsageError
from divisions.sdk.explanations import DEFAULT_TOP, MAX_TOP, ScoreExplanation

if TYPE_CHECKING:
    from divisions.sdk.client import Client

MOST_SHOWN = 30
"""An example with more features than so many helps nobody."""
_EXAMPLES: Mapping[str, object] = {"numeric": 1.0, "boolean": True, "categorical": "a"}


def predict(
    endpoint: Annotated[str, typer.Argument(help="The endpoint's name, such as churn.")],
    customer: Annotated[
        str | None, typer.Argument(metavar="CUSTOMER", help="A customer whose features are in the online store.")
    ] = None,
    body: Annotated[
        str,
        typer.Option("--json", help='{"customer_id": …}, {"features": {…}}, both, or {"instances": […]}.'),
    ] = "",
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which features have moved each score; at most 32 rows.")
    ] = False,
    top: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_TOP, help=f"Features that an explanation names; the default is {DEFAULT_TOP}."),
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Ask an endpoint for a prediction."""
    request = _request(endpoint, customer, body)
    if top is not None and not explain:
        raise UsageError("--top says how many features an explanation names", remedy="add --explain")
    with connect() as client:
        try:
            if explain:
                answer = client.explain(endpoint, **request, top=top or DEFAULT_TOP)
            else:
                answer = client.predict(endpoint, **request)
        except StaleFeaturesError:
            raise
        except UnknownEntityError as error:
            raise UnknownEntityError(error.message, remedy=_way_without(client, endpoint)) from None
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


def _request(endpoint: str, customer: str | None, body: str) -> dict[str, Any]:
    """The arguments of a prediction.

    Raises:
        UsageError: the command line says neither or both, or the JSON is none.
    """
    import msgspec

    if (customer is None) == (not body):
        what = "nothing to predict" if customer is None else "a customer and --json at once"
        way = f"divisions predict {endpoint}"
        remedy = f"""write `{way} c-1`, or `{way} --json '{{"features": …}}'`"""
        raise UsageError(what, remedy=remedy)
    if customer is not None:
        return {"customer_id": customer}
    try:
        request = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise UsageError(f"--json is not JSON: {error}", remedy="quote it with single quotes in the shell") from None
    known = {"customer_id", "features", "instances"}
    if not isinstance(request, dict) or not request or set(request) - known:
        raise UsageError(
            f"--json must be an object with {', '.join(sorted(known))}", remedy="see `divisions predict --help`"
        )
    return request


def _way_without(client: Client, endpoint: str) -> str:
    """How to predict for a customer of whom the online store has nothing, with the endpoint's own features."""
    try:
        kinds = client.features(endpoint)
    except DivisionsError:
        kinds = {}
    example = '{"features": {…}}'
    if 0 < len(kinds) <= MOST_SHOWN:
        example = json.dumps({"features": {name: _EXAMPLES.get(kind) for name, kind in kinds.items()}})
    return (
        f"run the pipeline on data that holds it, or send its features: divisions predict {endpoint} "
        f"--json {shlex.quote(example)}"
    )


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
