"""The supervisor with real processes: it starts a crashed cluster again, within limits, and never leaves one behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.supervision import cluster_file
from deploy.supervision.cluster_file import Cluster, change_cluster, read_cluster, write_cluster
from deploy.supervision.processes import is_alive, start_ticks, wait_until
from deploy.supervision.supervisor import Limits, Supervisor, _size_of, _StopRequested

PATIENCE_S = 120.0
# Like `ray start`: starts a worker that ignores SIGTERM and a process that must live, each in a session; then is ready.
HEAD = """
import signal, subprocess, sys, time
from pathlib import Path
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
vital = "import time; open('/proc/self/comm', 'w').write('vital'); print(1, flush=True); time.sleep(600)"
pids = []
for code in (deaf, vital):
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    process.stdout.readline()
    pids.append(process.pid)
folder = Path(sys.argv[1])
(folder / "pids").write_text(" ".join(map(str, pids)))
(folder / "runtime" / "ready").touch()
time.sleep(600)
"""
SUPERVISOR = """
import json, os, sys
from pathlib import Path
from deploy.supervision.descendants import adopt_orphans, end_with_parent
from deploy.supervision.launch import Command, Launch
from deploy.supervision.patience import StartLimits
from deploy.supervision.restarts import RestartPolicy
from deploy.supervision import supervisor
from deploy.supervision.supervisor import Limits, Supervisor
home, options = Path(sys.argv[1]), json.loads(sys.argv[2])
def commands():
    return tuple(Command([sys.executable, "-c", options[name], str(home)], os.environ) for name in ("head", "service"))
run = home / "runtime"
def beside(name):
    return Command([sys.executable, "-c", options[name], str(home)], os.environ) if options[name] else None
launch = Launch(
    commands, run, run / "ready", home / "log", run / "logs", home / "kept", frozenset({"vital"}),
    beside("scheduler"), beside("prometheus"),
)
supervisor._BESIDE_PAUSE_S = 0.1
adopt_orphans()
if options["ends_with_parent"]:
    end_with_parent()
