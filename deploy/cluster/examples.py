"""Example calls to paste into a shell. Their customers exist in the online store."""

from __future__ import annotations

import json
import shlex
from contextlib import closing, suppress

from deploy.supervision.gateway_address import answers_ok, fetch
from divisions.errors import OnlineStoreError
from divisions.online_stores import OnlineStore


def example_calls(store: OnlineStore, gateway_url: str) -> list[str]:
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
            f"  {_curl(gateway_url, endpoint, {'customer_id': customer_id})}",
            f"  {_curl(gateway_url, endpoint, {'customer_id': customer_id, 'features': features})}",
        ]
    return lines


def _curl(gateway_url: str, endpoint: str, body: dict[str, object]) -> str:
    data = json.dumps(body, ensure_ascii=False)
    url = f"{gateway_url}/api/v2/predict/{endpoint}"
    return f"curl -s {url} -H 'content-type: application/json' -d {shlex.quote(data)}"


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
