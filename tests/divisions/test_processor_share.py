"""What a process that gives way is for Linux. Each test asks a process of its own: nobody can take it back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = """
import json, os, pathlib, threading
def text(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""
def report():
    print(json.dumps({
        "pid": os.getpid(), "session": os.getsid(0), "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "autogroup": text("/proc/self/autogroup"), "sched": text("/proc/thread-self/sched"),
    }))
"""


def told(code, **options):
    command = [sys.executable, "-c", REPORT + code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, **options)
    assert not shown.stderr
    return json.loads(shown.stdout)


def slice_ns(report):
    lines = [line for line in report["sched"].splitlines() if line.startswith("se.slice")]
    return int(lines[0].rpartition(":")[2]) if lines else None


def test_it_gives_way_in_a_session_of_its_own():
    before = os.getpriority(os.PRIO_PROCESS, 0)
    found = told("from divisions.processor_share import give_way\ngive_way()\nreport()")
    assert found["session"] == found["pid"]
    assert found["niceness"] == min(before + 10, 19)
    if found["autogroup"]:
        assert found["autogroup"].split() == [found["autogroup"].split()[0], "nice", "10"]


def test_its_threads_have_its_short_slice():
    code = "from divisions.processor_share import give_way\ngive_way()\n"
    found = told(code + "thread = threading.Thread(target=report)\nthread.start()\nthread.join()")
    if slice_ns(told("report()")) is None or tuple(map(int, os.uname().release.split(".")[:2])) < (6, 12):
        pytest.skip("this kernel has no slices of processes")
    assert slice_ns(found) == 100_000


def test_a_session_of_others_is_left_as_it_is():
    """A leader of a group in another's session cannot begin one."""
    if not Path("/proc/self/autogroup").exists():
        pytest.skip("this kernel has no autogroups")
    code = "from divisions.processor_share import give_way\nos.setpgid(0, 0)\ngive_way()\nreport()"
    found = told(code)
    assert found["session"] == os.getsid(0)
    assert found["autogroup"] == Path("/proc/self/autogroup").read_text()


def test_what_the_system_lacks_or_forbids_is_left_out():
    code = """
from divisions import processor_share
processor_share._AUTOGROUP = pathlib.Path("/proc/self/none")
processor_share._SCHED_SETATTR = {}
processor_share.give_way()
report()
"""
    assert told(code)["niceness"] >= 10
