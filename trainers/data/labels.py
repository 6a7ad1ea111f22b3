"""The label's words: what they mean, as SQL, and what is told of them.

Without a declaration they are the usual ones (`trainers.data.raw_columns.LABEL_WORDS`). Other words are not guessed: an
input whose label has words of its own is refused, with these words and the key that says what they mean.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from divisions.errors import InputError
from divisions.pipeline.definition import Label
from trainers.data.engine import text_literal
from trainers.data.raw_columns import LABEL_WORDS, RawColumn
from trainers.data.row_groups import RowGroup

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAX_SHOWN = 5
_PLAIN_YAML = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Rows by what their label says; ``num_unknown`` have a word without a meaning."""

    num_positive: int
    num_negative: int
    num_unknown: int


def label_value(column: RawColumn, label: Label) -> str:
    """BOOLEAN, from the label's words in any case; null for anything else, and where the label is missing."""
    if not label.positive:
        return column.label
    word = f"lower({column.identifier})"
    is_negative = f"{word} IN {_listed(label.negative)}" if label.negative else f"{word} IS NOT NULL"
    return f"(CASE WHEN {word} IN {_listed(label.positive)} THEN true WHEN {is_negative} THEN false END)"


def word_counts(connection: DuckDBPyConnection, groups: Sequence[RowGroup], name: str) -> Counter[str]:
    """How many rows have each of the most frequent words of the label's column."""
    found: Counter[str] = Counter()
    for group in groups:
        if (column := group.columns.get(name)) is not None:
            rows = connection.execute(
                f"SELECT {column.identifier} AS word, count(*) FROM {group.relation} WHERE flaw IS NULL GROUP BY word"
                " HAVING word IS NOT NULL ORDER BY 2 DESC, 1 LIMIT 100"
            ).fetchall()
            found.update(dict(rows))
    return found


def has_words_of_its_own(label: Label, counts: LabelCounts) -> bool:
    """Whether the label's words are not those that are expected, so that nothing can be learned from them."""
    if label.positive:
        return not counts.num_positive or bool(label.negative and not counts.num_negative)
    known = counts.num_positive + counts.num_negative
    is_one_sided = not counts.num_positive or not counts.num_negative
    return counts.num_unknown > 0 and (is_one_sided or counts.num_unknown > known)


def words_error(uri: str, column: str, label: Label, words: Counter[str]) -> InputError:
    """The error of a label with words of its own."""
    values = _shown(words)
    if label.positive:
        missing = [word for word in (*label.positive, *label.negative) if word.lower() not in map(str.lower, words)]
        return InputError(
            f"the label {column!r} of {uri} is nowhere {_either(missing or label.positive)}; its values are {values}",
            remedy="correct features.label: positive and negative are lists of its values",
        )
    # An example only: the rarer of two is more often what is to be predicted. The user decides.
    foreign = [word for word in words if word.lower() not in LABEL_WORDS]
    if not foreign:
        return InputError(
            f"the label {column!r} of {uri} has no single values, but lists or objects",
            remedy="give each row one value; of JSON, each line or each object of one list is a row",
        )
    example = f"{{column: {_yaml(column)}, positive: [{_yaml(min(foreign, key=lambda word: (words[word], word)))}]}}"
    return InputError(
        f"the label {column!r} of {uri} has the values {values}: neither yes/no, true/false nor 1/0",
        remedy=f"say which values are to be predicted, such as features.label: {example}",
    )


def words_note(column: str, label: Label, words: Counter[str]) -> str:
    """What was taken for positive and for negative, where the file declares it."""
    positive = {word.lower() for word in label.positive}
    negative = {word.lower() for word in label.negative}
    sides = {
        "positive": Counter({word: count for word, count in words.items() if word.lower() in positive}),
        "negative": Counter(
            {
                word: count
                for word, count in words.items()
                if (word.lower() in negative if negative else word.lower() not in positive)
            }
        ),
    }
    return f"label {column!r}: " + "; ".join(f"{_shown(found)} is {side}" for side, found in sides.items() if found)


def _listed(words: Sequence[str]) -> str:
    # As `RawColumn.identifier` writes them: 2.0 is 2.
    plain = [re.sub(r"^(-?[0-9]+)\.0+$", r"\1", word) for word in words]
    return "(" + ", ".join(f"lower({text_literal(word)})" for word in plain) + ")"


def _shown(words: Counter[str]) -> str:
    shown = [f"{word[:60]!r} ({count:,})" for word, count in words.most_common(MAX_SHOWN)]
    return ", ".join(shown) + (f" and {len(words) - MAX_SHOWN} others" if len(words) > MAX_SHOWN else "")


def _either(words: Sequence[str]) -> str:
    return " or ".join(map(repr, words[:MAX_SHOWN]))


def _yaml(text: str) -> str:
    quoted = "'" + text.replace("'", "''") + "'"
    return text if _PLAIN_YAML.fullmatch(text) and text.lower() not in {"null", "on", "off"} else quoted
