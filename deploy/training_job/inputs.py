"""The raw events of a job: objects of S3, or local files, which are uploaded under a hash of their bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from deploy.shipping.sagemaker.settings import SageMakerSettings
from deploy.training_job.job import TrainingJobs
from divisions.bundle import file_sha256
from divisions.errors import InputError
from divisions.settings import Settings
from trainers.data.locations import list_files, locate

MAX_UPLOAD_BYTES: Final = 5_000_000_000
"""What S3 takes with one call."""


@dataclass(frozen=True, slots=True)
class Input:
    """Raw events for a job.

    Attributes:
        prefix: of the objects in S3.
        partition: the last ``partition=…`` of the path; empty without one.
        file: the only file's name; empty for all objects of the prefix.
        files: local files, by the keys that they get; none if the events are in S3 already.
    """

    prefix: str
    partition: str = ""
    file: str = ""
    files: tuple[tuple[str, Path], ...] = ()

    @property
    def uploads(self) -> str:
        """What is uploaded, for people; empty if nothing is."""
        if not self.files:
            return ""
        size = sum(path.stat().st_size for _, path in self.files)
        return f"{len(self.files)} local file{'s' * (len(self.files) != 1)} with {size:,} bytes"


def find_input(jobs: TrainingJobs, uri: str, target: SageMakerSettings, settings: Settings) -> Input:
    """The events of an input's URI. Changes nothing.

    Raises:
        InputError: there are none here, or they are too large to be uploaded.
        CloudError: AWS refuses.
    """
    location = locate(uri, s3=settings.s3, allow_buckets=settings.allow_buckets)
    partition = f"partition={location.partition}" if location.partition else ""
    if location.bucket:
        key = location.path.removeprefix(f"{location.bucket}/")
        is_file = bool(key) and jobs.has(location.bucket, key)
        name = PurePosixPath(key).name if is_file else ""
        prefix = f"s3://{location.bucket}/{key}"
        return Input(prefix if is_file or not key else f"{prefix}/", partition, name)
    root = Path(location.path)
    found = [Path(path) for path in list_files(location).files]
    total = sum(path.stat().st_size for path in found)
    if total > MAX_UPLOAD_BYTES:
        raise InputError(
            f"input {uri} has {total:,} bytes, too many to be uploaded here",
            remedy="copy it to S3 (`aws s3 sync`), and name it as s3://bucket/prefix",
        )
    is_file = root.is_file()
    names = {path: path.name if is_file else str(path.relative_to(root)) for path in found}
    digest = hashlib.sha256("".join(f"{file_sha256(path)} {names[path]}\n" for path in found).encode()).hexdigest()
    bucket, prefix = target.bucket_and_prefix
    folder = f"{prefix}_training/_inputs/{digest[:16]}"
    files = tuple((f"{folder}/{names[path]}", path) for path in found)
    return Input(f"s3://{bucket}/{folder}/", partition, root.name if is_file else "", files)


def upload_input(jobs: TrainingJobs, given: Input) -> None:
    """Uploads local files that the bucket lacks: their keys have a hash of all bytes.

    Raises:
        CloudError: AWS refuses.
    """
    bucket = given.prefix.removeprefix("s3://").partition("/")[0]
    for key, path in given.files:
        if not jobs.has(bucket, key):
            jobs.put(bucket, key, path)
