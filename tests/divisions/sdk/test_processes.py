"""Jobs in real processes: what they answer, and what becomes of them when their caller gives up."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from divisions import AsyncClient, Client
from divisions.errors import ClusterError, DivisionsError, PipelineError, RegistryError
from divisions.sdk import jobs, processes
from divisions.sdk.jobs import TrainedRun

PIPELINE = "pipeline: churn\nstages:\n  training:\n    hyperparams:\n      epochs: many\n"
RUN = TrainedRun("run", "churn-predictor", "3.1", 1, "passed", {}, "raw")


def ask(kind, client, name, *arguments, **options):
    """Calls one of the twins."""
    found = getattr(client, name)(*arguments, **options)
    return asyncio.run(found) if kind is AsyncClient else found


@pytest.fixture(params=[Client, AsyncClient])
def kind(request):
    return request.param


def test_an_error_of_the_job_is_raised_with_its_place(kind, tmp_path):
    file = tmp_path / "churn.yaml"
    file.write_text(PIPELINE)
    with pytest.raises(PipelineError, match=rf"{file}:5:15: .*epochs"):
        ask(kind, kind(home=tmp_path), "train", file, uses_ray=False)


def test_an_empty_registry_has_no_models_no_runs_and_no_version_of_a_run(kind, tmp_path):
    client = kind(home=tmp_path)
    assert ask(kind, client, "models") == ()
    assert ask(kind, client, "runs", limit=5) == ()
    with pytest.raises(RegistryError):
        ask(kind, client, "register", RUN)


def test_the_home_is_the_clients(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "other"))
    assert processes._environment(tmp_path / "own")["DIVISIONS_HOME"] == str(tmp_path / "own")
    assert processes._environment(None)["DIVISIONS_HOME"] == str(tmp_path / "other")


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A worker that does what a test says; its folder."""
    (tmp_path / "worker.py").write_text(
        textwrap.dedent("""
            import pathlib, signal, sys, time
            def ended(*_):
                pathlib.Path("ended").touch()
                sys.exit(130)
            signal.signal(signal.SIGTERM, ended)
            print("a library prints", file=sys.stderr)
            pathlib.Path("begun").touch()
            time.sleep(600)
        """)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "WORKER", "worker")
    return tmp_path


def test_a_job_whose_caller_is_cancelled_is_told_to_end(worker):
    async def scenario():
        task = asyncio.ensure_future(AsyncClient(home=worker).train("a.yaml"))
        while not (worker / "begun").exists():
            await asyncio.sleep(0.01)
        (child,) = [each for each in psutil.Process().children() if each.cwd() == str(worker)]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not child.is_running()

    asyncio.run(asyncio.wait_for(scenario(), 240))
    assert (worker / "ended").exists()


@pytest.mark.parametrize(
    "how", ["os.kill(os.getpid(), signal.SIGINT)", "_thread.interrupt_main()"], ids=["in a call", "before a call"]
)
def test_a_job_whose_caller_is_interrupted_is_told_to_end(worker, how):
    """Also if the signal is seen between two system calls, so that it cuts off neither."""
    code = f"""
import _thread, os, pathlib, signal, threading, time
from divisions import Client
from divisions.sdk import jobs
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
jobs.WORKER = "worker"
def interrupt():
    while not pathlib.Path("begun").exists():
        time.sleep(0.01)
    {how}
threading.Thread(target=interrupt).start()
Client().train("a.yaml")
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == -signal.SIGINT, ran.stderr
    assert (worker / "ended").exists()


def test_a_worker_that_is_killed_is_one_clear_line(worker, monkeypatch):
    (worker / "worker.py").write_text("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(ClusterError, match="ended with status -9 and no result"):
        Client(home=worker).train("a.yaml")


def test_a_worker_that_reads_nothing_is_no_broken_pipe(worker):
    (worker / "worker.py").write_text("")
    with pytest.raises(DivisionsError, match="ended with status 0 and no result"):
        Client(home=worker).train("a.yaml" * 100_000)
