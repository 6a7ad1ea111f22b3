"""`Values` from a section of the file of targets. Errors have a line and a column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

from deploy.kubernetes.values import Entry, Values
from divisions.errors import PipelineError, UsageError
from divisions.pipeline.yaml_nodes import Node, Scalar
from divisions.pipeline.yaml_sections import Section, choice, flag, integer, number, text

MOST = 10_000
NOT_READ = frozenset({"artifacts"})
"""The artifact store is a key of every kind of target."""


def take_values(section: Section) -> Values:
    """The values of a section; what it leaves out has its default. A mistake is reported to the section."""
    types = get_type_hints(Values)
    found: dict[str, Any] = {}
    for each in fields(Values):
        if each.name in NOT_READ:
            continue
        default: Any = each.default
        found[each.name] = section.take(each.name, _reader(types[each.name]), default)
    try:
        return Values(**found)
    except UsageError as error:
        key = error.message.split(" ", 1)[0]
        section.report(error.message, error.remedy, key if section.has(key) else "")
        return Values()


def _reader(kind: Any) -> Callable[[Node], Any]:
    if kind is str:
        return _loose_text
    if kind is bool:
        return flag
    if kind is int:
        return integer(0, MOST)
    if kind is float:
        return number(0, 1)
    if kind is Entry:
        return choice(Entry)
    return _ports


def _loose_text(node: Node) -> str:
    """Text, or a number as it is written: ``cpus: 2`` is a quantity."""
    return node.text if isinstance(node, Scalar) and node.text.replace(".", "", 1).isdigit() else text(node)


def _ports(node: Node) -> tuple[int, ...]:
    """Reads ``443, 5432``."""
    try:
        found = tuple(int(part) for part in text(node).split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < port < 65_536 for port in found):
        raise PipelineError("must be ports, separated by commas", remedy="write it like '443, 5432, 6379'")
    return found
