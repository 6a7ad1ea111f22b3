"""docs/sdk.md: its code can be read, and its table has the methods with all that they take."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path

import pytest

from divisions import Client

TEXT = (Path(__file__).parents[3] / "docs" / "sdk.md").read_text()
BLOCKS = [textwrap.dedent(each) for each in re.findall(r"(?:^    .*\n|^\n(?=    ))+", TEXT, re.MULTILINE)]
ROWS = re.findall(r"^\| `(\w+)\((.*?)\)` \|", TEXT, re.MULTILINE)


@pytest.mark.parametrize("code", BLOCKS)
def test_its_code_calls_methods_that_exist(code):
    compile(code, "docs/sdk.md", "exec")
    called = re.findall(r"client\.(\w+)\(", code)
    assert all(hasattr(Client, name) for name in called)


def test_there_is_code():
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("name", sorted({name for name, _ in ROWS}))
def test_its_table_names_all_that_a_method_takes(name):
    taken = set(inspect.signature(getattr(Client, name)).parameters) - {"self"}
    told = {each.strip().partition("=")[0] for row, text in ROWS if row == name for each in text.split(",")}
    assert told == taken or (name == "register" and taken == {"source"} and told == {"run", "version"})
