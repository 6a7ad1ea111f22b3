"""Whether the OpenAPI document lists what a gateway has answered. Every test that asks a gateway's socket checks it."""

from __future__ import annotations

import functools
import re

from router.gateway.api_document import every_operation

_REQUEST = re.compile(rb"(GET|POST) (/[^ ?#%]*)(?:\?[^ ]*)? HTTP/1\.1\r\n")


@functools.cache
def _listed() -> list[tuple[str, re.Pattern[str], frozenset[int]]]:
    """Methods, paths as patterns and listed statuses."""
    return [
        (
            operation.method.upper(),
            re.compile(
                re.sub(
                    r"\\\{(\w+)\\\}",
                    r"(?P<\1>.+)" if "/page/" in operation.path else r"[^/]+",
                    re.escape(operation.path),
                )
            ),
            frozenset({*operation.replies, *operation.refused()}),
        )
        for operation in every_operation({})
    ]


def check_listed(data: bytes, status: int) -> None:
    """Fails if ``data`` begins with a request of a documented route, and the document does not list its answer."""
    match = _REQUEST.match(data)
    if match is None:
        return
    method, path = match[1].decode(), match[2].decode("latin-1")
    found = next((statuses for verb, form, statuses in _listed() if verb == method and form.fullmatch(path)), None)
    assert found is None or status in found, f"/openapi.json does not list {status} for {method} {path}"
