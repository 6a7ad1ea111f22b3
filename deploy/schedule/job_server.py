"""Ray's job server, by its HTTP interface: no import of Ray, which takes seconds and a hundred megabytes."""

from __future__ import annotations

import enum
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

import msgspec

from divisions.errors import ClusterError

_TIMEOUT_S = 30.0
_MOST_LOG_BYTES = 1 << 20
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The server is on this machine's own address: no proxy of the environment leads there."""


class JobStatus(enum.StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"

    @property
    def is_over(self) -> bool:
        return self not in {JobStatus.PENDING, JobStatus.RUNNING}


class Job(msgspec.Struct, frozen=True):
    status: JobStatus
    message: str | None = None


class JobServerAwayError(ClusterError):
    """It does not answer now."""


class Jobs(Protocol):
    """What the scheduler asks of a job server."""

    def submit(self, job_id: str, entrypoint: str, metadata: Mapping[str, str]) -> None: ...

    def find(self, job_id: str) -> Job | None: ...

    def last_error(self, job_id: str) -> str: ...


class JobServer:
    """The job server at ``url``; an empty token where Ray asks for none."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def submit(self, job_id: str, entrypoint: str, metadata: Mapping[str, str]) -> None:
        """Starts a job. One that is there already is left alone.

        Raises:
            JobServerAwayError: it does not answer, or is not complete yet.
            ClusterError: it refuses the job.
        """
        body = {"submission_id": job_id, "entrypoint": entrypoint, "metadata": dict(metadata)}
        status, answer = self._ask("POST", "/api/jobs/", body)
        if status != 200 and b"already exists" not in answer:
            raise ClusterError(f"Ray's job server refuses {job_id} ({status}): {_last_line(answer)}")

    def find(self, job_id: str) -> Job | None:
        """The job as it is; None if the server does not know it.

        Raises:
            JobServerAwayError: it does not answer.
        """
        status, answer = self._ask("GET", f"/api/jobs/{quote(job_id, safe='')}")
        if status == 404:
            return None
        try:
            if status == 200:
                return msgspec.json.decode(answer, type=Job)
        except msgspec.MsgspecError:
            pass
        raise JobServerAwayError(f"Ray's job server answers {status}: {_last_line(answer)}")

    def last_error(self, job_id: str) -> str:
        """The line in which the job has told its error; empty if there is none."""
        try:
            status, answer = self._ask("GET", f"/api/jobs/{quote(job_id, safe='')}/logs")
            logs = msgspec.json.decode(answer, type=dict[str, str]).get("logs", "") if status == 200 else ""
        except (JobServerAwayError, msgspec.MsgspecError):
            return ""
        errors = [line for line in logs.splitlines() if line.startswith("error: ")]
        return errors[-1].removeprefix("error: ") if errors else ""

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(self._url + path, data, headers, method=method)
        try:
            with _DIRECT.open(request, timeout=_TIMEOUT_S) as response:
                return response.status, response.read(_MOST_LOG_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(_MOST_LOG_BYTES)
        except (OSError, ValueError) as error:  # urllib's own errors are OSErrors
            raise JobServerAwayError(f"Ray's job server at {self._url} does not answer: {error}") from None


def _last_line(answer: bytes) -> str:
    lines = [line.strip() for line in answer.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason"
