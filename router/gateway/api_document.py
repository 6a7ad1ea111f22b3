"""The OpenAPI document of this gateway: every route, and every deployed endpoint with its features."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from router.gateway import operations
from router.gateway.rollout_limits import LIMITS
from router.http.static_files import StaticFile
from router.oip import operations as oip
from router.openapi import document
from router.openapi.operation import Operation
from router.predict import operations as predict
from router.predict.dispatcher import Dispatcher
from router.predict.endpoint import Endpoint
from router.sagemaker import operations as sagemaker


class ApiDocument:
    """Renders the document when it is first asked for, and again for another set of endpoints."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._endpoints: Mapping[str, Endpoint] | None = None
        self._file = StaticFile(b"", "", "")

    def file(self) -> StaticFile:
        """The document as it is sent."""
        endpoints = self._dispatcher.endpoints
        if endpoints is not self._endpoints:  # A new routing table makes new endpoints.
            data = msgspec.json.encode(document.render(every_operation(endpoints), LIMITS))
            self._file = StaticFile(data, "application/json", f'"{hashlib.sha256(data).hexdigest()[:16]}"')
            self._endpoints = endpoints
        return self._file


def every_operation(endpoints: Mapping[str, Endpoint]) -> list[Operation]:
    """What the document describes, in its order."""
    deployed = [
        predict.of_endpoint(
            name, endpoint.decoder, len(endpoint.stable.spec.schema.features), needs_key=endpoint.needs_key
        )
        for name, endpoint in endpoints.items()
    ]
    return [predict.general(), *deployed, *operations.operations(), *oip.operations(), *sagemaker.operations()]
