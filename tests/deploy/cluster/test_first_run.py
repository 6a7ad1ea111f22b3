"""Imports beside the start of a cluster: what they may not do, and that they end."""

import itertools
import subprocess
import sys
from dataclasses import replace

import pytest

from deploy.cluster.first_run import importing, is_first
from divisions.settings import load_settings


def test_only_an_embedded_registry_that_is_not_there_yet_is_a_first_run(tmp_path):
    settings = replace(load_settings(), home=tmp_path, tracking_uri="")
    assert is_first(settings)
    assert not is_first(replace(settings, tracking_uri="https://mlflow.example"))
    (tmp_path / "mlflow.db").touch()
    assert not is_first(settings)


def test_all_is_imported_but_ray_which_would_read_the_environment_too_early():
    script = """
import sys
from deploy.cluster.first_run import MODULES, importing
with importing() as thread:
    thread.join()
print(*[name for name in MODULES if name not in sys.modules])
print(*[name for name in sys.modules if name == "ray"])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_no_import_begins_after_the_block_however_that_ends():
    with pytest.raises(KeyboardInterrupt), importing(itertools.repeat("json")) as thread:
        raise KeyboardInterrupt
    thread.join()


def test_a_module_that_cannot_be_imported_is_left_to_who_needs_it():
    with importing(["no_such_module_of_divisions"]) as thread:
        thread.join()
