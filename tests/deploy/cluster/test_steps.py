"""The process that works with Ray, as its parent sees it: steps, errors, silence, death."""

from __future__ import annotations

import sys
import time

import pytest

from deploy.cluster.steps import follow
from deploy.supervision.processes import is_alive, start_ticks
from divisions.clock import SystemClock
from divisions.environment import inherited_environment
from divisions.errors import ClusterError, NotRunningError

SAY = "from deploy.cluster.steps import *\nimport sys, time, os\n"


class Told:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def step_started(self, name):
        self.lines.append(f"begin {name}")

    def step_finished(self, name, seconds, detail):
        self.lines.append(f"end {name}")

    def step_failed(self, name, seconds):
        self.lines.append(f"fail {name}")

    def notice(self, text):
        self.lines.append(text)


def run(code, tmp_path, told=None, silence_s=120.0):
    return follow(
        ["-c", SAY + code], inherited_environment() | {"PYTHONPATH": ":".join(sys.path)}, tmp_path / "log",
        told or Told(), SystemClock(), silence_s,
    )  # fmt: skip


def test_steps_are_shown_and_the_result_is_returned(tmp_path):
    told = Told()
    code = "print('noise'); say(Step('one')); say(Beat()); say(Notice('look')); say(Step('two')); say(Done({'a': 'b'}))"
    assert run(code, tmp_path, told) == {"a": "b"}
    begun = ["begin Connect to Ray", "end Connect to Ray", "begin one", "end one", "look", "begin two", "end two"]
    assert told.lines == begun


def test_an_error_of_ours_keeps_its_class_and_remedy(tmp_path):
    code = (
        "from divisions.errors import *\n"
        "def work():\n say(Step('one'))\n raise NotRunningError('it is away', remedy='start it')\n"
        "sys.exit(report(work))"
    )
    told = Told()
    with pytest.raises(NotRunningError, match="it is away") as caught:
        run(code, tmp_path, told)
    assert caught.value.remedy == "start it"
    assert told.lines[-1] == "fail one"


def test_a_crash_names_its_cause_and_the_log(tmp_path):
    with pytest.raises(ClusterError, match="one: RuntimeError: no memory") as caught:
        run("say(Step('one'))\nraise RuntimeError('no memory')", tmp_path)
    assert str(tmp_path / "log") in caught.value.remedy


def test_a_silent_process_is_given_up_and_killed(tmp_path):
    code = "open(%r, 'w').write(str(os.getpid()))\nsay(Step('one'))\ntime.sleep(600)"
    with pytest.raises(ClusterError, match="one: the cluster has not answered for 8 s"):
        run(code % str(tmp_path / "pid"), tmp_path, silence_s=8.0)
    pid = int((tmp_path / "pid").read_text())
    assert not is_alive(pid, start_ticks(pid) or -1)


def test_beats_keep_a_long_step_alive(tmp_path):
    started_s = time.monotonic()
    code = "say(Step('one'))\nfor _ in range(18):\n time.sleep(0.5)\n say(Beat())\nsay(Done({}))"
    assert run(code, tmp_path, silence_s=8.0) == {}
    assert time.monotonic() - started_s > 8.0
