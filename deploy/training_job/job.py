"""A training job at SageMaker: made once, followed to its end, stopped if that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from deploy.aws.session import AwsSession
from deploy.training_job.log_tail import LogTail
from deploy.training_job.request import COMPLETED, ENDED, MAX_ATTEMPTS, attempt, failure, transitions
from divisions.clock import Clock
from divisions.errors import BundleError, CloudError, CloudUnreachableError, ConflictError, ExpiredCredentialsError

POLL_S: Final = 10.0
PATIENCE_S: Final = 900.0
"""How long AWS may be away, or our credentials expired, while a job is followed."""
_COPY_BYTES: Final = 1 << 20


class TrainingJobs:
    """The training jobs of one account and region.

    Args:
        session: with the rights that docs/sagemaker.md lists.
        clock: for waiting.
        pause: waits for a number of seconds.
        say: tells people a line.
    """

    def __init__(
        self, session: AwsSession, clock: Clock, pause: Callable[[float], None], say: Callable[[str], None]
    ) -> None:
        self._session = session
        self._clock = clock
        self._pause = pause
        self._say = say

    def latest(self, name: str) -> tuple[str, dict[str, Any] | None]:
        """The attempt of a job that counts, and its description; None if that attempt is still to be made.

        Attempts that have failed or were stopped count no more.
        """
        for number in range(1, MAX_ATTEMPTS + 1):
            tried = attempt(name, number)
            found = self.describe(tried)
            if found is None or found["TrainingJobStatus"] not in ENDED - {COMPLETED}:
                return tried, found
        raise ConflictError(
            f"{MAX_ATTEMPTS} training jobs {name} have failed",
            remedy="change the pipeline file, the input or the target",
        )

    def describe(self, name: str) -> dict[str, Any] | None:
        """A job; None if there is none."""
        doing = f"looking for training job {name}"
        try:
            return self._session.call("sagemaker", "describe_training_job", doing, TrainingJobName=name)
        except CloudError as error:
            if error.code in {"ValidationException", "ResourceNotFound"} and (
                "not found" in error.message or "Could not find" in error.message
            ):
                return None
            raise

    def create(self, arguments: dict[str, Any]) -> bool:
        """Makes a job; False if one of this name is there, because another command was faster."""
        name = arguments["TrainingJobName"]
        try:
            self._session.call("sagemaker", "create_training_job", f"creating training job {name}", **arguments)
        except CloudError as error:
            if error.code == "ResourceInUse" or "must be unique" in error.message:
                return False
            raise
        return True

    def stop(self, name: str) -> None:
        self._session.call("sagemaker", "stop_training_job", f"stopping training job {name}", TrainingJobName=name)

    def follow(self, name: str) -> dict[str, Any]:
        """Tells what happens to a job until it has ended well; its description then.

        Raises:
            ClusterError: it has failed, or was stopped.
            CloudError: AWS refuses, or is away for long.
        """
        told, log = 0, LogTail(self._session, name, self._say)
        reached_s, is_away = self._clock.monotonic_s(), False
        while True:
            try:
                found = self.describe(name)
            except (CloudUnreachableError, ExpiredCredentialsError) as error:
                if self._clock.monotonic_s() - reached_s > PATIENCE_S:
                    raise
                if not is_away:
                    self._say(f"the job goes on at SageMaker, which cannot be asked: {error}")
                is_away = True
                self._pause(POLL_S)
                continue
            reached_s, is_away = self._clock.monotonic_s(), False
            if found is None:
                raise ConflictError(f"training job {name} is gone", remedy="the same command starts it again")
            lines = transitions(found, told)
            told += len(lines)
            for line in lines:
                self._say(line)
            log.show()
            if found["TrainingJobStatus"] == COMPLETED:
                return found
            if found["TrainingJobStatus"] in ENDED:
                raise failure(name, found)
            self._pause(POLL_S)

    # -- files --------------------------------------------------------------------------------------------------

    def has(self, bucket: str, key: str) -> bool:
        """Whether S3 has an object. One that we may not know of is absent."""
        try:
            self._session.call("s3", "head_object", f"looking for s3://{bucket}/{key}", Bucket=bucket, Key=key)
        except CloudError as error:
            if error.code in {"403", "404", "NoSuchKey", "NotFound"}:
                return False
            raise
        return True

    def put(self, bucket: str, key: str, source: Path | bytes, **extra: Any) -> None:
        def put() -> dict[str, Any]:
            doing = f"uploading to s3://{bucket}/{key}"
            arguments = {"Bucket": bucket, "Key": key, "ChecksumAlgorithm": "SHA256", **extra}
            if isinstance(source, bytes):
                return self._session.once("s3", "put_object", doing, Body=source, **arguments)
            with source.open("rb") as content:
                return self._session.once("s3", "put_object", doing, Body=content, **arguments)

        self._session.renewing(put)

    def fetch(self, bucket: str, key: str, target: Path) -> None:
        """Writes an object to a file.

        Raises:
            CloudError: it is not there, or AWS refuses.
            BundleError: the file cannot be written, or the connection breaks.
        """
        from botocore.exceptions import BotoCoreError

        found = self._session.call("s3", "get_object", f"fetching s3://{bucket}/{key}", Bucket=bucket, Key=key)
        try:
            with target.open("wb") as file:
                for chunk in found["Body"].iter_chunks(_COPY_BYTES):
                    file.write(chunk)
        except (OSError, BotoCoreError) as error:
            raise BundleError(
                f"s3://{bucket}/{key} cannot be fetched: {getattr(error, 'strerror', None) or error}",
                remedy="check the network and the disk, and run the same command again",
            ) from None
