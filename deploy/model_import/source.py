"""Where a foreign model comes from: a file, or a version that plain MLflow has registered; and its schema's file."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from divisions.errors import BundleError, UsageError
from divisions.registry import Registry
from divisions.schema import Feature

MODELS: Final = "models:/"
MAX_SCHEMA_BYTES: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """A model's bytes, where they came from, and their SHA-256."""

    model: bytes
    name: str

    @property
    def facts(self) -> dict[str, str]:
        return {"imported_from": self.name, "imported_sha256": hashlib.sha256(self.model).hexdigest()}


class _SchemaFile(msgspec.Struct, frozen=True):
    """The file may have more, such as what `divisions models show -o json` prints."""

    features: tuple[Feature, ...]


def read_source(text: str, registry: Registry) -> Source:
    """Reads ``FILE.onnx``, or ``models:/NAME/VERSION`` and ``models:/NAME@ALIAS``.

    Raises:
        UsageError: the file cannot be read.
        RegistryError: the registry does not answer, or has no such version.
        BundleError: the version is no ONNX model.
    """
    if not text.startswith(MODELS):
        try:
            return Source(Path(text).read_bytes(), Path(text).name)
        except OSError as error:
            raise UsageError(f"{text} cannot be read: {error.strerror}", remedy="name an ONNX file") from None
    with tempfile.TemporaryDirectory(prefix="divisions-import-") as workspace:
        return Source(_onnx_of(text, registry.download_model(text, Path(workspace))), text)


def read_schema(path: Path) -> tuple[Feature, ...]:
    """The features in a JSON file: ``{"features": [{"name": …, "kind": …, "categories": […]}, …]}``.

    Raises:
        UsageError: it cannot be read, is no such file, or names a feature twice.
    """
    remedy = 'write {"features": [{"name": "minutes", "kind": "numeric"}, …]}, in the order of the model\'s columns'
    try:
        with path.open("rb") as file:
            features = msgspec.json.decode(file.read(MAX_SCHEMA_BYTES), type=_SchemaFile).features
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", remedy=remedy) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no feature schema: {error}", remedy=remedy) from None
    names = [feature.name for feature in features]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not names:
        what = f"names {repeated[0]!r} twice" if repeated else "has no features"
        raise UsageError(f"{path} {what}", remedy=remedy)
    return features


def _onnx_of(name: str, folder: Path) -> bytes:
    import yaml

    try:
        described = yaml.safe_load((folder / "MLmodel").read_bytes())
        flavors = dict(described["flavors"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise BundleError(f"{name} has no MLmodel that can be read", remedy="name a version with a model") from None
    flavor = flavors.get("onnx")
    if not isinstance(flavor, dict) or not isinstance(flavor.get("data"), str):
        others = ", ".join(sorted(map(str, flavors))) or "none"
        raise BundleError(
            f"{name} is no ONNX model, its flavours are {others}", remedy="register it with mlflow.onnx.log_model"
        )
    path = folder / flavor["data"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{name} names a file outside of its folder", remedy="register it again")
    return _whole(name, path)


def _whole(name: str, path: Path) -> bytes:
    """The model with its weights inside: MLflow keeps those of more than 1 KiB in files beside it."""
    import onnx
    from google.protobuf.message import DecodeError, EncodeError

    try:
        model: Any = onnx.load(path)  # refuses paths out of the folder
        return bytes(model.SerializeToString())
    except (OSError, DecodeError, EncodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise BundleError(f"{name} cannot be read as ONNX: {reason}", remedy="register it again") from None