policy = RestartPolicy(most=options["most"], pause_s=options["pause_s"])
limits = Limits(policy, StartLimits(options["quiet_s"]), grace_s=0.2)
sys.exit(Supervisor(home, launch, limits).run())
"""
OPTIONS = {
    "head": HEAD,
    "service": "pass",
    "scheduler": "",
    "prometheus": "",
    "most": 5,
    "pause_s": 0.0,
    "quiet_s": 30.0,
    "ends_with_parent": False,
}
# Like `divisions up --foreground`: starts a supervisor, and prints its pid.
PARENT = """
import subprocess, sys, time
supervisor = subprocess.Popen([sys.executable, "-c", *sys.argv[1:]], start_new_session=True)
print(supervisor.pid, flush=True)
time.sleep(600)
"""


class Supervised:
    """A supervisor in a home of its own, and its fake cluster."""

    def __init__(self, home: Path, **options: object) -> None:
        self.home = home
        arguments = [SUPERVISOR, str(home), json.dumps(OPTIONS | options)]
        self.parent: subprocess.Popen[str] | None = None
        with (home / "log").open("wb") as log:
            started = {"cwd": Path(__file__).parents[3], "stderr": log, "text": True}
            if options.get("ends_with_parent"):
                self.parent = subprocess.Popen(
                    [sys.executable, "-c", PARENT, *arguments], stdout=subprocess.PIPE, **started
                )
                self.pid = int(self.parent.stdout.readline())
            else:
                self.process = subprocess.Popen([sys.executable, "-c", *arguments], stdout=log, **started)
                self.pid = self.process.pid
        write_cluster(
            home,
            Cluster(self.pid, start_ticks(self.pid), "starting", "", "", "http://127.0.0.1:1", 1, str(home), 0.0),
        )

    @property
    def cluster(self) -> Cluster:
        return read_cluster(self.home)

    def wait_for(self, phase: str, restarts: int = 0) -> None:
        def is_there() -> bool:
            return (self.cluster.phase, self.cluster.restarts) == (phase, restarts)

        assert wait_until(is_there, PATIENCE_S), (self.cluster, self.log)

    def wait_for_restarts(self, least: int) -> None:
        assert wait_until(lambda: self.cluster.restarts >= least, PATIENCE_S), (self.cluster, self.log)

    def pids(self) -> list[int]:
        """Of the worker that ignores SIGTERM, and of the process that must live."""
        return [int(pid) for pid in (self.home / "pids").read_text().split()]

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def close(self) -> None:
        for process in (self.parent, getattr(self, "process", None)):
            if process is not None:
                process.terminate()
                process.wait(PATIENCE_S)
                if process.stdout:
                    process.stdout.close()


@pytest.fixture
def supervise(tmp_path):
    all_of_them = []

    def start(**options):
        all_of_them.append(Supervised(tmp_path, **options))
        return all_of_them[-1]

    yield start
    for supervised in all_of_them:
        supervised.close()


def watched(pids):
    """Whether one of the processes that have these pids now is alive."""
    identities = [(pid, start_ticks(pid)) for pid in pids]
    return lambda: any(is_alive(*identity) for identity in identities)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_supervisor_leaves_no_process(supervise, number):
    supervised = supervise()
    supervised.wait_for(cluster_file.UP)
    some_live = watched(supervised.pids())
    assert some_live()
    supervised.process.send_signal(number)
    assert supervised.process.wait(PATIENCE_S) == 0
    assert not some_live()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_a_vital_process_dies_everything_is_killed_and_started_again(supervise, number):
    supervised = supervise()
    supervised.wait_for(cluster_file.UP)
    first = supervised.pids()
    some_live = watched(first)
    logs = supervised.home / "runtime" / "logs"
    logs.mkdir()
    (logs / "raylet.out").write_text("last words")
    os.kill(first[1], number)
    supervised.wait_for(cluster_file.UP, restarts=1)
    assert not some_live()
    assert watched(supervised.pids())()
    assert supervised.cluster.message == f"vital (pid {first[1]}) ended"
    assert supervised.cluster.is_alive
    assert (supervised.home / "kept" / "raylet.out").read_text() == "last words"


def test_when_the_head_ends_everything_is_started_again(supervise):
    failing_once = HEAD.replace(
        "time.sleep(600)\n",
        "mark = folder / 'once'\nif mark.exists(): time.sleep(600)\nmark.touch()\ntime.sleep(1)\nsys.exit(3)\n",
    )
    supervised = supervise(head=failing_once)
    supervised.wait_for(cluster_file.UP, restarts=1)
    assert supervised.cluster.message == "it ended with status 3"


def test_after_too_many_crashes_it_gives_up_and_says_why(supervise):
    supervised = supervise(most=1)
    supervised.wait_for(cluster_file.UP)
    os.kill(supervised.pids()[1], signal.SIGKILL)
    supervised.wait_for(cluster_file.UP, restarts=1)
    pids = supervised.pids()
    some_live = watched(pids)
    os.kill(pids[1], signal.SIGKILL)
    assert supervised.process.wait(PATIENCE_S) == 1
    assert not some_live()
    assert supervised.cluster.phase == cluster_file.FAILED
    assert supervised.cluster.message == (
        f"it crashed more than 1 times in 10 minutes, at last: vital (pid {pids[1]}) ended"
    )


def test_a_failed_restart_is_repeated(supervise):
    failing_once = (
        "import sys; from pathlib import Path; starts = Path(sys.argv[1]) / 'starts'; "
        "starts.write_text((starts.read_text() if starts.exists() else '') + '.'); "
        "sys.exit('error: the journal is locked' if len(starts.read_text()) == 2 else 0)"
    )
    supervised = supervise(service=failing_once)
    supervised.wait_for(cluster_file.UP)
    os.kill(supervised.pids()[1], signal.SIGKILL)
    supervised.wait_for(cluster_file.UP, restarts=2)
    assert supervised.cluster.message.endswith("the journal is locked")


def test_a_first_start_that_fails_is_not_repeated_and_its_cause_is_kept(supervise):
    supervised = supervise(service="import sys; sys.exit('error: the journal is damaged')")
    assert supervised.process.wait(PATIENCE_S) == 1
    assert supervised.cluster.phase == cluster_file.FAILED
    assert supervised.cluster.message == "Start Ray: the journal is damaged"
    assert supervised.log.count("the cluster crashed") == 1


def test_a_first_start_is_repeated_when_ray_ran_out_of_its_own_time(supervise):
    slow = "import sys; sys.exit('Exception: The current node timed out during startup. This could happen because')"
    supervised = supervise(head=slow)
    assert supervised.process.wait(PATIENCE_S) == 1
    assert supervised.log.count("the cluster crashed") == 3


def test_a_start_without_progress_is_given_up_with_the_last_line_of_the_log(supervise):
    hanging = "import time; print('waiting for the moon', flush=True); time.sleep(600)"
    supervised = supervise(service=hanging, quiet_s=8.0)
    assert supervised.process.wait(PATIENCE_S) == 1
    assert "made no progress" in supervised.cluster.message
    assert "waiting for the moon" in supervised.cluster.message


def test_it_ends_in_the_pause_before_a_restart(supervise):
    supervised = supervise(pause_s=3600.0, service="import sys; sys.exit(0)")
    supervised.wait_for(cluster_file.UP)
    os.kill(supervised.pids()[1], signal.SIGKILL)
    supervised.wait_for(cluster_file.UP, restarts=1)
    os.kill(supervised.pids()[1], signal.SIGKILL)
    supervised.wait_for(cluster_file.RESTARTING, restarts=2)
    supervised.process.send_signal(signal.SIGTERM)
    assert supervised.process.wait(PATIENCE_S) == 0


def test_a_cluster_that_is_to_stop_is_not_started_again(supervise):
    supervised = supervise()
    supervised.wait_for(cluster_file.UP)
    change_cluster(supervised.home, supervised.pid, phase=cluster_file.STOPPING)
    pids = supervised.pids()
    some_live = watched(pids)
    os.kill(pids[1], signal.SIGKILL)
    assert supervised.process.wait(PATIENCE_S) == 0
    assert not some_live()
    assert supervised.cluster.phase == cluster_file.STOPPING


def test_when_the_parent_is_killed_the_whole_cluster_ends(supervise):
    supervised = supervise(ends_with_parent=True)
    supervised.wait_for(cluster_file.UP)
    some_live = watched([supervised.pid, *supervised.pids()])
    assert some_live()
    supervised.parent.kill()
    assert wait_until(lambda: not some_live(), PATIENCE_S)


def test_a_supervisor_without_its_file_ends(tmp_path, supervise):
    supervised = supervise()
    supervised.wait_for(cluster_file.UP)
    (tmp_path / "cluster.json").unlink()
    os.kill(supervised.pids()[1], signal.SIGKILL)
    assert supervised.process.wait(PATIENCE_S) == 0


def test_logs_that_are_replaced_while_they_are_measured_do_no_harm(tmp_path):
    launch = SimpleNamespace(log=tmp_path / "absent.log", session_logs=tmp_path / "absent")
    assert _size_of(launch) == 0
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "raylet.out").write_text("12345")
    (tmp_path / "logs" / "dangling").symlink_to(tmp_path / "nowhere")
    assert _size_of(SimpleNamespace(log=launch.log, session_logs=tmp_path / "logs")) == 6


def test_an_error_of_the_disk_counts_as_a_crash_and_does_not_end_the_supervisor(supervise):
    supervised = supervise(most=1_000, pause_s=0.05)  # many tries: how fast they follow is the machine's affair
    supervised.wait_for(cluster_file.UP)
    # A file in place of the folder that each start creates: the next start fails, until it is gone.
    run = supervised.home / "runtime"
    run.rename(supervised.home / "aside")
    run.write_text("")
    os.kill(supervised.pids()[1], signal.SIGKILL)
    supervised.wait_for_restarts(2)
    run.unlink()
    assert wait_until(lambda: supervised.cluster.phase == cluster_file.UP, PATIENCE_S), supervised.cluster


def test_a_signal_whose_exception_was_dropped_still_ends_the_supervisor(tmp_path):
    """Python drops what a handler raises in the clean-up of an object."""
    supervisor = Supervisor(tmp_path, SimpleNamespace(scheduler=None, prometheus=None), Limits())
    with pytest.raises(_StopRequested):
        supervisor._request_stop(signal.SIGTERM, None)
    supervisor._request_stop(signal.SIGTERM, None)  # a second one does not interrupt the end
    with pytest.raises(_StopRequested):
        supervisor._pause(0.0)


# Tells its pid, and lives on.
SCHEDULER = """
import os, sys, time
from pathlib import Path
with (Path(sys.argv[1]) / "schedulers").open("a") as file:
    print(os.getpid(), file=file)
