"""Reads a small, safe part of YAML into nodes that keep their position.

These parts of YAML are refused, with their position: anchors and aliases (they can expand a short text to any size),
tags (they choose types), more than one document, keys that are not text, duplicate keys, deep nesting. Nodes are built
from the event stream of PyYAML's safe loader, so none of its constructors run. Scalars stay text: the reader of a key
knows its type, so ``1e-3`` or ``on`` need no guessing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from divisions.errors import PipelineError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node starts. Both numbers count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Scalar:
    """``is_plain`` means that it has no quotes, so that it may be a number or a boolean."""

    text: str
    is_plain: bool
    place: Place


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Entry:
    key: Scalar
    value: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    entries: tuple[Entry, ...]
    place: Place


Node = Scalar | Sequence | Mapping


def read_nodes(text: str, path: str = "") -> Node:
    """Reads one YAML document.

    Args:
        text: the document.
        path: named in errors.

    Raises:
        PipelineError: the text is not YAML, or uses a part of YAML that is refused (see the module's text).
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise PipelineError(
            f"the file has {size} bytes, more than {MAX_BYTES}",
            remedy="a pipeline file describes one pipeline; split it",
            path=path,
        )
    try:
        return _Builder(text, path).document()
    except yaml.reader.ReaderError as error:
        raise _unprintable(text, error, path) from None
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text, path) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML does not wrap some errors: "\UFFFFFFFF" is no character, %YAML 1.<5,000 digits> no version.
        raise PipelineError(f"this is not YAML: {error}", remedy="check escapes and directives", path=path) from None


class _Builder:
    """Builds nodes from events. Recursion is bounded by MAX_DEPTH."""

    def __init__(self, text: str, path: str) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._path = path

    def document(self) -> Node:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise PipelineError("the file is empty", remedy="see docs/pipeline.md for an example", path=self._path)
        root = self._node(next(self._events), depth=1)
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error("a second document starts here", "keep one pipeline per file, without '---'", after)
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            remedy = f"write the value out; quote a pattern, as in '*{event.anchor}'"
            raise self._error(f"alias '*{event.anchor}' is not allowed", remedy, event)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.anchor is not None:
            raise self._error(f"anchor '&{event.anchor}' is not allowed", "write the value out where it is used", event)
        if event.tag is not None:
            raise self._error(f"tag {event.tag!r} is not allowed", "remove it; types follow from the keys", event)
        if depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels", "no key needs such nesting", event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(tuple(self._node(item, depth + 1) for item in self._until_end()), _place(event))
        return Mapping(tuple(self._entries(depth)), _place(event))

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self._error("an escape names half a character", "write the character itself", event)
        return Scalar(text, event.style is None, _place(event))

    def _entries(self, depth: int) -> Iterator[Entry]:
        first: dict[str, Place] = {}
        for event in self._until_end():
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                raise self._error("a key must be text", "write 'key: value'", event)
            if key.text in first:
                before = first[key.text].line
                raise self._error(f"key {key.text[:64]!r} stands twice", f"remove it, or that of line {before}", event)
            first[key.text] = key.place
            yield Entry(key, self._node(next(self._events), depth + 1))

    def _until_end(self) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            yield event

    def _error(self, message: str, remedy: str, event: yaml.Event) -> PipelineError:
        place = _place(event)
        return PipelineError(message, remedy=remedy, path=self._path, line=place.line, column=place.column)


def _place(event: yaml.Event) -> Place:
    mark = event.start_mark
    assert mark is not None  # the parser always sets it
    return Place(mark.line + 1, mark.column + 1)


def _unprintable(text: str, error: yaml.reader.ReaderError, path: str) -> PipelineError:
    before = text[: error.position]
    return PipelineError(
        f"character U+{ord(text[error.position]):04X} is not allowed in YAML",
        remedy="remove it; it is invisible in most editors",
        path=path,
        line=before.count("\n") + 1,
        column=len(before) - before.rfind("\n"),
    )


def _syntax(error: yaml.MarkedYAMLError, text: str, path: str) -> PipelineError:
    problem = error.problem or error.context or "the text cannot be read"
    mark = error.problem_mark or error.context_mark
    return PipelineError(
        f"this is not YAML: {problem}",
        remedy=_foreign_blank(text) or _syntax_remedy(problem),
        path=path,
        line=mark.line + 1 if mark else 0,
        column=mark.column + 1 if mark else 0,
    )


def _foreign_blank(text: str) -> str:
    """Text from a web page or a chat may be indented with blanks that look like spaces, and are letters to YAML."""
    for number, line in enumerate(text.split("\n"), 1):
        for blank in line[: len(line) - len(line.lstrip())]:
            if blank not in " \t\r\ufeff":
                return f"replace U+{ord(blank):04X}, which looks like a space and begins line {number}, by a space"
    return ""


def _syntax_remedy(problem: str) -> str:
    if "mapping values are not allowed" in problem:
        return 'put quotes around a value that holds a colon, as in trigger: "schedule: 0 2 * * *"'
    if "got '{'" in problem:
        return 'put quotes around a value that holds braces, as in {constant: "${today}"}'
    if "'\\t'" in problem:
        return "indent with spaces, not with tabs"
    if "cannot start any token" in problem:
        return "put quotes around the value"
    return "check indentation, quotes and colons of this line and the one before it"
