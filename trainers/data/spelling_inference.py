"""How the numbers of a column are spelled, where nobody declared it: by all of its values, and never by a guess.

``29,85`` has a decimal comma and ``1,200.50`` a decimal point. ``1,200`` alone may be either, so its column does not
decide it. The other columns of the file may; else the column stays text, and a note names the key. Only columns with
texts that are no plain numbers are looked at, so ordinary files pay nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from divisions.schema import FeatureKind
from trainers.data.kind_inference import MAJORITY, Counts, kind_of
from trainers.data.number_evidence import (
    Evidence,
    frequent_strays,
    gather,
    has_spelled_numbers,
    number_like,
    with_digits,
    with_groups_of_three,
)
from trainers.data.raw_columns import Form
from trainers.data.row_groups import RowGroup
from trainers.data.spelled_numbers import COMMA, POINT, Spelling

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TEXTS = {Form.UNTYPED, Form.TEXT, Form.BINARY, Form.JSON}
_DECLARE = "declare data_prep.format.decimal"


@dataclass(frozen=True, slots=True)
class Decision:
    """A spelling, or why there is none; neither for a column that holds no numbers worth a word."""

    spelling: Spelling | None = None
    doubt: str = ""


def decide(evidence: Evidence, declared: Spelling | None = None, of_file: Spelling | None = None) -> Decision:
    """How a column's numbers are spelled.

    Args:
        evidence: its texts.
        declared: the spelling that the pipeline file declares.
        of_file: that of the file's other columns, if they agree. It decides what the column alone leaves open.

    >>> decide(Evidence(9, point=5, comma=9, only_comma=4, open_comma=5, example="1,5", bare=9)).spelling
    Spelling(decimal=',', thousands='')
    >>> decide(Evidence(9, point=9, comma=9, open_comma=9, example="1,200", bare=9)).doubt
    'the comma in them may be the decimal mark or not: declare data_prep.format.decimal'
    """
    readings = (declared,) if declared is not None else (POINT, COMMA)
    fitting = [each for each in readings if evidence.hard and evidence.count(each) >= MAJORITY * evidence.hard]
    has_both = evidence.only_point > 0 and evidence.only_comma > 0
    if not fitting:
        is_mixed = declared is None and has_both and evidence.point + evidence.only_comma >= MAJORITY * evidence.hard
        return (
            Decision(doubt=f"some have a decimal comma and others a decimal point: {_DECLARE}")
            if is_mixed
            else Decision()
        )
    if len(evidence.units) > 1 or ("%" in evidence.units and evidence.bare):
        units = [*evidence.units, *["none"] * (evidence.bare > 0)]
        return Decision(doubt=f"they have different units ({', '.join(units[:5])}): write one unit for all")
    if len(fitting) == 1:
        return Decision(fitting[0])
    if has_both:
        return Decision(doubt=f"some have a decimal comma and others a decimal point: {_DECLARE}")
    if evidence.only_point or evidence.only_comma:
        return Decision(POINT if evidence.only_point else COMMA)
    if of_file is not None and (evidence.open_point or evidence.open_comma):
        return Decision(of_file)
    if evidence.open_comma:
        return Decision(doubt=f"the comma in them may be the decimal mark or not: {_DECLARE}")
    return Decision(POINT)


def infer_spellings(
    connection: DuckDBPyConnection,
    groups: Sequence[RowGroup],
    counts: dict[str, Counts],
    numeric: Collection[str],
    declared: Spelling | None = None,
) -> list[str]:
    """Gives the columns of ``groups`` their spelling and corrects ``counts``, both in place.

    Args:
        connection: has the groups' relations.
        groups: the raw columns.
        counts: what the values of each column are, where only plain numbers count.
        numeric: the columns that are declared as numbers. Only those are read as such if a typed file says text.
        declared: the spelling that the pipeline file declares.

    Returns:
        a note for each spelling, and for each column that seems to hold numbers and stays text.
    """
    notes: list[str] = []
    doubts: dict[str, str] = {}
    readable: dict[str, int] = {}
    spelled: dict[tuple[str, str], dict[str, str]] = {}
    for group in groups:
        own = [name for name in counts if _is_own(group, name, numeric)]
        # Where a typed file has the column, the counts say nothing about the texts of this group.
        is_counted = not (group.is_untyped and any(not other.is_untyped for other in groups))
        known = counts if is_counted else {}
        for name, evidence, decision in _decisions(connection, group, own, known, declared):
            spelling = decision.spelling or declared
            if spelling is not None:
                group.columns[name] = replace(group.columns[name], spelling=spelling)
                if counts[name].total == evidence.total:
                    found = evidence.count(spelling) if decision.spelling else 0
                    counts[name] = Counts(numbers=found, texts=evidence.total - found, soft=evidence.soft)
            if decision.spelling is None:
                if decision.doubt:
                    doubts.setdefault(name, _doubt_note(name, evidence, decision.doubt))
                readable[name] = readable.get(name, 0) + max(evidence.point, evidence.comma)
            elif declared is None and _may_be_thousands(group, evidence) and decision.spelling == POINT:
                notes.append(
                    f"column {name!r}: numbers such as {evidence.example[:40]!r} are read with a decimal point, but"
                    f" fields end with ';', as where it separates thousands: if so, {_DECLARE}: ','"
                )
            elif _is_spelled(evidence, decision.spelling):
                key = (decision.spelling.decimal, " ".join(evidence.units))
                spelled.setdefault(key, {}).setdefault(name, evidence.example)
        typed = [
            name for name in counts if name in group.columns and name not in own and group.columns[name].form in _TEXTS
        ]
        digits = with_digits(connection, group.relation, group.columns, typed)
        examples = number_like(connection, group.relation, group.columns, digits)
        notes += [_typed_note(group.example, name, example) for name, example in examples.items()]
    for name, count in counts.items():
        if kind_of(count) is FeatureKind.CATEGORICAL and any(_is_own(group, name, numeric) for group in groups):
            found = max(readable.get(name, 0), count.numbers)
            note = doubts.get(name) or _stray_note(connection, groups, name, found, count, declared)
            notes += [note] if note else []
    return [_spelling_note(*key, examples, declared) for key, examples in spelled.items()] + notes


def _is_own(group: RowGroup, name: str, numeric: Collection[str]) -> bool:
    """Whether texts of the column are to be read as numbers, if they are numbers."""
    column = group.columns.get(name)
    return column is not None and (column.form is Form.UNTYPED or (column.form in _TEXTS and name in numeric))


def _decisions(
    connection: DuckDBPyConnection,
    group: RowGroup,
    names: Sequence[str],
    counts: dict[str, Counts],
    declared: Spelling | None,
) -> Iterator[tuple[str, Evidence, Decision]]:
    """The columns of a group that need a spelling or a note."""
    found: dict[str, Evidence] = {}
    plain: list[str] = []
    for name in names:
        column, count = group.columns[name], counts.get(name, Counts())
        if name in counts and not count.total:
            continue  # nothing is spelled in it
        if declared is None and column.form is Form.UNTYPED and count.numbers and not count.texts:
            plain.append(name)
            continue
        is_mostly_plain = count.numbers >= 0.5 * (count.total - count.soft) > 0
        if declared is not None or is_mostly_plain or has_spelled_numbers(connection, group.relation, column):
            found[name] = gather(connection, group.relation, column, declared)
    if any(each.only_comma or each.open_comma for each in found.values()):
        # What plain columns show matters now: 1.5 in one of them, or 1.200, which is 1200 beside 29,85 elsewhere.
        found |= {name: gather(connection, group.relation, group.columns[name], None) for name in plain}
    elif group.delimiter == ";":
        # Where a comma is the decimal mark, fields end so. Then 1.200 may be 1200, and nothing in the file shows it.
        found |= {
            name: gather(connection, group.relation, group.columns[name], None)
            for name in with_groups_of_three(connection, group.relation, group.columns, plain)
        }
    of_file = _spelling_of_file(list(found.values()))
    for name, evidence in found.items():
        decision = decide(evidence, declared, of_file)
        is_told = decision.spelling is None or _is_spelled(evidence, decision.spelling)
        if declared is not None or is_told or _may_be_thousands(group, evidence):
            yield name, evidence, decision


def _may_be_thousands(group: RowGroup, evidence: Evidence) -> bool:
    """Whether all numbers with a point are written as thousands are where fields end with a semicolon."""
    return group.delimiter == ";" and evidence.open_point > 0 and not evidence.only_point and not evidence.only_comma


def _is_spelled(evidence: Evidence, spelling: Spelling) -> bool:
    """Whether a number of the column would be another one, or none, to a program."""
    return evidence.spelled > 0 or (spelling.decimal == "," and evidence.open_point > 0)


def _spelling_of_file(columns: Sequence[Evidence]) -> Spelling | None:
    """The spelling that all columns agree on; None if none shows it."""
    shown = [decide(evidence) for evidence in columns if evidence.only_point or evidence.only_comma]
    spellings = {decision.spelling for decision in shown if decision.spelling is not None}
    return spellings.pop() if len(spellings) == 1 else None


def _typed_note(file: str, name: str, example: str) -> str:
    return (
        f"column {name!r} is text in {file}, though its values such as {example[:40]!r} are numbers: declare"
        " it under features.numeric to learn it as a number, or under features.categorical"
    )


def _doubt_note(name: str, evidence: Evidence, doubt: str) -> str:
    return f"column {name!r} is text: values such as {evidence.example[:40]!r} are numbers, but {doubt}"


def _stray_note(
    connection: DuckDBPyConnection,
    groups: Sequence[RowGroup],
    name: str,
    found: int,
    count: Counts,
    declared: Spelling | None,
) -> str:
    """A note on the words that keep a column of numbers from being one."""
    hard = count.total - count.soft
    if not found or found < 0.5 * hard:
        return ""
    strays: Counter[str] = Counter()
    for group in groups:
        if name in group.columns:
            strays.update(frequent_strays(connection, group.relation, group.columns[name], declared))
    listed = ", ".join(f"{text[:40]!r} ({number:,})" for text, number in strays.most_common(3))
    if declared is not None:
        return f"column {name!r} is text: values such as {listed} are no numbers with the declared marks"
    return (
        f"column {name!r} is text: {found:,} of its {hard:,} values are numbers, and the others are not, such as"
        f" {listed}; if such a word means missing, add it to data_prep.format.null"
    )


def _spelling_note(decimal: str, unit: str, examples: dict[str, str], declared: Spelling | None) -> str:
    columns = ", ".join(map(repr, list(examples)[:10])) + (" and others" if len(examples) > 10 else "")
    example = next((text for text in examples.values() if text), "")
    mark = "a decimal comma" if decimal == "," else "a decimal point"
    without = f", without their unit {unit}" if unit else ""
    key = "" if declared else f"; declare data_prep.format.decimal: {decimal!r} to make that permanent"
    names = f"column{'s' * (len(examples) > 1)} {columns}"
    return f"{names}: numbers such as {example[:40]!r} are read with {mark}{without}{key}"
