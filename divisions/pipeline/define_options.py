"""``features.define`` and the label's conditions: features over events, from YAML to typed values.

plan: last                                                            the last value of the column ``plan``
spend: {sum: amount, over: 30d}                                       one window, one feature
purchases: {count: event, where: {event: purchase}, over: [7d, 30d]}  purchases_7d, purchases_30d
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial

from divisions.errors import PipelineError
from divisions.pipeline.definition import Features
from divisions.pipeline.expressions import nearest, parse_number
from divisions.pipeline.feature_definition import (
    ALL_TIME,
    Absence,
    Aggregate,
    Comparable,
    Condition,
    FeatureDefinition,
    Operator,
    Truth,
    Window,
)
from divisions.pipeline.yaml_nodes import Mapping, Node, Scalar, Sequence
from divisions.pipeline.yaml_sections import Section, integer, items, placed, text

MAX_FEATURES = 1_000
MAX_WINDOWS = 20
MAX_VALUES = 100
MAX_NAME_CHARS = 128
MAX_TIMES = 100
"""Times of a label. Each costs a query over all events."""
_WINDOW = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_AGGREGATES = tuple(aggregate.value for aggregate in Aggregate)
_OPERATORS = tuple(operator.value for operator in Operator if operator is not Operator.IN)


@dataclass(frozen=True, slots=True)
class _Over:
    windows: tuple[Window, ...]
    is_listed: bool


def definitions(section: Section) -> tuple[FeatureDefinition, ...]:
    """Reads ``features.define``: every key is the name of a feature."""
    with section:
        found = [definition for name in section.names if (definition := _definition(section, name)) is not None]
        names = Counter(name for definition in found for name in definition.names)
        for definition in found:
            twice = [name for name in definition.names if names[name] > 1]
            if twice:
                section.report(
                    f"feature {twice[0]!r} is defined twice",
                    "a list of windows makes <name>_<window> of each: rename one of the two",
                    definition.name,
                )
        if section.is_empty:
            section.report("defines no feature", "write one, such as 'plan: last', or remove the key")
        if len(names) > MAX_FEATURES:
            section.report(f"{len(names):,} features are more than {MAX_FEATURES:,}", "define fewer")
        return tuple(found)


def absence(label: Section) -> Absence:
    """Reads the open section ``label: {absent: {event: purchase}, for: 30d, every: 30d, times: 6}``."""
    no_conditions: tuple[Condition, ...] = ()
    where = label.require("absent", conditions, no_conditions)
    horizon = label.require("for", bounded_window, Window(1, "d"))
    active_within = label.take("active_within", bounded_window, horizon)
    times = label.take("times", integer(1, MAX_TIMES), 1)
    if label.has("every") and times == 1:
        label.report("every says nothing about a single label", "add how many, such as times: 6", "every")
    return Absence(where, horizon, active_within, label.take("every", bounded_window, horizon), times)


def column_name(node: Node) -> str:
    """Reads the name of a column."""
    name = text(node)
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise PipelineError("a column's name must be 1 to 128 visible characters", remedy="name a column of the input")
    return name


def _key(node: Node) -> str:
    """A key is text, also without quotes where it looks like a number: columns are sometimes called 2024."""
    return column_name(Scalar(node.text, False, node.place) if isinstance(node, Scalar) else node)


def conditions(node: Node) -> tuple[Condition, ...]:
    """Reads ``{event: [purchase, refund], amount: {above: 10}}``; an event must satisfy all of them."""
    if not isinstance(node, Mapping) or not node.entries:
        raise PipelineError("must be conditions", remedy="write columns and their values, such as {event: purchase}")
    found: list[Condition] = []
    for entry in node.entries:
        found += placed(partial(_conditions, placed(_key, entry.key)), entry.value)
    return tuple(found)


def window(node: Node) -> Window:
    """Reads ``7d``, ``12h``, ``4w`` or ``all``."""
    given = text(node).strip()
    if given == str(ALL_TIME):
        return ALL_TIME
    match = _WINDOW.fullmatch(given)
    if match is None:
        raise PipelineError(
            f"{given[:60]!r} is not a window of time",
            remedy="write hours, days or weeks as 12h, 7d or 4w, or write all",
        )
    return Window(int(match[1]), match[2])


def bounded_window(node: Node) -> Window:
    """Reads a window other than ``all``."""
    read = window(node)
    if read == ALL_TIME:
        raise PipelineError("must have an end, got all", remedy="write hours, days or weeks as 12h, 7d or 4w")
    return read


def _definition(section: Section, name: str) -> FeatureDefinition | None:
    """None where it is wrong, which is reported."""
    if not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable():
        section.report("a feature's name must be 1 to 128 visible characters", "rename it", name)
    if not section.has_section(name):
        aggregate = section.take(name, _word, None)
        return None if aggregate is None else FeatureDefinition(name, aggregate, name, line=section.line(name))
    inner = section.section(name)
    with inner:
        found = {aggregate: inner.take(aggregate.value, column_name, "") for aggregate in Aggregate}
        given = [aggregate for aggregate in Aggregate if inner.has(aggregate.value)]
        no_conditions: tuple[Condition, ...] = ()
        where = inner.take("where", conditions, no_conditions)
        over = inner.take("over", _over, _Over((ALL_TIME,), False))
        if not given and set(inner.names) - {"where", "over"}:
            return None  # an unknown key, which is told
        if len(given) != 1:
            what = "no aggregate" if not given else f"{len(given)} aggregates: {', '.join(given)}"
            inner.report(what, f"write one of {', '.join(_AGGREGATES)}, with a column, such as 'sum: amount'")
            return None
    return FeatureDefinition(name, given[0], found[given[0]], where, over.windows, over.is_listed, section.line(name))


def _word(node: Node) -> Aggregate:
    word = text(node).strip()
    if word in _AGGREGATES:
        return Aggregate(word)
    near = nearest(word, _AGGREGATES)
    hint = f"did you mean {near!r}? The" if near else "the"
    raise PipelineError(
        f"unknown aggregate {word[:60]!r}",
        remedy=f"{hint} aggregates are {', '.join(_AGGREGATES)}; they take the column of the feature's name",
    )


def _over(node: Node) -> _Over:
    if not isinstance(node, Sequence):
        return _Over((window(node),), False)
    windows = items(window, most=MAX_WINDOWS)(node)
    if len(set(windows)) < len(windows):
        raise PipelineError("names a window twice", remedy="name every window once")
    return _Over(windows, True)


def _conditions(column: str, node: Node) -> tuple[Condition, ...]:
    if not isinstance(node, Mapping):
        return (Condition(column, Operator.IN, _values(node)),)
    if not node.entries:
        raise PipelineError("must be a value or a comparison", remedy=f"use one of {', '.join(_OPERATORS)}")
    found = []
    for entry in node.entries:
        word = entry.key.text
        if word not in _OPERATORS:
            near = nearest(word, _OPERATORS)
            hint = f"did you mean {near!r}? The" if near else "the"
            error = PipelineError(
                f"unknown comparison {word[:60]!r}", remedy=f"{hint} comparisons are {', '.join(_OPERATORS)}"
            )
            error.line, error.column = entry.key.place.line, entry.key.place.column
            raise error
        read = _values if word == Operator.NOT else _bound
        found.append(Condition(column, Operator(word), placed(read, entry.value)))
    return tuple(found)


def _values(node: Node) -> tuple[Comparable, ...]:
    return items(_value, most=MAX_VALUES)(node) if isinstance(node, Sequence) else (_value(node),)


def _bound(node: Node) -> tuple[Comparable, ...]:
    value = _value(node)
    if not isinstance(value, float):
        raise PipelineError("must be a number", remedy="compare other values as 'column: value'")
    return (value,)


def _value(node: Node) -> Comparable:
    """A text in quotes stays a text; a plain number or boolean is what it looks like."""
    if not isinstance(node, Scalar) or (node.is_plain and node.text in {"", "~", "null", "Null", "NULL"}):
        raise PipelineError(
            "must be a value", remedy="write a text, number or boolean; a missing value satisfies no condition"
        )
    if node.is_plain and node.text.lower() in {"true", "false"}:
        return Truth(node.text.lower() == "true")
    if node.is_plain:
        try:
            return parse_number(node.text)
        except ValueError:
            pass
    given = node.text.strip()
    if not given:
        raise PipelineError("must be a value, got blank text", remedy="a missing value satisfies no condition")
    return given


def check_definitions(section: Section, define: Section, spec: Features, label: str) -> None:
    """Reports features that contradict the rest of the section ``features``.

    Args:
        section: the section ``features``.
        define: its section ``define``.
        spec: what was read from both.
        label: the label's column, or its name.
    """
    if not spec.define:
        if spec.label.absence:
            section.report("a label that is the absence of events needs features over events", "add define", "label")
        return
    roles = {spec.entity: "entity", spec.event_time: "event time", label: "label"}
    for definition in spec.define:
        for name in definition.names:
            if name in roles:
                define.report(f"the feature {name!r} is named like the {roles[name]}", "rename it", definition.name)
        if not spec.label.absence and label in {
            definition.column,
            *(condition.column for condition in definition.where),
        }:
            define.report(
                f"uses the label {label!r}, which is not known yet when the feature is needed",
                "use other columns",
                definition.name,
            )
    if spec.event_time_constant:
        section.report("with define, events need times of their own", "name their column", "event_time")
    if spec.exclude:
        section.report("with define, columns are no features unless it names them", "remove the key", "exclude")
    names = {name: definition for definition in spec.define for name in definition.names}
    for key, declared in (("numeric", spec.numeric), ("categorical", spec.categorical), ("boolean", spec.boolean)):
        for name in declared:
            _check_kind(section, key, name, names)


def _check_kind(section: Section, key: str, name: str, names: dict[str, FeatureDefinition]) -> None:
    if name not in names:
        near = nearest(name, names)
        hint = f"did you mean {near!r}? With" if near else "with"
        section.report(f"{name!r} is no feature of define", f"{hint} define, name features here, not columns", key)
    elif names[name].aggregate is not Aggregate.LAST:
        section.report(
            f"the kind of {name!r} is known: it is {names[name].aggregate.value!r} of a column",
            "declare kinds only of features that are 'last'",
            key,
        )
