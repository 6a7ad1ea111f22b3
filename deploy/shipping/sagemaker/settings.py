"""What ``targets.yaml`` says of a target of kind ``sagemaker``, and the way from there to AWS."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from deploy.shipping.sagemaker.names import is_sagemaker_name
from deploy.shipping.target import Opening, Target
from divisions.errors import PipelineError
from divisions.pipeline.yaml_sections import Section, integer, parsed
from divisions.settings import Settings

if TYPE_CHECKING:
    from deploy.aws.session import AwsSession

_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,128}")
_IMAGE: Final = re.compile(r"[a-z0-9][a-z0-9.:/_-]{0,180}@sha256:[0-9a-f]{64}")
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w!.*'()-]+)*")
_INSTANCE: Final = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_REGION: Final = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]")


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """The instance of a training job. An empty ``image`` or ``execution_role`` is that of the endpoint."""

    instance_type: str = ""
    volume_gb: int = 30
    max_hours: int = 6
    image: str = ""
    execution_role: str = ""


@dataclass(frozen=True, slots=True)
class SageMakerSettings:
    """An empty ``endpoint`` is the pipeline's; an empty ``region`` that of the profile or the environment.

    ``startup_s`` is how long SageMaker waits for a container's first good ``/ping``.
    """

    image: str
    execution_role: str
    bucket: str
    instance_type: str
    instances: int = 1
    endpoint: str = ""
    startup_s: int = 600
    region: str = ""
    profile: str = ""
    role: str = ""
    external_id: str = ""
    training: TrainingSettings = TrainingSettings()

    @property
    def training_image(self) -> str:
        return self.training.image or self.image

    @property
    def training_role(self) -> str:
        return self.training.execution_role or self.execution_role

    @property
    def bucket_and_prefix(self) -> tuple[str, str]:
        """The bucket's name, and what its keys begin with: empty, or with a slash at the end."""
        bucket, _, prefix = self.bucket.removeprefix("s3://").partition("/")
        return bucket, f"{prefix}/" if prefix else ""

    def upload_key(self, model: str, bundle_sha256: str) -> str:
        """Where a bundle is in the bucket."""
        return f"{self.bucket_and_prefix[1]}{model}/{bundle_sha256[:16]}/model.tar.gz"

    @contextlib.contextmanager
    def open(self, opening: Opening) -> Iterator[Target]:
        from deploy.shipping.sagemaker.names import slug
        from deploy.shipping.sagemaker.target import SageMakerTarget

        settings = replace(self, endpoint=self.endpoint or slug(opening.pipeline.deployment.endpoint))
        yield SageMakerTarget(opening, settings, self.session(opening.settings))

    def session(self, home: Settings) -> AwsSession:
        """To AWS. Opens no connection.

        Raises:
            SettingsError: there is no such profile, or nothing names a region.
        """
        from deploy.aws.session import AwsSession
        from deploy.shipping.opening import caller

        region = self.region or ("" if self.profile else home.s3.region or "")
        return AwsSession(region, self.profile, self.role, self.external_id, caller())


def read_settings(section: Section) -> SageMakerSettings:
    settings = SageMakerSettings(
        image=section.require("image", parsed(_image), ""),
        execution_role=section.require("execution_role", parsed(_role), ""),
        bucket=section.require("bucket", parsed(_matching(_BUCKET, "a place in S3", "s3://bucket/prefix")), ""),
        instance_type=section.require("instance_type", parsed(_instance), ""),
        instances=section.take("instances", integer(1, 1_000), 1),
        endpoint=section.take("endpoint", parsed(_endpoint), ""),
        startup_s=section.take("startup_s", integer(60, 3_600), 600),
        region=section.take("region", parsed(_matching(_REGION, "a region", "eu-central-1")), ""),
        profile=section.take("profile", parsed(str), ""),
        role=section.take("role", parsed(_role), ""),
        external_id=section.take("external_id", parsed(str), ""),
    )
    return replace(settings, training=_read_training(section.section("training"), settings.instance_type))


def _read_training(section: Section, instance_type: str) -> TrainingSettings:
    with section:
        return TrainingSettings(
            instance_type=section.take("instance_type", parsed(_instance), instance_type),
            volume_gb=section.take("volume_gb", integer(1, 16_384), 30),
            max_hours=section.take("max_hours", integer(1, 120), 6),
            image=section.take("image", parsed(_image), ""),
            execution_role=section.take("execution_role", parsed(_role), ""),
        )


def _matching(pattern: re.Pattern[str], what: str, example: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise PipelineError(f"{value[:80]!r} is not {what}", remedy=f"write it as {example}")
        return value

    return parse


_image = _matching(_IMAGE, "an image by its digest", "registry/name@sha256:…")
_instance = _matching(_INSTANCE, "a type of instances", "ml.m5.large")
_role = _matching(_ROLE, "the ARN of a role", "arn:aws:iam::123456789012:role/name")


def _endpoint(value: str) -> str:
    if not is_sagemaker_name(value):
        raise PipelineError(
            f"{value[:80]!r} is no name at SageMaker", remedy="use up to 63 letters, digits and single dashes"
        )
    return value
