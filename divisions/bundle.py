"""The bundle: an immutable folder that trainers write and serving reads. Its name is its hash.

    <bundles>/<model>/<first 16 digits of the SHA-256>/    the last two parts are its address (`bundle_address`)

    model.onnx        the graph, feature transform included: ``rows float32[N, F] -> scores float32[N]``
    model.fp16.onnx   the same with its body in float16, for GPUs; absent if it failed its parity check
    reference.json    per-feature reference histograms, for drift
    manifest.json     `Manifest`: a description, and the SHA-256 of every other file

The bundle's identity is the SHA-256 of ``manifest.json``. Each changed byte changes that hash or differs from the
manifest. It is the identity of the content: the same training on the same data gives the same hash. Which run has made
it, when and from where is in the registry's tags and in the signed statements, because several runs may make the same.

Bundles of format 1 have run, time and input in the manifest, and a ``report.json`` among the files.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from divisions.errors import BundleError
from divisions.schema import FeatureSchema

MANIFEST = "manifest.json"
ONNX = "model.onnx"
ONNX_FP16 = "model.fp16.onnx"
REFERENCE = "reference.json"

GRAPH_INPUT = "rows"
GRAPH_OUTPUT = "scores"
"""The names of the graph's only input and output."""

_REMEDY = "train again, or restore the folder from the registry's artifacts"


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A probability of at least ``threshold`` means yes. ``rule`` says how it was chosen."""

    rule: str
    threshold: float


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The description of a bundle. ``files`` maps a file's name to its SHA-256. ``metrics`` are those of the
    hold-out. ``decision`` is unset in bundles that only give probabilities, such as those of earlier releases.
    ``run_id``, ``created_at`` and ``input_uri`` are empty in bundles of format 2: their hash is of the content."""

    model: str
    pipeline: str
    run_id: str
    created_at: str
    schema: FeatureSchema
    metrics: dict[str, float]
    files: dict[str, str]
    input_uri: str = ""
    framework: str = ""
    format_version: int = 1
    decision: Decision | msgspec.UnsetType = msgspec.UNSET

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json()).hexdigest()

    @property
    def decision_threshold(self) -> float | None:
        return None if self.decision is msgspec.UNSET else self.decision.threshold

    def to_json(self) -> bytes:
        return msgspec.json.encode(self, order="deterministic")


FORMAT = 2
"""Of the bundles that are written now."""


def bundle_address(model: str, sha256: str) -> str:
    """The name of a bundle in every store, and in the registry's and the journal's records."""
    return f"{model}/{sha256[:16]}"


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Writes the manifest; only the owner may read the bundle's files, nobody write them. Returns the SHA-256."""
    (folder / MANIFEST).write_bytes(manifest.to_json())
    for path in folder.iterdir():
        os.chmod(path, 0o400)
    return manifest.sha256


def decode_manifest(data: bytes, what: str) -> Manifest:
    """The description that a ``manifest.json`` holds; ``what`` names its bundle.

    Raises:
        BundleError: it is damaged.
    """
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # msgspec does not wrap the latter for keys
        raise BundleError(f"{what} has a damaged manifest: {error}", remedy=_REMEDY) from None


def read_bundle(folder: Path, expected_sha256: str | None = None) -> Manifest:
    """Reads a bundle's manifest after checking every byte of the bundle.

    Raises:
        BundleError: a file is missing, was added or changed, or the bundle is not the expected one.
    """
    remedy = _REMEDY
    try:
        data = (folder / MANIFEST).read_bytes()
        manifest = decode_manifest(data, f"bundle {folder}")
    except OSError as error:
        if not folder.exists():
            raise BundleError(f"there is no bundle {folder}", remedy=remedy) from None
        raise BundleError(f"bundle {folder} cannot be read: {error.strerror}", remedy=remedy) from None
    if expected_sha256 is not None and hashlib.sha256(data).hexdigest() != expected_sha256:
        raise BundleError(f"bundle {folder} is not the one that was registered: its hash differs", remedy=remedy)
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    if present != set(manifest.files):
        odd = sorted(present.symmetric_difference(manifest.files))
        raise BundleError(f"bundle {folder} has files missing or added: {', '.join(odd)}", remedy=remedy)
    for name, sha256 in manifest.files.items():
        try:
            is_same = file_sha256(folder / name) == sha256
        except OSError as error:  # a folder or a dangling link in the file's place
            raise BundleError(f"bundle {folder}: {name} cannot be read: {error.strerror}", remedy=remedy) from None
        if not is_same:
            raise BundleError(f"bundle {folder}: {name} was changed after it was written", remedy=remedy)
    return manifest


def read_reference(folder: Path, sha256: str) -> bytes:
    """The ``reference.json`` of the bundle with this hash, checked; empty when it has none, or it is not whole here."""
    try:
        manifest = (folder / MANIFEST).read_bytes()
        if hashlib.sha256(manifest).hexdigest() != sha256:
            return b""
        found = (folder / REFERENCE).read_bytes()
    except OSError:
        return b""
    expected = msgspec.json.decode(manifest, type=Manifest).files.get(REFERENCE)
    return found if hashlib.sha256(found).hexdigest() == expected else b""


def read_model(folder: Path, manifest: Manifest, name: str = ONNX) -> bytes:
    """Reads an ONNX file once and checks the bytes that it returns. ``name`` is `ONNX` or `ONNX_FP16`.

    `read_bundle` has hashed the file already, but the file may have been replaced since then.

    Raises:
        BundleError: the bundle has no model, or not the one that its manifest names.
    """
    remedy = _REMEDY
    try:
        model = (folder / name).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {folder}: {name} cannot be read: {error.strerror}", remedy=remedy) from None
    if hashlib.sha256(model).hexdigest() != manifest.files.get(name):
        raise BundleError(f"bundle {folder}: {name} was changed after it was written", remedy=remedy)
    return model
