"""What a job is asked to be, its name, what it may cost, and what its end means. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deploy.aws.refusals import GO_ON, short
from deploy.shipping.sagemaker.names import named
from deploy.shipping.sagemaker.settings import SageMakerSettings
from deploy.training_job.contract import CHAMPION, EVENTS, PIPELINE, Task
from divisions.errors import ClusterError

COMPLETED: Final = "Completed"
ENDED: Final = frozenset({COMPLETED, "Failed", "Stopped"})
LOG_GROUP: Final = "/aws/sagemaker/TrainingJobs"
MAX_ATTEMPTS: Final = 99
_NAME_CHARS: Final = 48
"""Of the readable part; the digest and the number of the attempt come after it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run that is wanted.

    Attributes:
        model: the model's name.
        pipeline_sha256: of the pipeline file.
        input_uri: the raw events, variables replaced.
        task: what the container gets. The champion is not part of the job's name: it may change while the job runs.
    """

    model: str
    pipeline_sha256: str
    input_uri: str
    task: Task
    settings: SageMakerSettings

    @property
    def name(self) -> str:
        """The same for the same run, so that the same command finds its job again."""
        settings, training = self.settings, self.settings.training
        content = (
            *(self.model, self.pipeline_sha256, self.input_uri, self.task.today),
            *(settings.training_image, settings.training_role, settings.bucket),
            *(training.instance_type, training.volume_gb, training.max_hours),
        )
        return named(f"{self.model}-{self.task.today}"[:_NAME_CHARS], *content)

    @property
    def cost(self) -> str:
        """What costs money."""
        training = self.settings.training
        return (
            f"1 × {training.instance_type} for up to {training.max_hours} h,"
            f" and {training.volume_gb} GB of disk, while the job runs"
        )


def attempt(name: str, number: int) -> str:
    """The name of a job's attempt: SageMaker never takes a name twice.

    >>> attempt("churn-2025-01-13-0123456789", 1), attempt("churn-2025-01-13-0123456789", 2)
    ('churn-2025-01-13-0123456789', 'churn-2025-01-13-0123456789-2')
    """
    return name if number == 1 else f"{name}-{number}"


def request(job: Job, name: str, channels: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of ``CreateTrainingJob``.

    Args:
        job: what is wanted.
        name: of the attempt.
        channels: the channels' prefixes in S3, by their names.
    """
    settings, training = job.settings, job.settings.training
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": settings.training_image, "TrainingInputMode": "File"},
        "RoleArn": settings.training_role,
        "HyperParameters": job.task.to_hyperparameters(),
        "InputDataConfig": [
            {
                "ChannelName": channel,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": channels[channel],
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
                "InputMode": "File",
            }
            for channel in (PIPELINE, EVENTS, CHAMPION)
            if channel in channels
        ],
        "OutputDataConfig": {"S3OutputPath": f"{settings.bucket}/_training"},
        "ResourceConfig": {
            "InstanceType": training.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": training.volume_gb,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": training.max_hours * 3_600},
        "EnableNetworkIsolation": True,  # it reads its channels, and nothing else
    }


def failure(name: str, description: Mapping[str, Any]) -> ClusterError:
    """The error that a job's bad end is, in one line.

    >>> ended = {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}
    >>> print(failure("churn-1", ended))
    training job churn-1 was stopped: it has used up its time. raise training.max_hours of the target
    """
    reason = short(description.get("FailureReason") or "")
    if description["TrainingJobStatus"] == "Stopped":
        if description.get("SecondaryStatus") == "MaxRuntimeExceeded":
            return ClusterError(
                f"training job {name} was stopped: it has used up its time",
                remedy="raise training.max_hours of the target",
            )
        return ClusterError(f"training job {name} was stopped", remedy="the same command starts another one")
    return ClusterError(
        f"training job {name} failed: {reason or 'SageMaker does not say why'}", remedy=_remedy(name, reason)
    )


def _remedy(name: str, reason: str) -> str:
    log = f"its log is {LOG_GROUP}/{name}"
    if "CapacityError" in reason or "capacity" in reason:
        return "choose another instance type (training.instance_type), or try later"
    if reason.startswith("AlgorithmError"):
        return f"mend that, and run the same command again; {log}"
    if "InternalServerError" in reason:
        return "run the same command again: the fault is SageMaker's"
    if "pull" in reason or "image" in reason:
        return "check that training.execution_role may read the image's repository, and that the image is there"
    if "download" in reason.lower() or "S3" in reason:
        return "check that training.execution_role may read the input and the bucket"
    return f"mend that, {GO_ON}; {log}"


def transitions(description: Mapping[str, Any], known: int) -> list[str]:
    """What has happened to a job after the first ``known`` transitions, a line each.

    >>> transitions({"SecondaryStatusTransitions": [{"Status": "Training", "StatusMessage": "Image ready"}]}, 0)
    ['Training: Image ready']
    """
    found = description.get("SecondaryStatusTransitions") or []
    return [
        f"{each['Status']}: {short(each['StatusMessage'])}" if each.get("StatusMessage") else str(each["Status"])
        for each in found[known:]
    ]
