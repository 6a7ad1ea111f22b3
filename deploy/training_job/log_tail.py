"""What a training job prints, from CloudWatch, which has it some seconds later. A job is well without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deploy.aws.refusals import short
from deploy.aws.session import AwsSession
from deploy.training_job.request import LOG_GROUP
from divisions.errors import CloudError, CloudUnreachableError, ExpiredCredentialsError

MAX_PAGES: Final = 20
"""Pages of one look; the next look goes on there."""


class LogTail:
    """The lines of a job's log that were not shown yet.

    Args:
        session: with the right to read logs; without it, one line says so.
        job: the job's name.
        say: tells people a line.
    """

    def __init__(self, session: AwsSession, job: str, say: Callable[[str], None]) -> None:
        self._session = session
        self._job = job
        self._say = say
        self._stream = ""
        self._token = ""
        self._is_refused = False

    def show(self) -> None:
        """Says the lines that have come since the last call."""
        if self._is_refused:
            return
        try:
            self._show()
        except (CloudUnreachableError, ExpiredCredentialsError):
            return  # the next look finds the same lines
        except CloudError as error:
            if error.code == "ResourceNotFoundException":  # nothing was printed yet
                return
            self._is_refused = True
            self._say(f"the job's log is not shown: {error}")

    def _show(self) -> None:
        doing = f"reading the log of {self._job}"
        if not self._stream:
            found = self._session.call(
                "logs",
                "describe_log_streams",
                doing,
                logGroupName=LOG_GROUP,
                logStreamNamePrefix=f"{self._job}/",
            )
            streams = [each["logStreamName"] for each in found.get("logStreams", ())]
            if not streams:
                return
            self._stream = streams[0]
        for _ in range(MAX_PAGES):
            given = {"nextToken": self._token} if self._token else {}
            found = self._session.call(
                "logs",
                "get_log_events",
                doing,
                logGroupName=LOG_GROUP,
                logStreamName=self._stream,
                startFromHead=True,
                **given,
            )
            for event in found["events"]:
                self._say(f"| {short(event['message'])}")
            if found["nextForwardToken"] == self._token:  # CloudWatch's way to say that this is all
                return
            self._token = found["nextForwardToken"]
