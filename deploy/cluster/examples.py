"""Example calls to paste into a shell. Their customers exist in the online store."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from deploy.supervision.gateway_address import answers_ok, fetch
from divisions.certificates.pinned import SERVED
from divisions.certificates.port_pair import examine, read_pair
from divisions.errors import OnlineStoreError
from divisions.online_stores import OnlineStore
from divisions.settings import Settings


@dataclass(frozen=True, slots=True)
class Curl:
    """How curl reaches the gateways from this machine: the beginning of its command, and of its URL."""

    command: str
    url: str


def curl_of(settings: Settings, gateway_url: str) -> Curl:
    """For the gateways of a home.

    Raises:
        SettingsError: the pair of the settings cannot be used.
    """
    if not settings.tls_cert:
        return Curl("curl -s", gateway_url)
    names = examine(read_pair(settings.tls_cert, settings.tls_key)).names
    allowed = settings.allowed_hosts
    answered = [name for name in names if "*" not in name and (not allowed or "*" in allowed or name in allowed)]
    return curl_to(gateway_url, str(settings.home / SERVED), answered)


def curl_to(gateway_url: str, served: str, names: Sequence[str]) -> Curl:
    """Trusts the certificate in the file ``served``, asks for one of its names, and yet connects to the gateways.

    Without a name, it checks nothing: the call has no secret in it, and is to this machine.

    >>> curl_to("https://127.0.0.1:8000", "gateway.pem", ["gateway.example"])
    Curl(command='curl -s --cacert gateway.pem --connect-to ::127.0.0.1:8000', url='https://gateway.example:8000')
    >>> curl_to("https://127.0.0.1:8000", "gateway.pem", ["gateway.example", "127.0.0.1"])
    Curl(command='curl -s --cacert gateway.pem', url='https://127.0.0.1:8000')
    """
    place = urlsplit(gateway_url)
    if not names:
        return Curl("curl -s --insecure", gateway_url)
    command = f"curl -s --cacert {shlex.quote(served)}"
    if place.hostname in names:
        return Curl(command, gateway_url)
    host = f"[{names[0]}]" if ":" in names[0] else names[0]
    return Curl(f"{command} --connect-to ::{place.netloc}", f"https://{host}:{place.port}")


def example_calls(store: OnlineStore, gateway_url: str, curl: Curl) -> list[str]:
    """Two calls for each endpoint that answers: a customer by id, and the same customer by features."""
    lines: list[str] = []
    for endpoint, names in _served(gateway_url).items():
        if not answers_ok(gateway_url, f"/v2/models/{endpoint}/ready"):
            continue
        found = _known_customer(store, endpoint)
        if found is None:
            lines += ["", f"The online store has no customers of {endpoint}: send `features`, or run a pipeline."]
            continue
        customer_id, raw = found
        features = {name: value for name, value in raw.items() if name in names}
        lines += [
            "",
            "Try it:",
            f"  {_call(curl, endpoint, {'customer_id': customer_id})}",
            f"  {_call(curl, endpoint, {'customer_id': customer_id, 'features': features})}",
        ]
    return lines


def _call(curl: Curl, endpoint: str, body: dict[str, object]) -> str:
    data = json.dumps(body, ensure_ascii=False)
    url = f"{curl.url}/api/v2/predict/{endpoint}"
    return f"{curl.command} {url} -H 'content-type: application/json' -d {shlex.quote(data)}"


def _served(gateway_url: str) -> dict[str, set[str]]:
    """The endpoints of a gateway, each with the names of its features."""
    with suppress(ValueError):
        endpoints = json.loads(fetch(gateway_url, "/") or b"{}").get("endpoints", {})
        return {name: set(endpoint.get("features", {})) for name, endpoint in endpoints.items()}
    return {}


def _known_customer(store: OnlineStore, endpoint: str) -> tuple[str, dict[str, object]] | None:
    with suppress(OnlineStoreError), closing(store.reader(endpoint)) as reader:
        found = reader.first()
        if found is not None:
            return found[0], json.loads(found[1])
    return None
