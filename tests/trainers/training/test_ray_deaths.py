"""Ray's texts about a dead worker, in one line that names the process, the machine and a remedy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.training.ray_deaths import death_of, first_line, told

# As Ray 2.60 prints them; the process was killed.
RAYLET = (
    "A worker died or was killed while executing a task by an unexpected system error. To troubleshoot the problem,"
    " check the logs for the dead worker. Lease ID: 0000 Worker ID: 5282 Node ID: f178 Worker IP address: 192.0.2.7"
    " Worker port: 38595 Worker PID: 21526 Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits"
    " with a connection error code 2. End of file. Some common causes include: (1) the process was killed by the OOM"
    " killer due to high memory usage, (2) ray stop --force was called"
)
ACTOR = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: RayTrainWorker\n\tactor_id: 8a2f\n"
    "\tpid: 4711\n\tnamespace: divisions\n\tip: 10.0.0.3\nThe actor is dead because its worker process has died."
)
LOW = "Task was killed due to the node running low on memory.\nMemory on the node (IP: 10.0.0.9, ID: ab) was 7GB / 8GB"


@pytest.mark.parametrize(
    ("kind", "text", "what", "remedy"),
    [
        ("", RAYLET, "process 21526 on 192.0.2.7 was killed, or it crashed", "out-of-memory killer"),
        ("ActorDiedError", ACTOR, "process 4711 on 10.0.0.3 was killed, or it crashed", "dmesg"),
        ("OutOfMemoryError", LOW, "a process on 10.0.0.9 was stopped, as its machine ran out of memory", "more memory"),
        ("WorkerCrashedError", "The worker died unexpectedly.", "a process was killed, or it crashed", "dmesg"),
        ("NodeDiedError", "Node died. (ip=fd00::1, x)", "the machine of a process on fd00::1 has left", "check that"),
        ("ObjectLostError", "Failed to retrieve 0a", "data was lost with the process that held it", "run again"),
        ("ObjectStoreFullError", "full", "the disk or the object store of a machine is full", "free some room"),
        ("LocalRayletDiedError", "gone", "Ray on this machine has ended", "divisions status"),
        ("RuntimeEnvSetupError", "no pip", "the environment of the task could not be set up: no pip", "mend it"),
        ("NewError", "\n\n  odd\nmore", "a process failed: odd", "run again"),
        ("NewError", "", "a process failed: NewError", "run again"),
    ],
)
def test_an_error_says_what_where_and_what_to_do(kind, text, what, remedy):
    death = death_of(kind, text)
    assert death.what.startswith(what)
    assert remedy in death.remedy


def test_colours_do_not_hide_the_process():
    coloured = "\x1b[36mray::prepare()\x1b[39m (pid=7, ip=10.0.0.1)"
    assert death_of("WorkerCrashedError", coloured).what.startswith("process 7 on 10.0.0.1")
    assert first_line(coloured) == "ray::prepare() (pid=7, ip=10.0.0.1)"


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (RAYLET, "process 21526 on 192.0.2.7 was killed, or it crashed: if this repeats, look for"),
        ("Task p failed. There are 1 retries remaining, so it will be retried. Error: ", "Ray starts the task again"),
        ("Task p failed. There is 1 retries remaining", "Ray starts the task again, at most 1 more time"),
        ("\n  The autoscaler is tired.\nIt sleeps.", "Ray says: The autoscaler is tired."),
    ],
)
def test_a_message_of_ray_becomes_one_line(message, line):
    assert told(message).startswith(line)


@given(st.sampled_from(["", "ActorDiedError", "OutOfMemoryError", "X"]), st.text() | st.text(" :=pid,ip0.\n\x1b[m"))
def test_any_text_gives_one_bounded_line(kind, text):
    for line in (str(death_of(kind, text)), told(text)):
        assert len(line) < 600
        assert "\n" not in line
