"""`make test` fails for a fault, and names a test that fails only beside others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.twice import FEW, is_worth_another_run

ROOT = Path(__file__).parents[1]
STARVED = 'import os\ndef test_starved(): assert "PYTEST_XDIST_WORKER" not in os.environ\n'
SOUND = "def test_sound(): pass\n"


@pytest.mark.parametrize(
    ("status", "failed", "again"),
    [(1, 1, True), (1, FEW, True), (1, FEW + 1, False), (1, 0, False), (0, 1, False), (2, 1, False), (3, 1, False)],
)
def test_only_a_few_failed_tests_run_again(status: int, failed: int, again: bool) -> None:
    assert is_worth_another_run(status, failed) is again


@pytest.mark.parametrize(
    ("tests", "status", "said"),
    [
        ({"test_a.py": SOUND, "test_b.py": STARVED}, 0, "Mend what they wait for:\n  test_b.py::test_starved"),
        ({"test_a.py": STARVED, "test_b.py": "def test_broken(): assert False\n"}, 1, "1 failed, 1 passed"),
    ],
)
def test_a_fault_fails_twice(tests: dict[str, str], status: int, said: str, tmp_path: Path) -> None:
    for name, text in tests.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ended = subprocess.run(
        [sys.executable, ROOT / "tests/twice.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == status, ended.stdout
    assert said in ended.stdout
