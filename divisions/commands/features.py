"""``divisions features …``: looks at the online store, removes customers from it, and compares it with offline data.

All but ``check`` need the store only, and no cluster. Gateways see a change at their next look-up.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, age, print_json, table
from divisions.errors import OnlineStoreError, PipelineError, UnknownEntityError, UsageError

if TYPE_CHECKING:
    from deploy.feature_check import FeatureCheck
    from deploy.log_erasure import Erased
    from divisions.online_stores import OnlineStore

EXIT_SKEW, EXIT_NOTHING_COMPARED, EXIT_REMAINS = 1, 3, 1
_SHOWN = 20

app = typer.Typer(
    help="Look at stored features, delete customers, compare with offline data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Endpoint = Annotated[str, typer.Argument(help="The endpoint's name, such as churn.")]
Entity = Annotated[str, typer.Argument(metavar="ID", help="The customer's id. Put -- before one that begins with -.")]


@app.command("get")
def get(endpoint: Endpoint, entity_id: Entity, output: Output = Format.TEXT) -> None:
    """Show the stored features of a customer, and how old they are."""
    import datetime as dt
    from contextlib import closing

    from divisions.clock import SystemClock

    store = _store_of(endpoint)
    with closing(store.reader(endpoint)) as reader:
        row = reader.get_many((_checked(entity_id),)).get(entity_id)
    if row is None:
        raise _unknown(store, endpoint, entity_id)
    try:
        features = json.loads(row[1])
    except ValueError:
        raise OnlineStoreError("the stored features of this customer are damaged", remedy="run the pipeline") from None
    as_of = dt.datetime.fromtimestamp(row[2], dt.UTC).isoformat().replace("+00:00", "Z")
    age_s = SystemClock().wall_s() - row[2]
    if output is Format.JSON:
        identity = {"endpoint": endpoint, "entity_id": entity_id}
        print_json({**identity, "features_as_of": as_of, "age_s": round(age_s, 3), "features": features})
        return
    print(f"{_readable(entity_id)}: {len(features)} features as of {as_of}, {age(age_s)} ago")
    print(table(("FEATURE", "VALUE"), [(_readable(name), _value(value)) for name, value in features.items()]))


@app.command("delete")
def delete(
    endpoint: Endpoint,
    entity_id: Entity,
    undo: Annotated[bool, typer.Option("--undo", help="Let runs store this customer again.")] = False,
    output: Output = Format.TEXT,
) -> int:
    """Delete a customer for good: no run stores it again, and the prediction log forgets it.

    The exit status is 1 if a file of the log could not be changed, or rows are still on their way there.
    """
    from divisions.clock import SystemClock

    _checked(entity_id)
    if not undo and _is_only_logged(endpoint):
        return _delete_from_log(endpoint, entity_id, False, output)
    store = _store_of(endpoint)
    if undo:
        was_deleted = store.deletions().remove(endpoint, entity_id)
        if output is Format.JSON:
            print_json({"endpoint": endpoint, "entity_id": entity_id, "was_deleted": was_deleted})
        elif was_deleted:
            print(f"{_readable(entity_id)}: the next run that reads this customer stores it again")
        else:
            print(f"{_readable(entity_id)} was not deleted")
        return 0
    was_stored = store.writer(endpoint, _tell).delete(entity_id, SystemClock().wall_s())
    if output is Format.TEXT:
        told = "deleted" if was_stored else "was not stored"
        print(f"{_readable(entity_id)}: {told}; no run stores this customer again")
    return _delete_from_log(endpoint, entity_id, was_stored, output)


def _is_only_logged(endpoint: str) -> bool:
    """Whether the prediction log has an endpoint of which no features are stored."""
    from deploy.log_erasure import known_places
    from divisions.online_stores import open_store
    from divisions.settings import load_settings

    settings = load_settings()
    return bool(known_places(settings.home, endpoint)) and endpoint not in open_store(settings).endpoints()


def _delete_from_log(endpoint: str, entity_id: str, was_stored: bool, output: Format) -> int:
    import dataclasses

    from deploy.log_erasure import erase
    from divisions.settings import load_settings

    erased = erase(load_settings(), endpoint, entity_id)
    if output is Format.JSON:
        identity = {"endpoint": endpoint, "entity_id": entity_id, "was_stored": was_stored}
        print_json({**identity, "log": dataclasses.asdict(erased)})
    else:
        print("\n".join(render_erased(erased)))
    return EXIT_REMAINS if erased.failed or erased.waiting else 0


def render_erased(erased: Erased) -> list[str]:
    """What became of the customer in the prediction log, and where it still may be."""
    lines = [f"prediction log: {erased.rows:,} rows removed from {erased.files:,} files"]
    if erased.outcomes:
        lines.append(f"outcomes: {erased.outcomes:,} removed")
    if erased.nameless:
        lines.append(f"{erased.nameless:,} rows of the log name no customer, and stay")
    if erased.waiting:
        lines.append(f"{erased.waiting:,} rows are still on their way to the log: run this again when they are there")
    lines += [f"not changed: {each}" for each in erased.failed]
    lines.append("raw data and the offline store still have the customer: leave it out of the next run's input")
    return lines


@app.command("expire")
def expire(
    endpoint: Endpoint,
    older_than: Annotated[str, typer.Option("--older-than", metavar="AGE", help="Such as 90d or 12h.")],
    output: Output = Format.TEXT,
) -> None:
    """Remove customers whose features are older; a run with newer data stores them again."""
    from contextlib import closing

    from divisions.clock import SystemClock
    from divisions.pipeline.resources import parse_duration_s

    store = _store_of(endpoint)
    try:
        age_s = parse_duration_s(older_than.strip())
    except PipelineError:
        raise UsageError(f"--older-than {older_than[:60]!r} is no age", remedy="write it like 90d or 12h") from None
    num_expired = store.writer(endpoint, _tell).expire(SystemClock().wall_s() - age_s)
    with closing(store.reader(endpoint)) as reader:
        is_empty = reader.first() is None
    if output is Format.JSON:
        print_json({"endpoint": endpoint, "expired": num_expired, "is_empty": is_empty})
    else:
        print(f"{num_expired:,} customers of {endpoint} were older than {older_than.strip()} and are gone")
    if is_empty:
        typer.echo(f"note: the store of {endpoint} is empty: requests by id get 503 until a run fills it", err=True)


@app.command("check")
def check(
    endpoint: Endpoint,
    sample: Annotated[int, typer.Option(min=0, help="Customers whose scores are compared, too.")] = 1_000,
    output: Output = Format.TEXT,
) -> int:
    """Compare what is served with the offline features of the version that serves.

    The exit status is 1 if they differ, and 3 if there was nothing to compare.
    """
    from deploy.feature_check import check_features
    from divisions.commands.connection import connect
    from divisions.registry import Registry
    from divisions.settings import load_settings

    settings = load_settings()
    with connect() as client:
        found = check_features(client, Registry(settings.home, settings.tracking_uri), settings, endpoint, sample)
    if output is Format.JSON:
        print_json(found)
    else:
        print(render_check(found))
    if found.num_differences:
        return EXIT_SKEW
    return 0 if found.num_compared else EXIT_NOTHING_COMPARED


def render_check(found: FeatureCheck) -> str:
    """The result for people: what was compared, what explains itself, and the first differences."""
    lines = [
        f"{found.endpoint} serves {found.model} {found.version}, and was compared with {found.offline}",
        f"values: {found.num_compared:,} customers, {found.num_value_differences:,} differences",
        f"scores: {found.num_scored:,} customers, {found.num_score_differences:,} differences between id and features",
    ]
    explained = [
        (found.num_newer, "have newer features in the store than this version's data: not compared"),
        (found.num_deleted, "were deleted by `divisions features delete`: not compared"),
        (found.num_by_policy, "are stale and were not answered from their features, as serving.online says"),
    ]
    lines += [f"{count:,} customers {what}" for count, what in explained if count]
    if not found.num_compared and not found.num_differences:
        lines.append(f"nothing was compared, so nothing is known about skew. {_why_nothing(found)}")
    if found.differences:
        rows = [
            (_readable(one.entity_id), _readable(one.what), _value(one.offline), _value(one.online))
            for one in found.differences[:_SHOWN]
        ]
        lines += ["", table(("CUSTOMER", "WHAT", "OFFLINE", "ONLINE"), rows)]
    if found.num_differences > _SHOWN:
        lines.append(f"and {found.num_differences - _SHOWN:,} more")
    return "\n".join(lines)


def _why_nothing(found: FeatureCheck) -> str:
    if found.num_newer:
        return f"A later run has filled the store: check again when its version serves {found.endpoint}"
    if found.num_deleted:
        return "Every customer of this version's data was deleted"
    return "This version's data have no customers: run the pipeline again"


def _store_of(endpoint: str) -> OnlineStore:
    """The store.

    Raises:
        OnlineStoreError: it has nothing of the endpoint.
    """
    from divisions.online_stores import open_store
    from divisions.settings import load_settings

    store = open_store(load_settings())
    known = store.endpoints()
    if endpoint not in known:
        raise OnlineStoreError(
            f"the online store {store} has nothing of an endpoint {endpoint[:64]!r}",
            remedy=f"it has {', '.join(known)}" if known else "a run with a rollout fills it",
        )
    return store


def _tell() -> None:
    typer.echo("note: another process writes the online store; waiting for it", err=True)


def _checked(entity_id: str) -> str:
    try:
        entity_id.encode()
    except UnicodeEncodeError:
        raise UsageError("the id is not UTF-8", remedy="write it as it is in the data") from None
    return entity_id


def _unknown(store: OnlineStore, endpoint: str, entity_id: str) -> UnknownEntityError:
    if entity_id in store.deletions().of(endpoint):
        remedy = "it was deleted; `divisions features delete --undo` lets runs store it again"
    else:
        remedy = "ids are text, as in the data; a run stores every customer that it reads"
    return UnknownEntityError(f"the online store of {endpoint} has no customer {entity_id[:256]!r}", remedy=remedy)


def _readable(text: str) -> str:
    """Text for a terminal: one line, nothing invisible."""
    return text if text.isprintable() and text else json.dumps(text)


def _value(value: object) -> str:
    if value is None:
        return "<missing>"
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else json.dumps(value)
