"""Endpoints as the Open Inference Protocol's models: names, versions, inputs and outputs.

A model is found by its endpoint's name, or by its own name if only one endpoint serves it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from divisions.errors import UnknownEndpointError, UnknownVersionError
from divisions.schema import FeatureKind
from router.oip.columns import DATATYPES
from router.oip.rows import ROWS, RowBounds
from router.predict.dispatcher import Dispatcher
from router.predict.endpoint import Endpoint
from router.predict.pool import Pool

PLATFORM = "onnx_onnxv1"


class ServedVersion:
    """One version of a model, and the values that its rows may have."""

    __slots__ = ("bounds", "pool", "required")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.bounds = RowBounds(pool.spec.schema.features)
        self.required = pool.spec.schema.names

    @property
    def is_ready(self) -> bool:
        return self.pool.ready_channels > 0


class ServedModel:
    """An endpoint under one of its names. ``versions`` are by label, stable first."""

    __slots__ = ("encoded_name", "endpoint", "has_one_encoding", "name", "output", "stable", "versions")

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self.encoded_name = msgspec.json.encode(name)[1:-1]
        self.endpoint = endpoint
        self.output = f"{endpoint.name}_probability"
        self.versions = {pool.spec.version: ServedVersion(pool) for pool in endpoint.pools}
        self.stable = self.versions[endpoint.stable.spec.version]
        self.has_one_encoding = all(
            version.bounds.features == self.stable.bounds.features for version in self.versions.values()
        )
        """Whether encoded rows mean the same for every version."""

    @property
    def kinds(self) -> dict[str, FeatureKind]:
        """Every feature that the endpoint knows."""
        return self.endpoint.decoder.kinds

    def version(self, label: str) -> ServedVersion:
        """Raises `UnknownVersionError` if it is not deployed."""
        version = self.versions.get(label)
        if version is None:
            raise UnknownVersionError(
                "that version is not deployed", remedy=f"deployed are: {', '.join(self.versions)}; or name none"
            )
        return version

    def metadata(self, label: str | None = None) -> dict[str, Any]:
        """The protocol's model metadata, of the stable version or the one that is named."""
        version = self.stable if label is None else self.version(label)
        features = version.bounds.features
        threshold = version.pool.spec.decision_threshold
        decision = {} if threshold is None else {"decision": {"name": self.endpoint.name, "at_least": threshold}}
        return {
            "name": self.name,
            "versions": list(self.versions) if label is None else [label],
            "platform": PLATFORM,
            "inputs": [
                {"name": feature.name, "datatype": DATATYPES[feature.kind], "shape": [-1]} for feature in features
            ],
            "outputs": [{"name": self.output, "datatype": "FP32", "shape": [-1]}],
            "parameters": {
                "instead_of_all_inputs": {"name": ROWS, "datatype": "FP32", "shape": [-1, len(features)]},
                "or_by_id": {"name": self.endpoint.decoder.entity, "datatype": "BYTES", "shape": [-1]},
                "stable_version": self.stable.pool.spec.version,
                **decision,
            },
        }


class Directory:
    """The models of the routing table in force."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._endpoints: dict[str, Endpoint] | None = None
        self._models: dict[str, ServedModel] = {}
        self._ambiguous: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return not self._dispatcher.endpoints

    @property
    def is_ready(self) -> bool:
        """Whether every model has a warm replica of its stable version."""
        return self._dispatcher.is_ready

    def endpoints(self) -> list[ServedModel]:
        """Every endpoint, once, under its own name."""
        models = self._current()
        return [models[name] for name in self._dispatcher.endpoints]

    def find(self, name: str) -> ServedModel:
        """Raises `UnknownEndpointError` if there is no such model."""
        model = self._current().get(name)
        if model is not None:
            return model
        if name in self._ambiguous:
            raise UnknownEndpointError("several endpoints serve that model", remedy="name the endpoint instead")
        remedy = "deploy it first, with `divisions run`" if self.is_empty else f"there are: {', '.join(self._models)}"
        raise UnknownEndpointError("no such model", remedy=remedy)

    def _current(self) -> dict[str, ServedModel]:
        endpoints = self._dispatcher.endpoints
        if endpoints is not self._endpoints:  # A new routing table makes new endpoints.
            self._endpoints = endpoints
            by_model: dict[str, list[Endpoint]] = {}
            for endpoint in endpoints.values():
                by_model.setdefault(endpoint.stable.spec.model, []).append(endpoint)
            self._ambiguous = frozenset(name for name, found in by_model.items() if len(found) > 1)
            self._models = {name: ServedModel(name, found[0]) for name, found in by_model.items() if len(found) == 1}
            self._models |= {name: ServedModel(name, endpoint) for name, endpoint in endpoints.items()}
        return self._models
