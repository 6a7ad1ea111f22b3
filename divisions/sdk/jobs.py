"""Work that a client does on its own machine, in a process of its own: training, the registry, deploying. No I/O.

It needs the home, and libraries that a caller's process should not load. So the client starts a process with
`divisions.commands.sdk_worker`, writes a job to its standard input, and reads one outcome.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from divisions import errors
from divisions.error_names import BY_NAME
from divisions.errors import UsageError
from divisions.versions import RegisteredVersion, RunRecord

T = TypeVar("T")
WORKER = "divisions.commands.sdk_worker"
PIPELINE = Path(".divisions/pipeline/ml_training.yaml")
TARGETS = Path(".divisions/targets.yaml")


class Train(msgspec.Struct, frozen=True, tag="train"):
    pipeline: str
    input_uri: str
    today: dt.date | None
    uses_ray: bool
    is_deployed: bool


class Find(msgspec.Struct, frozen=True, tag="find"):
    """Finds a version by its number in the registry."""

    model: str
    number: int


class Models(msgspec.Struct, frozen=True, tag="models"):
    """Lists the versions of ``model``, or of all models."""

    model: str | None


class Runs(msgspec.Struct, frozen=True, tag="runs"):
    """Lists the newest runs of ``pipeline``, or of all pipelines."""

    pipeline: str | None
    limit: int


class Register(msgspec.Struct, frozen=True, tag="register"):
    """Registers the bundle of ``version`` again."""

    model: str
    version: str


class Deploy(msgspec.Struct, frozen=True, tag="deploy"):
    pipeline: str
    target: str
    targets: str
    version: str
    is_forced: bool
    overrides_others: bool
    is_watched: bool


Job = Train | Find | Models | Runs | Register | Deploy


class Done(msgspec.Struct, frozen=True, tag="done"):
    result: msgspec.Raw


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """``code`` is the error's class."""

    code: str
    message: str
    remedy: str = ""


class TrainedRun(msgspec.Struct, frozen=True):
    """A run that has ended, and the version that it has registered.

    ``rollout`` is the phase of the rollout that it has started; empty if it has started none.
    """

    run_id: str
    model: str
    version: str
    registry_version: int
    validation_status: str
    metrics: dict[str, float]
    input_uri: str
    rollout: str = ""


class Deployed(msgspec.Struct, frozen=True):
    """What was deployed, and how it ended: ``unchanged``, ``promoted``, ``started`` or ``rolled back``."""

    model: str
    version: str
    target: str
    ending: str


@dataclass(frozen=True, slots=True)
class Order(Generic[T]):
    """A job, and how its result is read."""

    job: Job
    kind: type[T]


def train(
    pipeline: str | Path, *, input_uri: str, today: dt.date | str | None, uses_ray: bool, is_deployed: bool
) -> Order[TrainedRun]:
    return Order(Train(os.fspath(pipeline), input_uri, _day(today), uses_ray, is_deployed), TrainedRun)


def _day(today: dt.date | str | None) -> dt.date | None:
    if isinstance(today, dt.datetime):  # it is a date, too, but its JSON is none
        return today.date()
    if not isinstance(today, str):
        return today
    try:
        return dt.date.fromisoformat(today)
    except ValueError:
        raise UsageError(f"today is {today[:40]!r}, which is no day", remedy="write YYYY-MM-DD") from None


def register(source: TrainedRun | RegisteredVersion) -> Order[RegisteredVersion]:
    """A run has registered its version already, so that is found."""
    if isinstance(source, TrainedRun):
        return Order(Find(source.model, source.registry_version), RegisteredVersion)
    return Order(Register(source.model, source.version), RegisteredVersion)


def models(model: str | None) -> Order[tuple[RegisteredVersion, ...]]:
    return Order(Models(model), tuple[RegisteredVersion, ...])


def runs(pipeline: str | None, limit: int) -> Order[tuple[RunRecord, ...]]:
    return Order(Runs(pipeline, limit), tuple[RunRecord, ...])


def deploy(
    pipeline: str | Path,
    version: str | RegisteredVersion | TrainedRun,
    *,
    target: str,
    targets: str | Path,
    is_forced: bool,
    overrides_others: bool,
    is_watched: bool,
) -> Order[Deployed]:
    label = version if isinstance(version, str) else version.version
    job = Deploy(os.fspath(pipeline), target, os.fspath(targets), label, is_forced, overrides_others, is_watched)
    return Order(job, Deployed)


def encode(outcome: object) -> bytes:
    """What one end writes."""
    return msgspec.json.encode(outcome, enc_hook=os.fspath)


def decode(data: bytes, kind: type[T]) -> T:
    """What the other end reads. Raises `msgspec.MsgspecError`."""
    return msgspec.json.decode(data, type=kind, dec_hook=_path)


def outcome(order: Order[T], output: bytes, status: int) -> T:
    """The result of a job.

    Args:
        order: the job.
        output: all that the process has written.
        status: its exit status.

    Raises:
        DivisionsError: the one that ended the job, or `ClusterError` if the process ended without a word.
    """
    read: Callable[[bytes, Any], Any] = decode
    try:
        told: Done | Failed = read(output, Done | Failed)
        if isinstance(told, Done):
            result: T = read(told.result, order.kind)
            return result
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise errors.ClusterError(
            f"the process of the {type(order.job).__name__.lower()} job ended with status {status} and no result",
            remedy="its messages are on standard error; run the job again",
        ) from None
    raise _error(told)


def _error(failed: Failed) -> errors.DivisionsError:
    return BY_NAME.get(failed.code, errors.ClusterError)(failed.message, remedy=failed.remedy)


def _path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(value)
    raise NotImplementedError(kind)
