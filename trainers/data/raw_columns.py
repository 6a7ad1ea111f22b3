"""A raw column as SQL: its text, its number, its truth value, and whether a value is there at all.

All formats share one rule for missing values: null, NaN, and texts that are blank or one of the missing words. Text is
trimmed before it is used. Whole numbers have one spelling in every format: the id 7 is ``7``, also where pandas has
made a float of it, or CSV says ``7.0`` for it (`identifier`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from divisions.schema import FLOAT32_MAX, FeatureKind
from divisions.stored_values import BOOLEAN_WORDS
from trainers.data.engine import text_literal
from trainers.data.spelled_numbers import Spelling, plain_number

MISSING_WORDS = ("NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A", "\\N")
LABEL_WORDS = BOOLEAN_WORDS | {
    **dict.fromkeys(("y", "t", "1.0", "true."), True),
    **dict.fromkeys(("n", "f", "0.0", "false."), False),
}
"""Words of a label, in lower case. A feature takes only `BOOLEAN_WORDS`, as the online store does."""
MISFIT_TEXT = "\ufdd0"
"""Stands for a value that does not fit a categorical column. Unicode reserves it: no text may contain it."""
MISFIT_FLAG = 2
_BLANKS = "e' \\t\\r\\n'"


class Form(enum.Enum):
    """How the values of a raw column are stored."""

    UNTYPED = "text that may mean a number or a boolean: CSV, folder names"
    TEXT = "text of a typed format"
    BINARY = "bytes that should be text"
    WHOLE = "integers"
    FLOAT = "floats"
    DECIMAL = "exact decimals"
    BOOLEAN = "booleans"
    TIME = "dates and timestamps"
    JSON = "JSON values, each with a type of its own"
    OTHER = "lists, structs and other things that cannot be features"


def form_of_type(name: str) -> Form:
    """The form of a column of one of DuckDB's types.

    >>> form_of_type("DECIMAL(18,3)").name, form_of_type("STRUCT(a INTEGER)").name
    ('DECIMAL', 'OTHER')
    """
    if name.endswith("]"):
        return Form.OTHER
    match name.partition("(")[0]:
        case "BOOLEAN":
            return Form.BOOLEAN
        case "FLOAT" | "DOUBLE":
            return Form.FLOAT
        case "DECIMAL":
            return Form.DECIMAL
        case "VARCHAR" | "UUID" | "ENUM":
            return Form.TEXT
        case "BLOB":
            return Form.BINARY
        case "DATE":
            return Form.TIME
        case name if name.startswith("TIMESTAMP"):
            return Form.TIME
        case name if name.endswith("INT") or name.endswith("INTEGER"):
            return Form.WHOLE
    return Form.OTHER


@dataclass(frozen=True, slots=True)
class RawColumn:
    """A column of one group of files. ``sql`` names it there.

    ``spelling`` is how its texts spell numbers; None means as programs write them. ``is_clean``: all values were looked
    at, and each text is as it is to be read, trimmed and no word for missing; each float is null or fits 32 bits.
    """

    sql: str
    form: Form
    missing: tuple[str, ...] = MISSING_WORDS
    spelling: Spelling | None = None
    is_clean: bool = False

    @property
    def text(self) -> str:
        """VARCHAR; null where the value is missing or no text can stand for it."""
        match self.form:
            case Form.UNTYPED:
                return self._clean(self.sql)
            case Form.TEXT:
                return self._clean(f"({self.sql})::VARCHAR")
            case Form.BINARY:
                return self._clean(f"TRY(decode({self.sql}))")
            case Form.WHOLE | Form.BOOLEAN:
                return f"({self.sql})::VARCHAR"
            case Form.FLOAT:
                return f"(CASE WHEN isnan({self.sql}) THEN NULL ELSE {_number_text(self.sql)} END)"
            case Form.DECIMAL:
                return f"({_number_text(self.sql, largest='1e36')})"
            case Form.JSON:
                number = f"TRY_CAST({self.sql} AS DOUBLE)"
                # A whole number keeps every digit; a double would round those beyond 2**53.
                return (
                    f"(CASE WHEN {self._is_json_text} THEN {self._json_text} "
                    f"WHEN {self.sql}[1] IN ('t', 'f') THEN {self.sql} "
                    f"WHEN regexp_full_match({self.sql}, '-?[0-9]+') THEN {self.sql} "
                    f"WHEN {self._is_json_number} THEN {_number_text(number)} END)"
                )
            case Form.TIME | Form.OTHER:
                return "NULL::VARCHAR"

    @property
    def raw(self) -> str:
        """The value as it came, for `json_object`."""
        match self.form:
            case Form.JSON:
                return f"({self.sql})::JSON"
            case Form.BINARY:
                return f"coalesce(TRY(decode({self.sql})), ({self.sql})::VARCHAR)"
            case Form.FLOAT:
                return f"(CASE WHEN isfinite({self.sql}) THEN {self.sql} END)"
        return self.sql

    @property
    def identifier(self) -> str:
        """The text of an id or a label: a whole number has no decimal point."""
        if self.form in {Form.UNTYPED, Form.TEXT, Form.BINARY, Form.JSON}:
            whole = f"regexp_replace({self.text}, '^(-?[0-9]+)\\.0+$', '\\1')"
            return f"(CASE WHEN contains({self.text}, '.0') THEN {whole} ELSE {self.text} END)"
        return self.text

    @property
    def is_present(self) -> str:
        """BOOLEAN: the value is not missing. It need not fit any kind."""
        match self.form:
            case Form.UNTYPED | Form.TEXT:
                return f"({self.text} IS NOT NULL)"
            case Form.FLOAT:
                return f"({self.sql} IS NOT NULL AND NOT isnan({self.sql}))"
            case Form.JSON:
                return (
                    f"({self.sql} IS NOT NULL AND {self.sql} <> 'null' "
                    f"AND (NOT {self._is_json_text} OR {self._json_text} IS NOT NULL))"
                )
            case _:
                return f"({self.sql} IS NOT NULL)"

    @property
    def number(self) -> str:
        """DOUBLE; null where there is no number of 32 bits. A boolean is no number, as in JSON and at the gateway."""
        match self.form:
            case Form.UNTYPED | Form.TEXT | Form.BINARY:
                value = self._number_of(self.text)
            case Form.WHOLE | Form.FLOAT | Form.DECIMAL:
                value = f"({self.sql})::DOUBLE"
            case Form.JSON:
                value = (
                    f"(CASE WHEN {self._is_json_text} THEN {self._number_of(self._json_text)} "
                    f"WHEN {self._is_json_number} THEN TRY_CAST({self.sql} AS DOUBLE) END)"
                )
            case Form.BOOLEAN | Form.TIME | Form.OTHER:
                return "NULL::DOUBLE"
        return f"(CASE WHEN abs({value}) <= {FLOAT32_MAX!r} THEN {value} END)"

    @property
    def truth(self) -> str:
        """BOOLEAN, from a boolean or one of `BOOLEAN_WORDS` in any case; null for anything else."""
        return self._truth(BOOLEAN_WORDS)

    @property
    def label(self) -> str:
        """BOOLEAN, from a boolean or one of `LABEL_WORDS` in any case; null for anything else."""
        return self._truth(LABEL_WORDS)

    def cast(self, kind: FeatureKind) -> str:
        """The value in the form of its kind; a value that does not fit becomes NaN, `MISFIT_FLAG` or `MISFIT_TEXT`."""
        match kind, self.form:
            case FeatureKind.NUMERIC, Form.FLOAT if self.is_clean:
                return f"({self.sql})::DOUBLE"
            case FeatureKind.NUMERIC, Form.FLOAT:
                number = f"({self.sql})::DOUBLE"
                return (
                    f"CASE WHEN abs({number}) <= {FLOAT32_MAX!r} THEN {number} WHEN NOT isnan({number}) THEN 'nan' END"
                )
            case FeatureKind.CATEGORICAL, Form.UNTYPED | Form.TEXT:
                return self.text  # each text fits
            case FeatureKind.BOOLEAN, Form.BOOLEAN:
                return f"({self.sql})::UTINYINT"
        match kind:
            case FeatureKind.NUMERIC:
                value, misfit = self.number, "'nan'::DOUBLE"
            case FeatureKind.BOOLEAN:
                value, misfit = f"({self.truth})::UTINYINT", f"{MISFIT_FLAG}::UTINYINT"
            case FeatureKind.CATEGORICAL:
                value, misfit = self.text, text_literal(MISFIT_TEXT)
        return f"CASE WHEN {self.is_present} AND {value} IS NULL THEN {misfit} ELSE {value} END"

    @property
    def is_text(self) -> str:
        """BOOLEAN: the value is written as text, whatever it means."""
        if self.form is Form.JSON:
            return self._is_json_text
        return str(self.form in {Form.UNTYPED, Form.TEXT, Form.BINARY}).lower()

    def _truth(self, words: Mapping[str, bool]) -> str:
        if self.form is Form.BOOLEAN:
            return f"({self.sql})"
        text = f"lower({self.text})"
        yes, no = (_words(words, meaning) for meaning in (True, False))
        return f"(CASE WHEN {text} IN {yes} THEN true WHEN {text} IN {no} THEN false END)"

    def _number_of(self, text: str) -> str:
        return self.spelling.number(text) if self.spelling is not None else plain_number(text)

    @property
    def _is_json_text(self) -> str:
        return f"({self.sql}[1] = '\"')"

    @property
    def _is_json_number(self) -> str:
        return f"({self.sql}[1] BETWEEN '0' AND '9' OR {self.sql}[1] = '-')"

    @property
    def _json_text(self) -> str:
        return self._clean(f"json_extract_string({self.sql}, '$')")

    def _clean(self, sql: str) -> str:
        if self.is_clean:
            return f"({sql})"
        words = ", ".join(text_literal(word) for word in ("", *self.missing))
        trimmed = f"trim({sql}, {_BLANKS})"
        # Trimming costs ten times as much as these two comparisons, and few texts need it.
        return (
            f"(CASE WHEN {sql} < '!' OR ({sql})[-1] < '!' THEN CASE WHEN {trimmed} NOT IN ({words}) THEN {trimmed} END"
            f" WHEN {sql} NOT IN ({words}) THEN {sql} END)"
        )


def absent(kind: FeatureKind) -> str:
    """The value of a column that a group of files does not have."""
    types = {FeatureKind.NUMERIC: "DOUBLE", FeatureKind.BOOLEAN: "UTINYINT", FeatureKind.CATEGORICAL: "VARCHAR"}
    return f"NULL::{types[kind]}"


def list_literal(values: Sequence[str | None]) -> str:
    """A list of SQL, of texts or nulls."""
    return "[" + ", ".join("NULL" if value is None else text_literal(value) for value in values) + "]"


def _number_text(sql: str, largest: str = "1e18") -> str:
    whole = f"({sql})::HUGEINT::VARCHAR"
    return f"CASE WHEN {sql} = trunc({sql}) AND abs({sql}) < {largest} THEN {whole} ELSE ({sql})::VARCHAR END"


def _words(words: Mapping[str, bool], meaning: bool) -> str:
    return "(" + ", ".join(text_literal(word) for word, value in words.items() if value is meaning) + ")"
