"""Request bodies: decoders and encoders compiled from the feature schemas that an endpoint serves.

An endpoint requires the features of its stable version; features that only its canary has are optional. One decoder
per endpoint turns JSON into typed values without coercion. One encoder per version turns the values into that
version's ``float32[F]`` row. Neither knows about HTTP.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from mypy_extensions import mypyc_attr

from divisions.entity_ids import MAX_ID_CHARACTERS, entity_text
from divisions.errors import InvalidFeaturesError, MalformedRequestError, RequestError, StoredFeaturesError
from divisions.schema import FLOAT32_MAX, UNKNOWN_CODE, FeatureKind, FeatureSchema
from divisions.stored_values import read_as

Values = tuple[Any, ...]
"""Raw feature values in the order of `EndpointDecoder.names`; None is missing."""

MAX_ROWS: Final = 4_096
"""Rows of one request, in any form."""
_HUGE_EXPONENT: Final = re.compile(rb"[0-9][eE]\+?[0-9]{3,}")
_TYPES: dict[FeatureKind, Any] = {
    FeatureKind.NUMERIC: float | None,
    FeatureKind.BOOLEAN: bool | None,
    FeatureKind.CATEGORICAL: str | None,
}
_SYNTAX: Final = msgspec.json.Decoder(msgspec.Raw)
_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARACTERS)]


@mypyc_attr(acyclic=True, free_list_len=1)  # It has values only, and lives until its job is made.
class Row:
    """One row of a request. ``values`` is None if the row has only the entity's id: the online store has the rest."""

    __slots__ = ("key", "note", "values")

    def __init__(self, key: str | None, values: Values | None) -> None:
        self.key = key
        self.values = values
        self.note = b""
        """What the reply says about stored features, as members of JSON; empty if the caller sent the features."""

    def checked(self) -> Values:
        """The features, which must be known by now."""
        assert self.values is not None, "look-ups come first"
        return self.values


