"""A process that starts the controller, or asks it something, loads no client of the journal's database."""

import subprocess
import sys

SCRIPT = """
import sys
from pathlib import Path
import router.control.ray_handle
assert "ray.serve" not in sys.modules
from divisions.settings import Settings
from router.control import ray_checks, ray_start
ray_checks.find_controller = lambda: None
home = Path(sys.argv[1])
for is_begun in (False, True):
    if is_begun:
        (home / "journal.head").write_text("it had one")
    try:
        ray_checks.check_journal(Settings(home=home))
    except Exception as error:
        print(type(error).__name__)
    print("sqlalchemy" in sys.modules)
"""


def test_the_database_is_loaded_only_where_there_is_a_journal(tmp_path):
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "JournalDamagedError", "True"]
