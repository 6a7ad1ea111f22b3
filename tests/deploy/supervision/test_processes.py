import os
import subprocess
import sys
import time

import psutil
import pytest

from deploy.supervision.processes import end, find_owned, is_alive, start_ticks, wait_until

SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def started():
    """Starts Python processes; ends those that a test leaves."""
    processes = []

    def start(*arguments, **options):
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, **options)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def identity(process):
    return process.pid, start_ticks(process.pid)


def test_a_zombie_is_not_alive(started):
    process = started("-c", "input()", stdin=subprocess.PIPE)
    pid, ticks = identity(process)
    assert is_alive(pid, ticks)
    assert not is_alive(pid, ticks + 1)
    process.stdin.close()
    assert wait_until(lambda: not is_alive(pid, ticks), 120.0)
    assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_with_brackets_and_blanks_in_its_name_is_identified(started):
    name = "ray::A) b (x"
    naming = f"open('/proc/self/comm', 'w').write({name!r}); print('named', flush=True); input()"
    process = started("-c", naming, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "named\n"
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - start_ticks(process.pid) / os.sysconf("SC_CLK_TCK")
    assert 0.0 <= age_s < 600.0
    assert is_alive(*identity(process))


def test_a_pid_without_a_process_has_no_start():
    assert start_ticks(2**22 + 1) is None  # above the kernel's largest pid
    assert not is_alive(2**22 + 1, 0)


def test_processes_of_a_cluster_are_found_by_command_open_file_and_session(started, tmp_path):
    folder = tmp_path / "runtime"
    folder.mkdir()
    other = tmp_path / "runtime-of-another"
    other.mkdir()
    opening = (
        "import sys, time; file = open(sys.stdin.readline().strip(), 'w'); print('open', flush=True); time.sleep(600)"
    )
    by_command = started("-c", SLEEP, f"--temp-dir={folder}/ray")
    by_file = started("-c", opening, stdin=subprocess.PIPE)
    by_session = started("-c", SLEEP, start_new_session=True)
    foreign = started("-c", SLEEP, f"--temp-dir={other}/ray")
    driver = started("-c", opening, stdin=subprocess.PIPE)
    for process, name in ((by_file, "worker.log"), (driver, "python-core-driver-1.log")):
        process.stdin.write(f"{folder}/{name}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "open\n"
    found = find_owned(folder, session=by_session.pid)
    assert {by_command.pid, by_file.pid, by_session.pid} <= set(found)
    assert not {foreign.pid, driver.pid, os.getpid()} & set(found)


def test_a_pager_that_shows_a_log_of_the_cluster_is_left_alone(tmp_path):
    log = tmp_path / "raylet.log"
    log.write_text("line\n")
    pager = subprocess.Popen(["tail", "-f", str(log)], stdout=subprocess.DEVNULL)
    try:
        assert pager.pid not in find_owned(tmp_path)
    finally:
        pager.kill()
        pager.wait()


def test_ending_asks_first_and_kills_a_process_that_ignores_it(started):
    deaf = started(
        "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    assert deaf.stdout.readline() == "deaf\n"
    polite = started("-c", SLEEP)
    alive = {process.pid: identity(process) for process in (deaf, polite)}
    end(lambda: [pid for pid, one in alive.items() if is_alive(*one)], grace_s=0.2)
    assert deaf.wait() == -9
    assert polite.wait() == -15
