"""What is changed in a source, and what is left alone."""

import ast

import pytest

from benchmarks.mutants.operators import mutations


def changed(source):
    return {each.change: each.applied(source.encode()).decode() for each in mutations(source.encode())}


@pytest.mark.parametrize(
    ("source", "change", "expected"),
    [
        ("x = a < b", "< -> <=", "x = (a <= b)"),
        ("x = a < b", "< -> >", "x = (a > b)"),
        ("x = a is not None", "is not -> is", "x = (a is None)"),
        ("x = a in b", "in -> not in", "x = (a not in b)"),
        ("x = 1 < a <= n", "<= -> <", "x = (1 < a < n)"),
        ("x = a and b", "and -> or", "x = (a or b)"),
        ("x = a + b * c", "+ -> -", "x = (a - b * c)"),
        ("x = a * b + c", "* -> /", "x = (a / b) + c"),
        ("x = not a", "not removed: not a", "x = (a)"),
        ("x = a if c else b", "branches swapped: c", "x = (b if c else a)"),
        ("x = min(a, b)", "min -> max", "x = max(a, b)"),
        ("x = 0.0", "0.0 -> 1.0", "x = 1.0"),
        ("x = 4096", "4096 -> 8192", "x = 8192"),
        ("x = True", "True -> False", "x = False"),
        ("a.x = b", "removed: a.x = b", "pass"),
        ("a += b", "+= -> -=", "a -= b"),
        ("f(x)", "removed: f(x)", "pass"),
        ("raise E", "removed: raise E", "pass"),
        ("if a:\n    pass", "condition negated: a", "if not (a):\n    pass"),
        ("for a in b:\n    continue", "continue -> break", "for a in b:\n    break"),
    ],
)
def test_a_change(source, change, expected):
    assert changed(source)[change] == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring with 1 < 2."""',
        "x: Literal[1]",
        "def f(a: Literal[1]) -> Literal[2]:\n    return a",
        "@cache(1)\ndef f():\n    return a",
        "class A(B, frozen=True):\n    __slots__ = ('a', 'b')",
        "if TYPE_CHECKING:\n    import a",
        "log.warning('%d', 1)",
        "x = f'{1}'",
        "x = 'a' + 'b'",
        "def f():\n    return a",
    ],
)
def test_what_is_no_behaviour_is_left_alone(source):
    assert changed(source) == {}


def test_the_second_change_of_a_kind_on_a_line_has_a_number():
    assert changed("x = a < b or c < d")["< -> <="] == "x = (a <= b) or c < d"
    assert changed("x = a < b or c < d")["< -> <= #2"] == "x = a < b or (c <= d)"


def test_places_count_bytes_and_lines():
    source = "# größer → kleiner\nname = 'ä' if a < b else c\n"
    (found,) = [each for each in mutations(source.encode()) if each.change == "< -> <="]
    assert found.line == 2
    assert found.applied(source.encode()).decode().splitlines()[1] == "name = 'ä' if (a <= b) else c"


def test_every_mutant_of_a_real_module_is_python_and_differs():
    with open(mutations.__code__.co_filename, "rb") as file:
        source = file.read()
    found = mutations(source)
    assert len(found) > 50
    for each in found:
        assert ast.dump(ast.parse(each.applied(source))) != ast.dump(ast.parse(source))
