"""``wrk`` as the driver of comparisons: a closed loop that asks for as much as a system can give."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from divisions.errors import InputError

_MARK = "result "

_SCRIPT = """\
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["content-type"] = "application/json"
file:close()

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{mark}{{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


class WrkResult(msgspec.Struct, frozen=True):
    """What wrk counted. ``status`` are answers other than 2xx and 3xx; they are also in ``requests``."""

    requests: int
    duration_us: int
    p50_us: int
    p99_us: int
    connect: int
    read: int
    write: int
    status: int
    timeout: int

    @property
    def rps(self) -> float:
        """Good answers per second."""
        return (self.requests - self.status) / (self.duration_us / 1e6)

    @property
    def errors(self) -> int:
        return self.connect + self.read + self.write + self.status + self.timeout


def require_wrk() -> str:
    """Raises: InputError: wrk is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise InputError("comparisons are driven by wrk, which is not installed", remedy="apt-get install wrk")
    return found


def write_script(path: Path, body: bytes) -> None:
    """Writes the Lua script that posts ``body``, and the body beside it."""
    body_path = path.with_suffix(".body")
    body_path.write_bytes(body)
    path.write_text(_SCRIPT.format(body=body_path.absolute(), mark=_MARK), encoding="utf-8")


def run_wrk(script: Path, url: str, connections: int, seconds: float) -> WrkResult:
    """One run with one thread, so that on two cores one is left to the system that is measured.

    Raises:
        RuntimeError: wrk failed.
    """
    command = [require_wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    done = subprocess.run(
        [*command, "-s", str(script), url], capture_output=True, text=True, timeout=seconds + 60, check=False
    )
    if done.returncode:
        raise RuntimeError(f"wrk failed on {url}: {(done.stderr or done.stdout).strip()[-300:]}")
    return parse_wrk(done.stdout)


def parse_wrk(output: str) -> WrkResult:
    """Raises: RuntimeError: the script's line is not in the output."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            return msgspec.json.decode(line.removeprefix(_MARK), type=WrkResult)
    raise RuntimeError(f"wrk printed no result: {output.strip()[-300:]}")
