"""What ``targets.yaml`` says of a target of kind ``sagemaker``, and the way from there to AWS."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from deploy.shipping.sagemaker.names import is_sagemaker_name
from deploy.shipping.target import Opening, Target
from divisions.errors import PipelineError
from divisions.pipeline.yaml_sections import Section, integer, parsed

_ROLE: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,128}")
_IMAGE: Final = re.compile(r"[a-z0-9][a-z0-9.:/_-]{0,180}@sha256:[0-9a-f]{64}")
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[\w!.*'()-]+)*")
_INSTANCE: Final = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_REGION: Final = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]")


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

    @contextlib.contextmanager
    def open(self, opening: Opening) -> Iterator[Target]:
        from deploy.aws.session import AwsSession
        from deploy.shipping.opening import caller
        from deploy.shipping.sagemaker.names import slug
        from deploy.shipping.sagemaker.target import SageMakerTarget

        region = self.region or ("" if self.profile else opening.settings.s3.region or "")
        session = AwsSession(region, self.profile, self.role, self.external_id, caller())
        settings = replace(self, endpoint=self.endpoint or slug(opening.pipeline.deployment.endpoint))
        yield SageMakerTarget(opening, settings, session)


def read_settings(section: Section) -> SageMakerSettings:
    return SageMakerSettings(
        image=section.require(
            "image", parsed(_matching(_IMAGE, "an image by its digest", "registry/name@sha256:…")), ""
        ),
        execution_role=section.require("execution_role", parsed(_role), ""),
        bucket=section.require("bucket", parsed(_matching(_BUCKET, "a place in S3", "s3://bucket/prefix")), ""),
        instance_type=section.require(
            "instance_type", parsed(_matching(_INSTANCE, "a type of instances", "ml.m5.large")), ""
        ),
        instances=section.take("instances", integer(1, 1_000), 1),
        endpoint=section.take("endpoint", parsed(_endpoint), ""),
        startup_s=section.take("startup_s", integer(60, 3_600), 600),
        region=section.take("region", parsed(_matching(_REGION, "a region", "eu-central-1")), ""),
        profile=section.take("profile", parsed(str), ""),
        role=section.take("role", parsed(_role), ""),
        external_id=section.take("external_id", parsed(str), ""),
    )


def _matching(pattern: re.Pattern[str], what: str, example: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise PipelineError(f"{value[:80]!r} is not {what}", remedy=f"write it as {example}")
        return value

    return parse


_role = _matching(_ROLE, "the ARN of a role", "arn:aws:iam::123456789012:role/name")


def _endpoint(value: str) -> str:
    if not is_sagemaker_name(value):
        raise PipelineError(
            f"{value[:80]!r} is no name at SageMaker", remedy="use up to 63 letters, digits and single dashes"
        )
    return value
