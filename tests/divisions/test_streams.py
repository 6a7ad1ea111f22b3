"""Standard output of the command line, as processes: any encoding, a full disk, a closed pipe, no stream."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from divisions import cli
from divisions.commands.streams import LOOKALIKES
from divisions.progress import LineProgress

RUN = "import sys; from divisions import cli; cli.prepare_streams(); "
JSON = RUN + "from divisions.commands.output import print_json; print_json({'steps': '20% → 50% é 😀'})"


@pytest.fixture
def python(tmp_path):
    """Runs code with the package importable; returns status, standard output and standard error."""

    def run(code, *arguments, stdout=subprocess.PIPE, **environment):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=os.environ | {"DIVISIONS_HOME": str(tmp_path / "home")} | environment,
            check=False,
        )
        return done.returncode, (done.stdout or b"").decode(), done.stderr.decode()

    return run


def test_marks_have_lookalikes_where_the_encoding_lacks_them(python):
    code = RUN + "print('20% → 50% ✔ └──⧉ é \\udcff 😀')"
    assert python(code, PYTHONIOENCODING="ascii") == (0, "20% -> 50% + `--# \\xe9 \\udcff \\U0001f600\n", "")
    assert python(code, PYTHONIOENCODING="utf-8")[1] == "20% → 50% ✔ └──⧉ é \\udcff 😀\n"


def test_json_stays_json_in_any_encoding(python):
    for encoding in ("ascii", "latin-1", "utf-8"):
        status, out, _ = python(JSON, PYTHONIOENCODING=encoding)
        assert status == 0
        assert json.loads(out) == {"steps": "20% → 50% é 😀"}


def test_every_mark_that_views_draw_has_a_lookalike():
    from divisions.commands import rollout_view

    drawn = {character for character in Path(rollout_view.__file__).read_text() if ord(character) > 127}
    assert drawn <= set(LOOKALIKES) | {"▏"}  # the last is in a comment's example


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models", "list"]])
def test_a_full_disk_is_one_line(python, arguments):
    with open("/dev/full", "wb") as full:
        status, _, err = python(RUN + "sys.exit(cli.execute(sys.argv[1:]))", *arguments, stdout=full)
    assert (status, err) == (1, "error: standard output cannot be written: No space left on device\n")


def test_a_closed_pipe_is_a_silent_end_with_the_status_of_sigpipe(python):
    reader, writer = os.pipe()
    os.close(reader)
    status, _, err = python(RUN + "sys.exit(cli.execute(['--help']))", stdout=writer)
    os.close(writer)
    assert (status, err) == (cli.EXIT_BROKEN_PIPE, "") == (141, "")


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_stream_changes_nothing_else(tmp_path, closed):
    command = f'exec "$0" -m divisions.cli models list {closed}>&-'
    environment = os.environ | {"DIVISIONS_HOME": str(tmp_path / "home")}
    done = subprocess.run(["sh", "-c", command, sys.executable], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_progress_that_cannot_be_written_does_not_end_the_work():
    progress = LineProgress(FullDisk())
    progress.step_started("Train")
    progress.step_finished("Train", 1.0, "")
    progress.notice("still running")
