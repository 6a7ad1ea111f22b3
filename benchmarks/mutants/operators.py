"""Small changes to Python source, each of which some test should notice. Pure.

A mutation replaces one stretch of a file's text, so that all other lines keep their numbers. Left alone are docstrings,
annotations, decorators, f-strings, log calls, and code for type checkers: changes there are not behaviour.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_SYMBOLS = {
    "Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "Pow": "**",
    "LShift": "<<", "RShift": ">>", "BitAnd": "&", "BitOr": "|",
    "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Eq": "==", "NotEq": "!=",
    "Is": "is", "IsNot": "is not", "In": "in", "NotIn": "not in", "And": "and", "Or": "or",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change to one file. ``line`` counts from 1; ``change`` says it in short, such as ``< -> <=``."""

    line: int
    change: str
    start: int
    stop: int
    text: str

    def applied(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.stop :]


def mutations(source: bytes) -> list[Mutation]:
    """Every mutation of a file, in order of place."""
    places = _Places(source)
    found = sorted(_of_block(ast.parse(source).body, places), key=lambda each: (each.start, each.stop, each.change))
    return list(_numbered(found))


def _numbered(found: list[Mutation]) -> Iterator[Mutation]:
    """The second change of one kind on a line is named ``#2``, so that a line and a change name one mutant."""
    seen: Counter[tuple[int, str]] = Counter()
    for each in found:
        seen[each.line, each.change] += 1
        number = seen[each.line, each.change]
        yield each if number == 1 else replace(each, change=f"{each.change} #{number}")


class _Places:
    """From positions of `ast` (lines, columns in UTF-8 bytes) to offsets in the file."""

    def __init__(self, source: bytes) -> None:
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def change(self, node: ast.expr | ast.stmt, change: str, text: str) -> Mutation:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return Mutation(node.lineno, change, start, self._starts[node.end_lineno - 1] + node.end_col_offset, text)


def _of_block(body: list[ast.stmt], places: _Places) -> Iterator[Mutation]:
    for statement in body:
        if _is_docstring(statement) or _is_for_types(statement) or _is_log(statement):
            continue
        yield from _removals(statement, places)
        for child in _children(statement):
            yield from _of_block([child], places) if isinstance(child, ast.stmt) else _of_tree(child, places)


def _of_tree(node: ast.AST, places: _Places) -> Iterator[Mutation]:
    if isinstance(node, ast.JoinedStr):
        return
    if isinstance(node, ast.expr):
        yield from _of_expression(node, places)
    for child in _children(node):
        yield from _of_block([child], places) if isinstance(child, ast.stmt) else _of_tree(child, places)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    skipped = {"annotation", "returns", "decorator_list", "type_params"}
    for name, value in ast.iter_fields(node):
        if name in skipped or (name == "bases" and isinstance(node, ast.ClassDef)):
            continue
        if name == "keywords" and isinstance(node, ast.ClassDef):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                yield each


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_for_types(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        names = {target.id for target in statement.targets if isinstance(target, ast.Name)}
        return bool(names & {"__all__", "__slots__"}) or "TypeVar" in ast.unparse(statement.value)
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"


def _is_log(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and ast.unparse(statement).startswith(("log.", "_log.", "logging."))


def _removals(statement: ast.stmt, places: _Places) -> Iterator[Mutation]:
    match statement:
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Delete():
            yield places.change(statement, f"removed: {_first_line(statement)}", "pass")
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield places.change(statement, f"removed: {_first_line(statement)}", "pass")
        case ast.Continue():
            yield places.change(statement, "continue -> break", "break")
        case ast.Break():
            yield places.change(statement, "break -> continue", "continue")
    match statement:
        case ast.If(test=test) | ast.While(test=test):
            yield places.change(test, f"condition negated: {_first_line(test)}", f"not ({ast.unparse(test)})")
        case ast.AugAssign(target=target, op=op, value=value) if type(op) in _ARITHMETIC:
            other = _ARITHMETIC[type(op)]
            text = f"{ast.unparse(target)} {_symbol(other)}= {ast.unparse(value)}"
            yield places.change(statement, f"{_symbol(type(op))}= -> {_symbol(other)}=", text)


def _of_expression(node: ast.expr, places: _Places) -> Iterator[Mutation]:
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                for other in _COMPARISONS[type(op)]:
                    changed = ast.Compare(node.left, [*ops[:index], other(), *ops[index + 1 :]], node.comparators)
                    yield _parenthesised(places, node, changed, _arrow(type(op), other))
        case ast.BoolOp(op=op, values=values):
            opposite = ast.Or if isinstance(op, ast.And) else ast.And
            yield _parenthesised(places, node, ast.BoolOp(opposite(), values), _arrow(type(op), opposite))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC and not _is_text(left, right):
            changed_op = _ARITHMETIC[type(op)]
            yield _parenthesised(places, node, ast.BinOp(left, changed_op(), right), _arrow(type(op), changed_op))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield _parenthesised(places, node, operand, f"not removed: {_first_line(node)}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            yield _parenthesised(places, node, operand, f"minus removed: {_first_line(node)}")
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield _parenthesised(places, node, ast.IfExp(test, orelse, body), f"branches swapped: {_first_line(test)}")
        case ast.Call(func=ast.Name(id=name) as function) if name in _CALLS:
            yield places.change(function, f"{name} -> {_CALLS[name]}", _CALLS[name])
        case ast.Constant(value=value):
            other_value = _other_constant(value)
            if other_value is not None:
                yield places.change(node, f"{value!r} -> {other_value!r}", repr(other_value))


def _other_constant(value: object) -> object:
    match value:
        case bool():
            return not value
        case int():
            return value + 1 if abs(value) < 10 else value * 2
        case float():
            return 1.0 if value == 0 else value * 2
    return None


def _is_text(*operands: ast.expr) -> bool:
    return any(isinstance(each, ast.JoinedStr) or isinstance(getattr(each, "value", None), str) for each in operands)


def _parenthesised(places: _Places, node: ast.expr, changed: ast.expr, change: str) -> Mutation:
    return places.change(node, change, f"({ast.unparse(ast.fix_missing_locations(changed))})")


def _symbol(kind: type[ast.AST]) -> str:
    return _SYMBOLS[kind.__name__]


def _arrow(before: type[ast.AST], after: type[ast.AST]) -> str:
    return f"{_symbol(before)} -> {_symbol(after)}"


def _first_line(node: ast.AST) -> str:
    line = ast.unparse(node).partition("\n")[0]
    return line if len(line) <= 60 else f"{line[:57]}..."
