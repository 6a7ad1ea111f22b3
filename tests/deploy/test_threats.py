"""docs/threats.md names tests that exist for each defence. What must hold for all code is held here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threats.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]
TOLD_TO_HOLD = (  # each defence that the design asks for, by words of its row
    "malformed JSON",
    "deep nesting",
    "float32",
    "stands twice",
    "wrong type, shape",
    "oversize body",
    "slow head, slow body",
    "smuggling",
    "DNS rebinding",
    "another site",
    "without a check of who asks",
    "what decides or records is down",
    "names with `..`",
    "archive with links",
    "pickled code",
    "ONNX with data outside",
    "TensorRT plan",
    "expressions of gates",
    "`${…}`",
    "YAML with tags",
    "addresses of the inside",
    "script in the page",
    "secrets in logs",
    "lines forged in a log",
    "labels of metrics",
    "open ports of Ray",
    "shed, late and unknown",
    "one caller that takes the others' room",
)
LOADS_CODE = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
RUNS_TEXT = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def named_in(row: list[str]) -> list[str]:
    return re.findall(r"`(tests/[^`]+)`", row[-1])


def functions(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_has_a_defence_and_tests_that_exist():
    assert len(ROWS) > len(TOLD_TO_HOLD)
    for row in ROWS:
        assert len(row) in {3, 4}, row[0]  # a row without an answer has an empty cell
        assert row[1], row[0]
        assert named_in(row), f"no test is named for: {row[0]}"
        for test in named_in(row):
            path, _, name = test.partition("::")
            assert (ROOT / path).is_file(), f"{row[0]}: there is no {path}"
            assert name in functions(path), f"{row[0]}: {path} has no {name}"


@pytest.mark.parametrize("words", TOLD_TO_HOLD)
def test_each_defence_of_the_design_has_its_row(words):
    assert [row[0] for row in ROWS if words in row[0] or words in row[1]], words


def test_the_product_loads_no_code_from_data():
    """No pickles, no text that is run, no shell: what a file, a model or a caller brings stays data."""
    found = []
    for package in ("divisions", "router", "serving", "trainers", "deploy"):
        for path in (ROOT / package).rglob("*.py"):
            found += [f"{path.relative_to(ROOT)}:{line} {what}" for line, what in _dangers(ast.parse(path.read_text()))]
    assert found == []


def _dangers(tree: ast.AST) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            found += [(node.lineno, f"imports {name}") for name in names if name.partition(".")[0] in LOADS_CODE]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg}
        if name in RUNS_TEXT or name.endswith(".extractall"):
            found.append((node.lineno, name))
        if name in {"torch.load", "np.load", "numpy.load"}:
            safe = {"torch.load": ("weights_only", "True")}.get(name, ("allow_pickle", "False"))
            if given.get(safe[0]) != safe[1]:
                found.append((node.lineno, f"{name} without {safe[0]}={safe[1]}"))
        if given.get("shell") == "True" or given.get("allow_pickle") == "True":
            found.append((node.lineno, f"{name} with shell or pickles"))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "np.load(path)",
        "torch.load(path, weights_only=False)",
        "subprocess.run(command, shell=True)",
        "archive.extractall(folder)",
    ],
)
def test_what_is_dangerous_is_seen(text):
    assert _dangers(ast.parse(text))