time.sleep(600)
"""
# As the scheduler; and says so when it is asked to end.
PROMETHEUS = """
import os, signal, sys, time
from pathlib import Path
home = Path(sys.argv[1])
def end(number, frame):
    (home / "asked").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
with (home / "watchers").open("a") as file:
    print(os.getpid(), file=file)
time.sleep(600)
"""


def schedulers(supervised, name="schedulers"):
    path = supervised.home / name
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def test_a_scheduler_runs_beside_a_cluster_that_has_pipelines_and_again_when_it_has_ended(supervise, tmp_path):
    (tmp_path / "schedule.json").touch()
    supervised = supervise(scheduler=SCHEDULER)
    assert wait_until(lambda: len(schedulers(supervised)) == 1, PATIENCE_S), supervised.log
    os.kill(schedulers(supervised)[0], signal.SIGKILL)
    assert wait_until(lambda: len(schedulers(supervised)) == 2, PATIENCE_S), supervised.log
    assert (supervised.cluster.phase, supervised.cluster.restarts) == (cluster_file.UP, 0)
    assert "the scheduler ended with status -9" in supervised.log
    # A crash of the cluster ends it, and it comes back with the cluster.
    is_alive_still = watched(schedulers(supervised)[1:])
    os.kill(supervised.pids()[1], signal.SIGKILL)
    supervised.wait_for(cluster_file.UP, restarts=1)
    assert not is_alive_still()
    assert wait_until(lambda: len(schedulers(supervised)) == 3, PATIENCE_S), supervised.log
    is_alive_still = watched(schedulers(supervised)[2:])
    supervised.process.terminate()
    assert supervised.process.wait(PATIENCE_S) == 0
    assert not is_alive_still()


def test_prometheus_runs_beside_a_cluster_and_is_asked_to_end_with_it(supervise):
    supervised = supervise(prometheus=PROMETHEUS)
    assert wait_until(lambda: len(schedulers(supervised, "watchers")) == 1, PATIENCE_S), supervised.log
    os.kill(schedulers(supervised, "watchers")[0], signal.SIGKILL)
    assert wait_until(lambda: len(schedulers(supervised, "watchers")) == 2, PATIENCE_S), supervised.log
    assert (supervised.cluster.phase, supervised.cluster.restarts) == (cluster_file.UP, 0)
    assert "Prometheus ended with status -9" in supervised.log
    is_alive_still = watched(schedulers(supervised, "watchers")[1:])
    supervised.process.terminate()
    assert supervised.process.wait(PATIENCE_S) == 0
    assert not is_alive_still()
    assert (supervised.home / "asked").exists(), "it writes its data"
