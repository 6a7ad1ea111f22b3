"""nginx that answers every request with the same bytes: the practical limit of HTTP on this machine. No model."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.bench_bundle import Workload
from benchmarks.harness.peer import Served
from benchmarks.harness.ports import free_ports
from benchmarks.peers.server_process import server_process
from divisions.errors import InputError

BODY = (
    '{"customer_id":"c-1","bench_probability":0.12345678,"model":"bench-model","version":"1.1",'
    '"request_id":"0a1b2c3d-1a2b3c"}'
)
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {work}/nginx.pid;
error_log {work}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  default_type application/json;
  keepalive_requests 1000000000;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      add_header x-request-id 0a1b2c3d-1a2b3c;
      add_header x-model-version 1.1;
      add_header server-timing "queue;dur=0.100, compute;dur=0.100";
      return 200 '{body}';
    }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class NginxStatic:
    """Debian's nginx with one worker."""

    name: str = "nginx-static"
    note: str = "one worker, a constant reply with our headers and a body of our size; no model, no decoding"

    def prepare(self, build: Path, say: Callable[[str], None]) -> None:
        """Raises: InputError: nginx is not installed."""
        del build, say
        _find()

    @contextlib.contextmanager
    def serving(self, workload: Workload, work: Path) -> Iterator[Served]:
        (port,) = free_ports(1)
        configuration = work / "nginx.conf"
        text = _CONFIGURATION.format(work=work, port=port, body=BODY)
        configuration.write_text(text, encoding="utf-8")
        command = [_find(), "-c", str(configuration), "-p", str(work), "-e", str(work / "error.log")]
        served = Served(f"http://127.0.0.1:{port}/predict", workload.body)
        with server_process(command, {}, served, work / "server.log"):
            yield served


def _find() -> str:
    # /usr/sbin is not on everybody's path.
    found = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if found is None:
        raise InputError("nginx is not installed", remedy="apt-get install nginx-light")
    return found
