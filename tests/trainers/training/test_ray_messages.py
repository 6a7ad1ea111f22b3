"""Ray's messages: a line for the user, the text in a log, and the driver's own priority."""

import os

import pytest
from ray._private import worker

from divisions.settings import Settings
from tests.trainers.place import RecordingProgress
from tests.trainers.training.test_ray_deaths import RAYLET
from trainers.start import StartOptions, _ray_compute
from trainers.training import ray_session
from trainers.training.ray_messages import RayMessages, take_messages


@pytest.fixture
def messages(tmp_path):
    return RayMessages(tmp_path / "logs" / "ray.log", RecordingProgress())


@pytest.fixture
def printing(monkeypatch):
    """Puts Ray's own function back afterwards."""
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)


def test_a_message_is_shown_as_one_line_and_kept_whole(messages, printing, capsys):
    take_messages(messages)
    worker.print_to_stdstream({"lines": [RAYLET], "pid": "raylet", "is_err": False}, ignore_prefix=False)
    (notice,) = messages.progress.notices
    assert notice.startswith("process 21526 on 192.0.2.7 was killed")
    assert notice.endswith(f"(Ray's own text is in {messages.log})")
    assert messages.log.read_text() == RAYLET + "\n"
    assert capsys.readouterr().out == ""


def test_the_same_line_is_shown_once_and_its_text_kept_each_time(messages):
    for _ in range(3):
        messages.take({"lines": ["Task p failed. There are 2 retries remaining\n"]})
    assert len(messages.progress.notices) == 1
    assert messages.log.read_text().count("\n") == 3


def test_a_log_that_cannot_be_written_costs_the_log_only(messages):
    messages.log.parent.write_text("a file where the folder should be")
    messages.take({"lines": [RAYLET]})
    assert "cannot be written" in messages.progress.notices[0]
    assert messages.progress.notices[1].startswith("process 21526")


def test_a_driver_keeps_its_priority_and_takes_rays_messages(tmp_path, monkeypatch, printing):
    lowered = []
    monkeypatch.setattr(os, "nice", lambda step: lowered.append(step) or 0)
    monkeypatch.setattr(ray_session, "connect", lambda address: None)
    progress = RecordingProgress()
    _ray_compute(StartOptions(tmp_path / "x.yaml", ray_address="127.0.0.1:1"), Settings(home=tmp_path), progress)
    assert not any(lowered)
    worker.print_to_stdstream({"lines": [RAYLET]}, ignore_prefix=False)
    assert progress.notices[0].endswith(f"{tmp_path}/logs/ray-messages.log)")
