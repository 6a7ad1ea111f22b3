"""The bodies that SageMaker's callers send, as rows of an endpoint. Pure.

=======================  ==============================================================================================
content type             rows
=======================  ==============================================================================================
``text/csv``             one per line, the features in the endpoint's order; or in that of a first line that names them
``application/json``     the body of a predict request; or plain lists of values, as AWS's own algorithms take them:
                         ``{"instances": [[…], …]}``, ``{"instances": [{"features": […]}, …]}``, ``{"features": […]}``,
                         ``{"instances": [{"data": {"features": {"values": […]}}}, …]}``, ``[[…], …]``
``application/jsonlines``  one such object or list per line
=======================  ==============================================================================================

An empty field of CSV, and null in JSON, is a missing value.
"""

from __future__ import annotations

import csv
import enum
import io
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from divisions.errors import InvalidFeaturesError, MalformedRequestError
from divisions.schema import FLOAT32_MAX, FeatureKind
from divisions.stored_values import read_as
from router.predict.decode import EndpointDecoder, Row, Values

MAX_ROWS: Final = 100_000
"""Rows of one request: a part of a batch transform has at most 100 MB."""
_SEND: Final = "send one row per line, its values separated by commas, in this order: "


class Form(enum.Enum):
    """The form of a body or a reply."""

    JSON = "application/json"
    CSV = "text/csv"
    LINES = "application/jsonlines"


_FORMS: Final = {
    b"application/json": Form.JSON,
    b"text/csv": Form.CSV,
    b"application/jsonlines": Form.LINES,
    b"application/x-jsonlines": Form.LINES,
    b"application/json-lines": Form.LINES,
}


def form_of(media_type: bytes) -> Form | None:
    """The form that a media type names; its parameters do not count.

    >>> form_of(b"text/csv; header=absent"), form_of(b"image/png")
    (<Form.CSV: 'text/csv'>, None)
    """
    return _FORMS.get(media_type.partition(b";")[0].strip().lower())


def accepted_form(accept: bytes) -> Form | None:
    """The first form that an ``Accept`` header names; None if it names none of them."""
    return next((form for each in accept.split(b",") if (form := form_of(each)) is not None), None)


def read_csv(body: bytes, decoder: EndpointDecoder, num_required: int) -> list[Row]:
    """The rows of a body of CSV.

    Args:
        body: UTF-8, with or without a first line of names.
        decoder: the endpoint's.
        num_required: how many of its features, the first ones, every row must have.

    Raises:
        MalformedRequestError: it is no CSV.
        InvalidFeaturesError: a row does not fit the endpoint's features.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True) if line]
    except (csv.Error, UnicodeDecodeError):
        raise MalformedRequestError("the body is not well-formed CSV in UTF-8", remedy="check its quotes") from None
    names = decoder.names[:num_required]
    start = 0
    if lines and _is_header(lines[0], decoder):
        names, start = tuple(cell.strip() for cell in lines[0]), 1
        _check_header(names, decoder, num_required)
    _check_count(len(lines) - start)
    kinds = [decoder.kinds[name] for name in names]
    places = _places(names, decoder)
    rows = []
    for number, line in enumerate(lines[start:], 1):
        if len(line) != len(names):
            raise InvalidFeaturesError(
                f"row {number} has {len(line)} values, and the endpoint takes {len(names)}",
                remedy=f"{_SEND}{', '.join(names)}",
            )
        values = [
            _of_text(kind, cell, names[at], number) for at, (kind, cell) in enumerate(zip(kinds, line, strict=True))
        ]
        rows.append(Row(None, _arranged(values, places)))
    return rows


def read_json(body: bytes, decoder: EndpointDecoder, num_required: int) -> tuple[Row | list[Row], bool]:
    """The rows of a body of JSON, and whether they came as plain lists of values.

    Raises:
        MalformedRequestError: it is no JSON.
        InvalidFeaturesError: a row does not fit the endpoint's features.
    """
    try:
        return decoder.decode(body, MAX_ROWS), False
    except InvalidFeaturesError:
        lists = _lists(_decoded(body))
        if lists is None:
            raise
    _check_count(len(lists))
    return [_of_list(each, decoder, num_required, number) for number, each in enumerate(lists, 1)], True


def read_lines(body: bytes, decoder: EndpointDecoder, num_required: int) -> list[Row]:
    """The rows of a body of JSON lines.

    Raises:
        MalformedRequestError: a line is no JSON.
        InvalidFeaturesError: a row does not fit the endpoint's features.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    _check_count(len(lines))
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            found, _ = read_json(line, decoder, num_required)
        except (MalformedRequestError, InvalidFeaturesError) as error:
            raise type(error)(f"line {number}: {error.message}", remedy=error.remedy) from None
        if isinstance(found, list):
            if len(found) != 1:
                raise InvalidFeaturesError(f"line {number} has {len(found)} rows", remedy="send one row per line")
            found = found[0]
        rows.append(found)
    return rows


