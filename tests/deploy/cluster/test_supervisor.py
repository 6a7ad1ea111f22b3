"""The supervisor with real processes: whichever process ends, none below it is left."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cluster.processes import is_alive, start_ticks, wait_until

# Like `ray start`: starts a worker in its own session that ignores SIGTERM, and prints its pid.
HEAD = """
import signal, subprocess, sys, time
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
worker = subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True, stdout=subprocess.PIPE)
worker.stdout.readline()
print(worker.pid, flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(3)
"""
# Like `divisions up --foreground`: starts a supervisor, and prints its pid.
PARENT = """
import os, subprocess, sys, time
head = [sys.executable, "-c", sys.argv[1], "60"]
command = [sys.executable, "-m", "deploy.cluster.supervisor", "0.2", str(os.getpid()), "--", *head]
supervisor = subprocess.Popen(command, start_new_session=True, stdout=sys.stdout)
print(supervisor.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def started():
    processes = []

    def start(*arguments):
        process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


def alive(pid):
    ticks = start_ticks(pid)
    return lambda: is_alive(pid, ticks)


def supervise(started, *, head_lives_s=60):
    return started("-m", "deploy.cluster.supervisor", "0.2", "0", "--", sys.executable, "-c", HEAD, str(head_lives_s))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_supervisor_leaves_no_process(started, number):
    supervisor = supervise(started)
    worker_is_alive = alive(int(supervisor.stdout.readline()))
    supervisor.send_signal(number)
    assert supervisor.wait(20) == 0
    assert not worker_is_alive()


def test_when_the_head_ends_its_orphans_are_killed(started):
    supervisor = supervise(started, head_lives_s=0.2)
    worker_is_alive = alive(int(supervisor.stdout.readline()))
    assert supervisor.wait(20) == 1
    assert not worker_is_alive()
    assert "status 3" in supervisor.stdout.read()


def test_when_the_parent_is_killed_the_whole_cluster_ends(started):
    parent = started("-c", PARENT, HEAD)
    pids = [int(parent.stdout.readline()) for _ in range(2)]
    checks = [alive(pid) for pid in pids]
    assert all(check() for check in checks)
    os.kill(parent.pid, signal.SIGKILL)
    assert wait_until(lambda: not any(check() for check in checks), 20.0)
