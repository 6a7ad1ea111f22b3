"""``wrk`` as the driver of comparisons: a closed loop that sends as much as a system can answer."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from divisions.errors import InputError

_MARK = "result "

_HEAD = """\
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
{headers}
"""

_ONE = """\
wrk.body = file:read("*a")
file:close()
"""

# Rendered once, so that taking turns costs the driver nothing.
_MANY = """\
local requests, turn = {{}}, 0

function init(args)
  for line in file:lines() do requests[#requests + 1] = wrk.format(nil, nil, nil, line) end
  file:close()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
"""

_DONE = """\
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{mark}{{"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,' ..
    '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""

_JSON = {"content-type": "application/json"}


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


def write_script(path: Path, body: bytes | Sequence[bytes], headers: Mapping[str, str] | None = None) -> None:
    """Writes the Lua script that posts ``body``, or each of several in turn, and the bodies beside it.

    Several must be JSON without line breaks, of one line each.
    """
    body_path = path.with_suffix(".body")
    is_one = isinstance(body, bytes)
    body_path.write_bytes(body if isinstance(body, bytes) else b"\n".join(body) + b"\n")
    lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in (_JSON | dict(headers or {})).items())
    values = {"body": str(body_path.absolute()), "headers": lines, "mark": _MARK}
    path.write_text((_HEAD + (_ONE if is_one else _MANY) + _DONE).format(**values), encoding="utf-8")


def run_wrk(script: Path, url: str, connections: int, seconds: float, threads: int = 1) -> WrkResult:
    """One run. With one thread, so that on two cores one is left to the system that is measured.

    Raises:
        RuntimeError: wrk failed.
    """
    command = [require_wrk(), f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
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
