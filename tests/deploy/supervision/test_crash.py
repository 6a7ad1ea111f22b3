import pytest

from deploy.supervision.crash import find_cause, find_exits, is_out_of_time, reason_of_end

INFO = "2026-11-26 23:59:01,123\tINFO node.py:437 -- Failed to get node info b'GCS cannot find the node': Error"
WARNING = "2026-11-26 23:59:01,124\tWARNING services.py:1 -- Error in the weather"
ERROR = "2026-11-26 23:59:02,124\tERR scripts.py:1301 -- Some Ray subprocesses exited unexpectedly:"
DEATH = "2026-11-26 23:59:02,124\tERR scripts.py:87 -- gcs_server [exit code=-9]"
TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "node.py", line 440, in __init__',
    "    raise Exception(",
    "Exception: The current node timed out during startup. This could happen because some of the raylet failed",
]


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], ""),
        ([INFO, WARNING], ""),
        ([ERROR, INFO, WARNING], "Some Ray subprocesses exited unexpectedly:"),
        ([*TRACEBACK, INFO], TRACEBACK[-1]),
        ([INFO, "error: the journal is damaged. restore it", INFO], "the journal is damaged. restore it"),
        (["divisions.errors.ClusterError: no", INFO], "divisions.errors.ClusterError: no"),
        (["an Error: in the middle of a line of plain text"], ""),
    ],
)
def test_the_cause_is_the_last_serious_line_and_never_an_information(lines, cause):
    assert find_cause(lines) == cause


def test_a_cause_is_cut():
    assert len(find_cause(["error: " + "x" * 1_000])) == 300


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("gcs_server [exit code=-9]", "gcs_server was killed by SIGKILL"),
        ("raylet [exit code=1]", "raylet ended with status 1"),
        ("raylet [exit code=-99]", "raylet was killed by signal 99"),
    ],
)
def test_the_reason_of_an_end_names_process_and_signal(line, reason):
    assert reason_of_end([ERROR, line, INFO], "unknown") == reason


def test_the_first_process_that_ended_is_the_reason_unless_another_is_known_to_matter():
    lines = [DEATH, "ray_client_server [exit code=1]"]
    assert list(find_exits(lines)) == ["gcs_server", "ray_client_server"]
    assert reason_of_end(lines, "unknown") == "gcs_server was killed by SIGKILL"
    assert reason_of_end(lines, "raylet (pid 7) ended", dead={"raylet"}) == "raylet (pid 7) ended"
    assert reason_of_end(lines, "unknown", dead={"ray_client_server"}) == "ray_client_server ended with status 1"
    # Ray has killed the other one after the first had died.
    assert reason_of_end(lines, "unknown", dead={"raylet", "gcs_server"}) == "gcs_server was killed by SIGKILL"


def test_without_a_word_in_the_log_the_status_must_do():
    assert reason_of_end([INFO], "it ended with status 3") == "it ended with status 3"
    assert reason_of_end([*TRACEBACK, INFO], "it ended with status 3") == TRACEBACK[-1]


def test_only_rays_own_time_limit_is_worth_another_attempt():
    assert is_out_of_time(TRACEBACK[-1])
    assert not is_out_of_time("Start Ray: OSError: no space left on device")
