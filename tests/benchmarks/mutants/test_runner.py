"""Mutants of a small tree: killed by their own tests or a neighbour's, timed out, or survived."""

from pathlib import Path

import pytest

from benchmarks.mutants import runner as runners
from benchmarks.mutants import targets
from benchmarks.mutants.__main__ import equivalents, identity, report
from benchmarks.mutants.operators import mutations
from benchmarks.mutants.runner import Baselines, Fate, Runner, Verdict
from benchmarks.mutants.targets import Mutant, modules, neighbouring_tests, own_tests, sample

ROOT = Path(__file__).parents[3]
SOURCE = "def grown(x):\n    return x + 1\n\n\ndef bounded(x):\n    return x < 10\n"
OWN = "from router.evidence.toy import grown\n\n\ndef test_it():\n    assert grown(1) == 2\n"
NEIGHBOUR = "from router.evidence.toy import bounded\n\n\ndef test_it():\n    assert not bounded(10)\n"


@pytest.fixture
def root(tmp_path):
    files = {
        "router/evidence/toy.py": SOURCE,
        "router/__init__.py": "",
        "router/evidence/__init__.py": "",
        "router/control/ray_toy.py": "x = 1",
        "divisions/toy.py": "y = 2",
        "tests/router/evidence/test_toy.py": OWN,
        "tests/router/evidence/test_neighbour.py": NEIGHBOUR,
        "tests/conftest.py": "from hypothesis import settings\nsettings.register_profile('quick')\n",
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\naddopts = "--import-mode=importlib"\n',
    }
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "root"


def mutant(root, change):
    module = "router/evidence/toy.py"
    (found,) = [each for each in mutations((root / module).read_bytes()) if each.change == change]
    return Mutant(module, found, "return")


def test_modules_leave_out_shells_and_packages(root):
    assert modules(root) == ["divisions/toy.py", "router/evidence/toy.py"]
    assert modules(root, ["router/"]) == ["router/evidence/toy.py"]


def test_a_sample_repeats_with_its_seed_and_has_no_mutant_twice(root):
    first = sample(root, 4, seed=7)
    assert first == sample(root, 4, seed=7)
    assert first != sample(root, 4, seed=8)
    assert len({(each.where, each.mutation.change) for each in sample(root, 100, seed=7)}) == len(sample(root, 100, 7))


def test_a_module_has_its_own_tests_and_its_wing_s(root):
    assert own_tests(root, "router/evidence/toy.py") == ("tests/router/evidence/test_toy.py",)
    assert neighbouring_tests(root, "router/evidence/toy.py") == ("tests/router/evidence",)
    assert own_tests(root, "divisions/toy.py") == ()


def test_every_module_has_tests_around_it():
    assert all(neighbouring_tests(ROOT, module) for module in modules(ROOT))


def test_each_neighbour_exists():
    for tests in targets.NEIGHBOURS.values():
        for name in tests:
            assert (ROOT / name).exists(), name


def test_verdicts(root, tmp_path):
    runner = Runner(root, tmp_path / "work", Baselines())
    killed = runner.verdict(mutant(root, "+ -> -"))
    assert (killed.fate, killed.by) == (Fate.KILLED, ("tests/router/evidence/test_toy.py",))
    by_neighbour = runner.verdict(mutant(root, "< -> <="))
    assert (by_neighbour.fate, by_neighbour.by) == (Fate.KILLED, ("tests/router/evidence",))
    assert runner.verdict(mutant(root, "10 -> 20")).fate is Fate.KILLED
    (root / "tests/router/evidence/test_toy.py").write_text("def test_it():\n    pass\n")
    assert Runner(root, tmp_path / "other", Baselines()).verdict(mutant(root, "+ -> -")).fate is Fate.SURVIVED
    assert (root / "router/evidence/toy.py").read_text() == SOURCE


def test_a_mutant_that_loops_for_ever_costs_a_few_times_as_long_as_its_tests(root, tmp_path, monkeypatch):
    monkeypatch.setattr(runners, "SPARE_S", 1.0)
    (root / "router/evidence/toy.py").write_text(
        "def counted():\n    x = 0\n    while x < 9:\n        x += 1\n    return x\n"
    )
    (root / "tests/router/evidence/test_toy.py").write_text(
        "from router.evidence.toy import counted\n\n\ndef test_it():\n    assert counted() == 9\n"
    )
    (root / "tests/router/evidence/test_neighbour.py").unlink()
    verdict = Runner(root, tmp_path / "work", Baselines()).verdict(mutant(root, "+= -> -="))
    assert verdict.fate is Fate.TIMED_OUT


@pytest.mark.parametrize(
    ("passes", "limit_s"), [(True, pytest.approx(runners.SPARE_S, abs=0.1)), (False, None), (None, None)]
)
def test_tests_are_measured_once(passes, limit_s):
    baselines, runs = Baselines(), []
    limits = [baselines.limit_s(("a",), lambda: runs.append("a") or passes) for _ in range(2)]
    assert (limits, runs) == ([limit_s, limit_s], ["a"])


def test_tests_that_fail_by_themselves_say_nothing(root, tmp_path):
    (root / "tests/router/evidence/test_toy.py").write_text("def test_it():\n    assert False\n")
    verdict = Runner(root, tmp_path / "work", Baselines()).verdict(mutant(root, "+ -> -"))
    assert verdict.fate is Fate.UNKNOWN
    found = report([verdict], 7, [])
    assert (found["killed"], found["broken_tests"]) == (0, ["tests/router/evidence/test_toy.py"])


def test_a_report_counts_and_names_survivors(root):
    each = [mutant(root, change) for change in ("+ -> -", "< -> <=", "10 -> 20")]
    fates = (Fate.KILLED, Fate.TIMED_OUT, Fate.SURVIVED)
    found = report([Verdict(one, fate, ()) for one, fate in zip(each, fates, strict=True)], 7, [each[0]])
    assert (found["sampled"], found["equivalent"], found["killed"], found["timed_out"]) == (4, 1, 2, 1)
    assert found["killed_share"] == pytest.approx(0.6667)
    assert found["survived"] == [{"where": "router/evidence/toy.py:6", "change": "10 -> 20", "line": "return"}]


def test_every_equivalent_mutant_exists_and_has_a_reason():
    known = equivalents()
    for module, line, change in known:
        source = (ROOT / module).read_bytes()
        lines = source.decode().splitlines()
        identities = {identity(Mutant(module, each, lines[each.line - 1].strip())) for each in mutations(source)}
        assert (module, line, change) in identities, f"{module}: {line}: remove the entry, its line has changed"
    assert all(known.values())
