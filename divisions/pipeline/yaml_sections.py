"""From YAML nodes to typed values: sections with known keys, and readers of single values.

A `Section` is a context manager. The keys that are read inside it are its valid keys; its exit reports every other key.
Problems are collected, so that one run shows all problems of a file.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from divisions.errors import PipelineError
from divisions.pipeline.expressions import nearest, parse_number
from divisions.pipeline.yaml_nodes import Mapping, Node, Place, Scalar, Sequence

T = TypeVar("T")
EnumT = TypeVar("EnumT", bound=enum.StrEnum)
Reader = Callable[[Node], T]
"""Turns a node into a value, or raises `PipelineError` without a position; the node's position is added."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_MAX_ITEMS = 1_000


class Problems:
    """The errors of one file, in the order of their discovery."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._errors: list[PipelineError] = []

    def add(self, error: PipelineError, place: Place, name: str) -> None:
        line, column = (error.line, error.column) if error.line else (place.line, place.column)
        message = f"{name}: {error.message}" if name else error.message
        self._errors.append(PipelineError(message, remedy=error.remedy, path=self._path, line=line, column=column))

    def raise_any(self) -> None:
        """Raises the first error of the file, with the others attached. Does nothing without errors."""
        if not self._errors:
            return
        first, *others = sorted(self._errors, key=lambda error: (error.line, error.column))
        first.others = tuple(others)
        raise first


class Section:
    """One mapping of the file. ``mapping`` is None for an absent section, which has only defaults."""

    def __init__(self, mapping: Mapping | None, name: str, problems: Problems) -> None:
        self._mapping = mapping
        self._entries = {entry.key.text: entry for entry in mapping.entries} if mapping else {}
        self._name = name
        self._problems = problems
        self._known: list[str] = []

    def __enter__(self) -> Section:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key, entry in self._entries.items():
            if key not in self._known:
                near = nearest(key, self._known)
                hint = f"did you mean {near!r}? The" if near else "remove it; the"
                where = f"in {self._name}" if self._name else "at the top of the file"
                remedy = f"{hint} keys {where} are {', '.join(self._known)}"
                self._problems.add(
                    PipelineError(f"unknown key {_short(key)}", remedy=remedy), entry.key.place, self._name
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The keys of a section whose keys are names of the user's, in order."""
        return tuple(self._entries)

    @property
    def is_empty(self) -> bool:
        """It stands in the file, without any key."""
        return self._mapping is not None and not self._entries

    def has(self, key: str) -> bool:
        return key in self._entries

    def line(self, key: str) -> int:
        """The line of a key that is there."""
        return self._entries[key].key.place.line

    def has_section(self, key: str) -> bool:
        """Whether the key's value is a section, where a text is possible, too."""
        return key in self._entries and isinstance(self._entries[key].value, Mapping)

    def take(self, key: str, read: Reader[T], default: T) -> T:
        """The key's value, or ``default`` if it is absent or wrong. A wrong value is reported."""
        self._known.append(key)
        entry = self._entries.get(key)
        if entry is None:
            return default
        try:
            return read(entry.value)
        except PipelineError as error:
            self._problems.add(error, entry.value.place, self._dotted(key))
            return default

    def require(self, key: str, read: Reader[T], placeholder: T) -> T:
        """The key's value. If it is absent, that is reported, and ``placeholder`` is returned."""
        self._report_missing(key)
        return self.take(key, read, placeholder)

    def section(self, key: str, *, is_required: bool = False) -> Section:
        """The section under ``key``."""
        if is_required:
            self._report_missing(key)
        return Section(self.take(key, _mapping, None), self._dotted(key), self._problems)

    def report(self, message: str, remedy: str, key: str = "") -> None:
        """Reports a problem of the section as a whole, or of one key in combination with others."""
        if self._mapping is not None:
            place = self._entries[key].value.place if key in self._entries else self._mapping.place
            self._problems.add(PipelineError(message, remedy=remedy), place, self._dotted(key) if key else self._name)

    def _report_missing(self, key: str) -> None:
        if not self.has(key):
            self.report(f"key {key!r} is missing", "add it; see docs/pipeline.md")

    def _dotted(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key


def text(node: Node) -> str:
    """Reads a text. A number or boolean without quotes is refused: ``1.10`` and ``no`` are often meant as text."""
    if not isinstance(node, Scalar):
        raise _wrong("text", node)
    if node.is_plain and _kind(node) != "text":
        raise PipelineError(f"must be text, got {_kind(node)} {node.text}".rstrip(), remedy="put it in quotes")
    return node.text


def parsed(parse: Callable[[str], T]) -> Reader[T]:
    """Reads a text with its own grammar."""
    return lambda node: parse(text(node).strip())


def choice(options: type[EnumT]) -> Reader[EnumT]:
    """Reads one of an enum's values."""

    def read(node: Node) -> EnumT:
        value = text(node)
        if value in {option.value for option in options}:
            return options(value)
        listed = " or ".join(f"'{option.value}'" for option in options)
        raise PipelineError(f"must be {listed}, got {_short(value)}", remedy="choose one of them")

    return read


def optional(read: Reader[T]) -> Reader[T | None]:
    """The same reader, for a key whose default is None."""
    return read


def flag(node: Node) -> bool:
    """Reads true or false."""
    if not (isinstance(node, Scalar) and node.is_plain and node.text.lower() in {"true", "false"}):
        raise _wrong("true or false", node)
    return node.text.lower() == "true"


def integer(low: int, high: int) -> Reader[int]:
    """Reads a whole number in [low, high]."""

    def read(node: Node) -> int:
        wanted = f"a whole number from {low} to {high}"
        if not (isinstance(node, Scalar) and node.is_plain and _INTEGER.fullmatch(node.text)):
            raise _wrong(wanted, node)
        if not low <= int(node.text) <= high:
            raise _wrong(wanted, node)
        return int(node.text)

    return read


def number(low: float, high: float, *, is_low_open: bool = False, is_high_open: bool = False) -> Reader[float]:
    """Reads a number between ``low`` and ``high``. An open end is excluded."""

    def read(node: Node) -> float:
        wanted = (
            f"a number {'above' if is_low_open else 'from'} {low:g} {'and below' if is_high_open else 'to'} {high:g}"
        )
        if not (isinstance(node, Scalar) and node.is_plain):
            raise _wrong(wanted, node)
        try:
            value = parse_number(node.text)
        except ValueError:
            raise _wrong(wanted, node) from None
        is_above = value > low if is_low_open else value >= low
        is_below = value < high if is_high_open else value <= high
        if not (is_above and is_below):
            raise _wrong(wanted, node)
        return value

    return read


def items(read: Reader[T], *, most: int = _MAX_ITEMS) -> Reader[tuple[T, ...]]:
    """Reads a list with at least one item."""

    def read_items(node: Node) -> tuple[T, ...]:
        if not isinstance(node, Sequence):
            raise _wrong("a list", node)
        if not 1 <= len(node.items) <= most:
            raise PipelineError(f"must have 1 to {most} items, got {len(node.items)}", remedy="remove the key or items")
        return tuple(placed(read, item) for item in node.items)

    return read_items


def placed(read: Reader[T], node: Node) -> T:
    """Reads an inner node. Its error has the node's position, unless it has a finer one."""
    try:
        return read(node)
    except PipelineError as error:
        error.line = error.line or node.place.line
        error.column = error.column or node.place.column
        raise


def one_or_items(read: Reader[tuple[T, ...]]) -> Reader[tuple[T, ...]]:
    """Reads one value, or a list of such values, which are joined."""

    def read_both(node: Node) -> tuple[T, ...]:
        if isinstance(node, Sequence):
            return tuple(value for values in items(read)(node) for value in values)
        return read(node)

    return read_both


def _mapping(node: Node) -> Mapping:
    if not isinstance(node, Mapping):
        raise _wrong("a section with keys", node)
    return node


def _kind(node: Scalar) -> str:
    if node.is_plain and node.text in {"", "~", "null", "Null", "NULL"}:
        return "nothing"
    if node.is_plain and node.text.lower() in {"true", "false", "yes", "no", "on", "off"}:
        return "the boolean"
    try:
        parse_number(node.text)
    except ValueError:
        return "text"
    return "the number" if node.is_plain else "text"


def _wrong(wanted: str, node: Node) -> PipelineError:
    if isinstance(node, Sequence):
        return PipelineError(f"must be {wanted}, got a list", remedy="write a single value")
    if isinstance(node, Mapping):
        return PipelineError(f"must be {wanted}, got a section", remedy="write a single value")
    kind = _kind(node)
    if kind == "nothing":
        return PipelineError(
            f"must be {wanted}, got nothing", remedy="write a value, or remove the key for its default"
        )
    shown = f"the text {_short(node.text)}" if kind == "text" else node.text[:60]
    is_quoted_number = not node.is_plain and _kind(Scalar(node.text, True, node.place)) == "the number"
    remedy = "remove the quotes" if is_quoted_number else "write such a value, or remove the key for its default"
    return PipelineError(f"must be {wanted}, got {shown}", remedy=remedy)


def _short(value: str) -> str:
    return repr(value[:60] + "…" if len(value) > 60 else value)