def render_scores(form: Form, scores: Sequence[float]) -> bytes:
    """The reply: one score per row, in the rows' order.

    >>> render_scores(Form.CSV, [0.5, 0.25]), render_scores(Form.JSON, [0.5])
    (b'0.5\\n0.25\\n', b'{"predictions":[{"score":0.5}]}')
    """
    match form:
        case Form.CSV:
            return b"".join([b"%.8g\n" % score for score in scores])
        case Form.LINES:
            return b"".join([b'{"score":%.8g}\n' % score for score in scores])
        case Form.JSON:
            return b'{"predictions":[%s]}' % b",".join([b'{"score":%.8g}' % score for score in scores])


def _is_header(cells: Sequence[str], decoder: EndpointDecoder) -> bool:
    """Whether a first line names columns: any of its cells is the name of one, and no value of the column there."""
    known = {*decoder.names, decoder.entity}
    return all(cell.strip() in known for cell in cells)


def _check_header(names: Sequence[str], decoder: EndpointDecoder, num_required: int) -> None:
    if decoder.entity in names:
        raise InvalidFeaturesError(
            f"the first line names `{decoder.entity}`, which is no feature",
            remedy="leave the column out (batch transform: InputFilter), or send JSON",
        )
    if len(set(names)) != len(names):
        raise InvalidFeaturesError("the first line names a feature twice", remedy="name each feature once")
    missing = [name for name in decoder.names[:num_required] if name not in names]
    if missing:
        raise InvalidFeaturesError(f"the first line lacks {', '.join(missing)}", remedy="send every feature")


def _check_count(rows: int) -> None:
    if rows == 0:
        raise InvalidFeaturesError("the body has no rows", remedy="send at least one row")
    if rows > MAX_ROWS:
        raise InvalidFeaturesError(
            f"{rows:,} rows are more than the {MAX_ROWS:,} that one request may carry",
            remedy="split the request (batch transform: a smaller MaxPayloadInMB)",
        )


def _places(names: Sequence[str], decoder: EndpointDecoder) -> list[int]:
    """Where the values of each of the endpoint's features are among ``names``; -1 if they are not there."""
    at = {name: place for place, name in enumerate(names)}
    return [at.get(name, -1) for name in decoder.names]


def _arranged(values: Sequence[Any], places: Sequence[int]) -> Values:
    return tuple([None if place < 0 else values[place] for place in places])


def _of_text(kind: FeatureKind, cell: str, name: str, row: int) -> Any:
    if kind is FeatureKind.CATEGORICAL:
        return cell or None
    text = cell.strip()
    if not text or text.lower() in {"nan", "null"}:
        return None
    try:
        return read_as(kind, text)
    except ValueError:
        raise InvalidFeaturesError(
            f"row {row}: the value of {name!r} is no {kind.value}", remedy="leave the field empty if it is missing"
        ) from None


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # It is JSON, or the decoder had said so.
        raise MalformedRequestError("the body holds a number beyond any float", remedy="send finite numbers") from None


def _lists(document: Any) -> list[list[Any]] | None:
    """The rows of a document that gives them as plain lists; None if it does not."""
    if isinstance(document, dict):
        if set(document) == {"instances"}:
            document = document["instances"]
        elif set(document) in ({"features"}, {"data"}):
            document = [document]
        else:
            return None
    if isinstance(document, list) and document and not any(isinstance(each, list | dict) for each in document):
        document = [document]
    if not isinstance(document, list):
        return None
    rows = [row for each in document if (row := _list_of(each)) is not None]
    return rows if rows and len(rows) == len(document) else None


def _list_of(row: Any) -> list[Any] | None:
    if isinstance(row, dict) and set(row) == {"data"}:
        data = row["data"]
        features = data.get("features") if isinstance(data, dict) else None
        row = features.get("values") if isinstance(features, dict) else None
    elif isinstance(row, dict) and set(row) == {"features"}:
        row = row["features"]
    return row if isinstance(row, list) else None


def _of_list(row: Sequence[Any], decoder: EndpointDecoder, num_required: int, number: int) -> Row:
    names = decoder.names[:num_required]
    if len(row) != len(names):
        raise InvalidFeaturesError(
            f"row {number} has {len(row)} values, and the endpoint takes {len(names)}",
            remedy=f"send them in this order: {', '.join(names)}",
        )
    for name, value in zip(names, row, strict=True):
        if not _fits(decoder.kinds[name], value):
            raise InvalidFeaturesError(
                f"row {number}: the value of {name!r} is no {decoder.kinds[name].value}",
                remedy="send every feature in its type, null where missing",
            )
    return Row(None, (*row, *[None] * (len(decoder.names) - len(names))))


def _fits(kind: FeatureKind, value: Any) -> bool:
    match kind:
        case _ if value is None:
            return True
        case FeatureKind.NUMERIC:
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= FLOAT32_MAX
        case FeatureKind.BOOLEAN:
            return isinstance(value, bool)
        case FeatureKind.CATEGORICAL:
            return isinstance(value, str)
