import subprocess
import sys

import pytest

from divisions.collector import THRESHOLDS

PROGRAM = """
import atexit, gc, runpy, sys
atexit.register(lambda: print("left alone at the end:", gc.get_freeze_count() > 1_000))  # called last
sys.argv[1:] = ["--help"]
try:
    runpy.run_module({module!r}, run_name="__main__")
except SystemExit:
    print("collector", gc.isenabled(), gc.get_threshold())
"""


@pytest.mark.parametrize("module", ["divisions.cli", "trainers"])
def test_a_program_that_imports_much_collects_seldom(module):
    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, text=True, check=True
    )
    assert f"collector True {THRESHOLDS}" in shown.stdout
    assert "left alone at the end: True" in shown.stdout
