"""What the starter of a training job and its container agree on: names of folders, of parameters and of files. Pure.

/opt/ml/input/config/hyperparameters.json   `Task`, all values as text
/opt/ml/input/config/resourceconfig.json    the hosts of the job: one
/opt/ml/input/data/pipeline/                the pipeline file
/opt/ml/input/data/events/                  the raw events
/opt/ml/input/data/champion/                the version in use as model.tar.gz; absent for a first version
/opt/ml/model/                              the bundle; SageMaker packs it into the job's model.tar.gz
/opt/ml/output/data/                        `TrainedRun` and other files of the run; packed into output.tar.gz
/opt/ml/output/failure                      why the job failed, for its FailureReason
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

import msgspec

from divisions.errors import UsageError

EVENTS: Final = "events"
PIPELINE: Final = "pipeline"
CHAMPION: Final = "champion"
"""The channels of a job."""
PIPELINE_FILE: Final = "pipeline.yaml"
CHAMPION_FILE: Final = "model.tar.gz"
RUN_FILE: Final = "run.json"
LOG_FILE: Final = "run.log"
REPORT_FILES: Final = ("report.html", "report.json", "details.json")
"""Files of the validation report, which a run has in its folder ``validation``."""
FEATURE_FILES: Final = {"offline_features": "part.parquet", "newest_features": "newest.parquet"}
"""Files of the offline store, by their key in the lineage, which has their place in the home."""
MAX_FAILURE_CHARS: Final = 1_024
"""SageMaker reads no more of the file ``failure``."""


class Task(msgspec.Struct, frozen=True):
    """The hyperparameters of a job.

    Attributes:
        today: the day of ``${today}``.
        partition: the last ``partition=…`` of the input, which a folder of SageMaker does not have; empty without one.
        file: the name of the input's only file; empty for all files of the channel.
        champion: the label of the version in use; empty for a first version.
        champion_sha256: the SHA-256 of its bundle.
    """

    today: str
    partition: str = ""
    file: str = ""
    champion: str = ""
    champion_sha256: str = ""

    def to_hyperparameters(self) -> dict[str, str]:
        """Those that are not empty: SageMaker takes no empty value.

        >>> Task("2025-01-13", file="events.csv").to_hyperparameters()
        {'today': '2025-01-13', 'file': 'events.csv'}
        """
        return {name: value for name, value in msgspec.to_builtins(self).items() if value}


def parse_task(hyperparameters: Mapping[str, object]) -> Task:
    """The task of a job. Others' parameters, such as SageMaker's own, are ignored.

    Raises:
        UsageError: it is not what `divisions run --target` writes.
    """
    try:
        task = msgspec.convert(dict(hyperparameters), Task)
        dt.date.fromisoformat(task.today)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(
            f"the hyperparameters are not those of a run: {error}", remedy="start the job with `divisions run --target`"
        ) from None
    for name in (task.partition, task.file):
        if "/" in name or name in {".", ".."} or "\0" in name:
            raise UsageError(f"{name[:80]!r} is no plain name", remedy="start the job with `divisions run --target`")
    return task


class TrainedRun(msgspec.Struct, frozen=True):
    """A run in a container, for the registry of those who started it.

    ``curves`` has step and value of each record of a metric; ``lineage`` that of the version.
    """

    model: str
    bundle_sha256: str
    validation_status: str
    message: str
    metrics: dict[str, float]
    curves: dict[str, list[tuple[int, float]]]
    params: dict[str, str]
    lineage: dict[str, str]