class EndpointDecoder:
    """Decodes the bodies of one endpoint.

    Args:
        stable: the schema whose features every request must carry.
        canary: a schema whose further features are optional.
    """

    def __init__(self, stable: FeatureSchema, canary: FeatureSchema | None = None) -> None:
        required = {feature.name: feature.kind for feature in stable.features}
        optional = {
            feature.name: feature.kind
            for feature in (canary.features if canary else ())
            if feature.name not in required
        }
        self.names: tuple[str, ...] = (*required, *optional)
        self.kinds: dict[str, FeatureKind] = required | optional
        self.entity = stable.entity
        self.nothing: Values = (None,) * len(self.names)
        """A row whose features are all missing."""
        fields: list[Any] = [(_field(i), _TYPES[kind]) for i, kind in enumerate(required.values())]
        fields += [(_field(len(required) + i), _TYPES[kind], None) for i, kind in enumerate(optional.values())]
        rename = {_field(i): name for i, name in enumerate(self.names)}
        features: Any = msgspec.defstruct("Features", fields, forbid_unknown_fields=True, rename=rename, gc=False)
        stored: Any = msgspec.defstruct(
            "StoredFeatures", [(name, kind, None) for name, kind, *_ in fields], rename=rename, gc=False
        )
        request_fields = [("key", _Key | int | float | None, None), ("features", features | None, None)]
        names = {"key": stable.entity}
        instance: Any = msgspec.defstruct("Instance", request_fields, forbid_unknown_fields=True, rename=names)
        request: Any = msgspec.defstruct(
            "Request",
            [*request_fields, ("instances", list[instance] | None, None)],
            forbid_unknown_fields=True,
            rename=names,
        )
        self._decode_request = msgspec.json.Decoder(request).decode
        self._decode_stored = msgspec.json.Decoder(stored).decode
        self._astuple = msgspec.structs.astuple

    def decode(self, body: bytes, max_rows: int) -> Row | list[Row]:
        """Decodes a request's body.

        Returns:
            The row, or the rows of a batch (``instances``).

        Raises:
            MalformedRequestError: not JSON.
            InvalidFeaturesError: JSON, but not what the schema says.
        """
        try:
            key, features, instances = self._astuple(self._decode_request(body))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise explain(error, body, self.names, self.entity) from None
        if instances is None:
            return self._row(key, features)
        if key is not None or features is not None:
            raise InvalidFeaturesError(
                f"a request has either `instances` or `{self.entity}` and `features`, not both",
                remedy="move the single row into `instances`",
            )
        if not instances:
            raise InvalidFeaturesError("`instances` is empty", remedy="send at least one row")
        if len(instances) > max_rows:
            raise InvalidFeaturesError(
                f"{len(instances)} rows are more than the {max_rows} that one request may carry",
                remedy="split the request",
            )
        return [self._row(instance.key, instance.features) for instance in instances]

    def _row(self, key: Any, features: Any) -> Row:
        if key is not None and not isinstance(key, str):
            key = entity_text(self.entity, key)
        if features is not None:
            return Row(key, self._astuple(features))
        if key is None:
            raise InvalidFeaturesError(
                f"a row names neither `{self.entity}` nor `features`", remedy="send one of them, or both"
            )
        return Row(key, None)

    def has_missing_features(self, rows: Row | list[Row]) -> bool:
        """Whether a row has only the entity's id."""
        return rows.values is None if isinstance(rows, Row) else any(row.values is None for row in rows)

    def decode_stored(self, features_json: bytes) -> Values:
        """Decodes the online store's features of an entity. Features that the endpoint does not use are ignored.

        The store is shared by versions, and the kind of a column may have changed since a version was trained. A value
        of another kind is read by the rules of `divisions.stored_values`.

        Raises:
            StoredFeaturesError: a value cannot be converted.
        """
        try:
            return self._astuple(self._decode_stored(features_json))
        except msgspec.MsgspecError:
            return self._convert_stored(features_json)

    def _convert_stored(self, features_json: bytes) -> Values:
        """Decodes a stored row of another kind of schema: each value is read as this endpoint's kind, if it can be."""
        try:
            stored = msgspec.json.decode(features_json, type=dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise StoredFeaturesError(
                "the online store's features for this entity are damaged", remedy="run the pipeline again"
            ) from None
        values = []
        for name, kind in self.kinds.items():
            try:
                values.append(read_as(kind, stored.get(name)))
            except ValueError:
                raise StoredFeaturesError(
                    f"the online store's {name!r} for this entity is a {type(stored[name]).__name__},"
                    f" and cannot be read as {kind.value}",
                    remedy=f"declare {name!r} in features.{kind.value} of the pipeline file and run it again",
                ) from None
        return tuple(values)

    def encoder(self, schema: FeatureSchema) -> RowEncoder:
        """Compiles the encoder of one version: values to ``F`` little-endian float32.

        Raises:
            InvalidFeaturesError: a feature has another kind in this version than in the endpoint.
        """
        for feature in schema.features:
            if self.kinds.get(feature.name) is not feature.kind:
                raise InvalidFeaturesError(
                    f"feature {feature.name!r} is {feature.kind.value} in this version, "
                    f"but {self.kinds.get(feature.name, 'absent')} in the endpoint's stable version",
                    remedy="give the changed feature a new name",
                )
        return RowEncoder(schema, self.names)


class RowEncoder:
    """Values in the endpoint's order to one version's packed row. See `divisions.schema` for the encoding."""

    __slots__ = ("_categorical", "_names", "_order", "_pack")

    def __init__(self, schema: FeatureSchema, names: Sequence[str]) -> None:
        order = tuple(names.index(feature.name) for feature in schema.features)
        self._names = schema.names
        self._order = None if order == tuple(range(len(names))) else order
        self._pack = struct.Struct(f"<{schema.num_columns}f").pack
        self._categorical: tuple[tuple[int, dict[str | None, float]], ...] = tuple(
            (column, {None: math.nan} | {text: float(code + 1) for code, text in enumerate(feature.categories)})
            for column, feature in enumerate(schema.features)
            if feature.kind is FeatureKind.CATEGORICAL
        )

    def __call__(self, values: Values) -> bytes:
        row: Sequence[Any] = values
        if self._order is not None or self._categorical:
            row = self._arranged(values)
        pack = self._pack
        try:
            return pack(*row)
        except struct.error:  # A missing value among the numbers.
            return self._pack_checked([math.nan if value is None else value for value in row])
        except OverflowError:
            return self._pack_checked(row)

    def _arranged(self, values: Values) -> list[Any]:
        row = list(values) if self._order is None else [values[i] for i in self._order]
        for column, codes in self._categorical:
            row[column] = codes.get(row[column], UNKNOWN_CODE)
        return row

    def _pack_checked(self, row: Sequence[Any]) -> bytes:
        try:
            return self._pack(*row)
        except OverflowError:
            culprit = next(name for name, value in zip(self._names, row, strict=True) if abs(value) > FLOAT32_MAX)
            raise InvalidFeaturesError(
                f"feature {culprit!r} does not fit a 32-bit float", remedy="send a number below 3.4e38 in size"
            ) from None


def explain(error: Exception, body: bytes, names: Sequence[str], entity: str) -> RequestError:
    """Turns a decoder's error into ours. It may name the entity and features, never the caller's text."""
    text = str(error)
    if isinstance(error, RecursionError):
        return MalformedRequestError("the body is nested too deeply", remedy="send flat JSON")
    if not isinstance(error, msgspec.ValidationError):
        return MalformedRequestError("the body is not well-formed JSON in UTF-8", remedy="check it with a JSON linter")
    try:
        _SYNTAX.decode(body)  # The decoder stopped at its first complaint; the rest may not even be JSON.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as worse:
        return explain(worse, body, names, entity)
    if "unknown field" in text:
        return _unknown_field(text, names, entity)
    if "out of range" in text and _HUGE_EXPONENT.search(body):
        return MalformedRequestError("the body holds a number beyond any float", remedy="send finite numbers")
    return InvalidFeaturesError(text.replace("`$.", "`"), remedy="send every feature in its type, null where missing")


def _unknown_field(text: str, names: Sequence[str], entity: str) -> InvalidFeaturesError:
    """Names the field if it is nearly one of ours, or the entity's usual name; any other name is the caller's text."""
    found = _UNKNOWN_FIELD.search(text)
    field = found[1] if found is not None else ""
    close = {_letters(name): name for name in (*names, "features", "instances", entity)}.get(_letters(field))
    known = f"the entity's id goes into `{entity}`, its features into `features`: {', '.join(names)}"
    if close is not None:
        return InvalidFeaturesError(f"the body has a field `{field}`, which must be `{close}` here", remedy=known)
    named = f" `{field}`" if field == FeatureSchema(()).entity else ""
    return InvalidFeaturesError(f"the body has a field{named} that the endpoint does not know", remedy=known)


_UNKNOWN_FIELD: Final = re.compile(r"unknown field `([A-Za-z0-9 _-]{1,64})`")


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _field(index: int) -> str:
    # Feature names may be anything, also Python's keywords. So attributes have names of our own.
    return f"f{index}"
