"""Versions that other tools have registered in the same registry, such as a TensorFlow model.

They can be looked at and archived. They have no bundle and no feature schema, so none is served as it is;
``divisions models import`` makes a version of ours from an ONNX one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from divisions.errors import RegistryError
from divisions.mlflow_format import MLMODEL
from divisions.registry_records import ARCHIVED, VersionRecord, is_foreign

if TYPE_CHECKING:
    from divisions.registry import Registry

_FRAMEWORKS: Final = {"onnx": "ONNX", "pytorch": "PyTorch", "sklearn": "scikit-learn", "tensorflow": "TensorFlow"}
_FRAMEWORK_TAG: Final = "framework"
_MAX_BYTES: Final = 1_000_000


class ForeignVersion(msgspec.Struct, frozen=True):
    """A version of another tool. ``framework`` is empty, and ``size_bytes`` 0, where MLflow does not say it here;
    ``metrics`` are those of its run."""

    model: str
    version: int
    run_id: str
    aliases: tuple[str, ...] = ()
    is_archived: bool = False
    created_at_s: float = 0.0
    framework: str = ""
    size_bytes: int = 0
    metrics: dict[str, float] = {}


def foreign_version(record: VersionRecord, metrics: Mapping[str, float]) -> ForeignVersion | None:
    """The version as a plain value; None if it is ours."""
    if not is_foreign(record):
        return None
    framework, size_bytes = _described(record.storage)
    return ForeignVersion(
        model=record.name,
        version=record.version,
        run_id=record.run_id,
        aliases=tuple(sorted(record.aliases)),
        is_archived=record.tags.get(ARCHIVED) == "true",
        created_at_s=record.created_at_ms / 1000,
        framework=record.tags.get(_FRAMEWORK_TAG) or framework,
        size_bytes=size_bytes,
        metrics=dict(metrics),
    )


def foreign_versions(registry: Registry, model: str | None = None) -> list[ForeignVersion]:
    """The versions of one model, or of every model, that other tools have registered; newest first.

    Raises:
        RegistryError: the registry cannot be reached.
    """
    found = []
    for record in registry.records(model):
        if is_foreign(record):
            metrics: Mapping[str, float] = {}
            with contextlib.suppress(RegistryError):  # its run was deleted
                metrics = registry.get_run(record.run_id).metrics if record.run_id else {}
            found.append(foreign_version(record, metrics))
    versions = [version for version in found if version is not None]
    return sorted(versions, key=lambda one: (one.model, -one.version))


def find_foreign(registry: Registry, model: str, name: str) -> ForeignVersion | None:
    """Another tool's version by its number or an alias, also as MLflow writes them; None if there is none."""
    found = foreign_versions(registry, model)
    return next((one for one in found if _is_named(one.version, one.aliases, model, name)), None)


def refuse_foreign(records: Iterable[VersionRecord], model: str, name: str) -> None:
    """Raises: RegistryError: the version that ``name`` means is another tool's."""
    for record in records:
        if is_foreign(record) and _is_named(record.version, record.aliases, model, name):
            raise RegistryError(
                f"version {name} of {model!r} was registered by another tool, and has no bundle to serve",
                remedy=f"make one with `divisions models import models:/{model}/{record.version} --schema FILE`",
            )


def _is_named(number: int, aliases: Iterable[str], model: str, name: str) -> bool:
    named = {f"models:/{model}/{number}", str(number)}
    return name in named | {f"{start}{alias}" for alias in aliases for start in ("", f"models:/{model}@")}


def _described(storage: str) -> tuple[str, int]:
    """Framework and size as ``MLmodel`` has them, where the model is on this machine; else nothing is known."""
    parts = urlsplit(storage)
    if parts.scheme not in {"", "file"} or not parts.path:
        return "", 0
    import yaml

    try:
        with (Path(unquote(parts.path)) / MLMODEL).open("rb") as file:
            found: Any = yaml.safe_load(file.read(_MAX_BYTES))
        flavors, size = dict(found["flavors"]), found.get("model_size_bytes")
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError):
        return "", 0
    own = sorted(str(name) for name in flavors if name != "python_function")
    named = ", ".join(_FRAMEWORKS.get(name, name) for name in own)[:100]
    return named, size if isinstance(size, int) and not isinstance(size, bool) else 0
