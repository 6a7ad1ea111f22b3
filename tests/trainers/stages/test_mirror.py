"""A run is sent by a process. Here it is another one, which fails, hangs or says what it has got."""

import os
import sys
import time

from divisions.settings import Settings
from trainers.stages.mirror import mirror


class Notices:
    def __init__(self):
        self.told = []

    def notice(self, text):
        self.told.append(text)


def told(home, text, project="models", patience_s=120.0):
    notices = Notices()
    settings = Settings(home=home, wandb_project=project)
    mirror(settings, "ab12", notices, [sys.executable, "-c", text], patience_s)
    return notices.told


def test_what_the_process_has_said_is_told_and_it_has_the_settings(tmp_path):
    text = "import os, sys; print('run', sys.argv[1], 'is in', os.environ['DIVISIONS_WANDB_PROJECT'])"
    assert told(tmp_path / "home", text) == ["run ab12 is in models"]


def test_a_failure_is_one_notice_with_the_way_to_try_again(tmp_path):
    (notice,) = told(tmp_path, "import sys; print('noise'); sys.exit('error: no key')")
    assert notice == (
        "the run was not sent to Weights & Biases: error: no key; `divisions runs mirror ab12` sends it again"
    )


def test_a_process_that_hangs_is_ended_with_its_own_processes(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    child = f"import time; pipe = open({str(pipe)!r}, 'w'); time.sleep(600)"
    text = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(600)"
    (notice,) = told(tmp_path, text, patience_s=4.0)
    assert notice.startswith("Weights & Biases did not take the run within 4 s; ")
    for _ in range(600):  # the kernel may take a moment to end the child
        if is_closed(reader):
            break
        time.sleep(0.1)
    assert is_closed(reader)
    os.close(reader)


def is_closed(reader):
    """Whether no process has the pipe's other end."""
    try:
        return os.read(reader, 1) == b""
    except BlockingIOError:
        return False


def test_a_home_that_cannot_be_written_does_not_end_the_run(tmp_path):
    (tmp_path / "home").write_text("")
    (notice,) = told(tmp_path / "home", "pass")
    assert notice.startswith("the run was not sent to Weights & Biases: ")


def test_without_a_project_nothing_is_started(tmp_path):
    assert told(tmp_path / "home", "raise SystemExit(1)", project="") == []
    assert not (tmp_path / "home").exists()
