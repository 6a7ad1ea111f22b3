"""The section ``features`` of a pipeline file: what the columns mean."""

from __future__ import annotations

import datetime as dt

from divisions.errors import PipelineError
from divisions.pipeline.define_options import absence, check_definitions, column_name, definitions
from divisions.pipeline.definition import Features, Label
from divisions.pipeline.variables import expand
from divisions.pipeline.yaml_nodes import Node, Scalar, Sequence
from divisions.pipeline.yaml_sections import Section, items, number, parsed

_SOME_DAY = dt.date(2025, 1, 14)


def features(section: Section, endpoint: str) -> Features:
    """``endpoint`` names the label where the section does not."""
    default = Features()
    columns = items(column_name)
    with section:
        define = section.section("define")
        label = _label(section)
        event_time, constant = _event_time(section)
        spec = Features(
            entity=section.take("entity", column_name, default.entity),
            label=label,
            event_time=event_time,
            event_time_constant=constant,
            numeric=section.take("numeric", columns, default.numeric),
            categorical=section.take("categorical", columns, default.categorical),
            boolean=section.take("boolean", columns, default.boolean),
            exclude=section.take("exclude", columns, default.exclude),
            holdout_fraction=section.take("holdout_fraction", number(0.01, 0.9), default.holdout_fraction),
            define=definitions(define),
        )
        check_definitions(section, define, spec, spec.label.column or endpoint)
        used = (spec.entity, spec.label.column, spec.event_time)
        named = (*filter(None, used), *spec.numeric, *spec.categorical, *spec.boolean, *spec.exclude)
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            section.report(f"column {twice[0]!r} is named twice", "give every column one meaning")
        return spec


def _label(section: Section) -> Label:
    """``label: churn``, a section that also says which of the column's words are which, or the absence of events."""
    if not section.has_section("label"):
        return Label(section.take("label", column_name, Label().column))
    with section.section("label") as label:
        if label.has("absent") or label.has("for"):
            return Label(absence=absence(label))
        none: tuple[str, ...] = ()
        positive = label.require("positive", _words, none)
        negative = label.take("negative", _words, Label().negative)
        both = sorted({word.lower() for word in positive} & {word.lower() for word in negative})
        if both:
            label.report(f"{both[0]!r} is positive and negative", "give every word one meaning", "negative")
        return Label(label.take("column", column_name, Label().column), positive, negative)


def _event_time(section: Section) -> tuple[str, str]:
    """The column's name; and the time of all rows, where the file gives it instead of a column."""
    name = Features().event_time
    if not section.has_section("event_time"):
        return section.take("event_time", column_name, name), ""
    with section.section("event_time") as event_time:
        return name, event_time.require("constant", parsed(_constant), "")


def _constant(template: str) -> str:
    parse_constant(expand(template, _SOME_DAY, pipeline="pipeline"))
    return template


def parse_constant(given: str) -> dt.datetime:
    """The time of all rows; UTC unless it says otherwise.

    >>> parse_constant("2025-01-14").isoformat()
    '2025-01-14T00:00:00+00:00'

    Raises:
        PipelineError: the text is no time.
    """
    try:
        moment = dt.datetime.fromisoformat(given)
        return moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError):
        raise PipelineError(
            f"{given[:60]!r} is no time", remedy="write ${today}, ${yesterday}, or a day such as 2025-01-14"
        ) from None


def _words(node: Node) -> tuple[str, ...]:
    return items(_word)(node) if isinstance(node, Sequence) else (_word(node),)


def _word(node: Node) -> str:
    # A number or a boolean is as good as a text here: the column's values are compared as text.
    word = node.text.strip() if isinstance(node, Scalar) else ""
    is_null = isinstance(node, Scalar) and node.is_plain and node.text in {"~", "null", "Null", "NULL"}
    if not word or len(word) > 128 or not word.isprintable() or is_null:
        raise PipelineError("a label's value must be 1 to 128 visible characters", remedy="write one that the data has")
    return word
