"""Compiled plans on disk. The key of a plan holds everything that it depends on. A plan needs this cluster's signature.

A plan is machine code for one GPU. Deserialising a plan from a stranger means running the stranger's program. So each
file starts with an HMAC-SHA256 over its key and its bytes, made with a secret of the cluster. It is checked before
TensorRT reads the file.

    <home>/engines/plan-<key>.bin     HMAC, then the plan
    <home>/engines/arch-<key>.bin     HMAC, then the key of a plan of the same architecture, for a refit
    <home>/engines/timing-<key>.bin   HMAC, then the builder's timing cache, valid for one kind of GPU
    <home>/engines/lock-<key>         locked while a plan is looked up or built, so that it is built once
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from divisions.errors import EngineError
from serving.engines.cuda_driver import GpuInfo
from serving.engines.tensorrt import profile_ranges

FORMAT = "divisions-plan-1"
SECRET_FILE = "plan_secret"
DIGEST_BYTES = 32

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlanKey:
    """Everything that a plan depends on. ``model_sha256`` is the hash of the ONNX file (float32 or float16)."""

    model_sha256: str
    architecture_sha256: str
    tensorrt_version: str
    cuda_version: str
    compute_capability: str
    gpu_name: str
    precision: str
    profile: str
    flags: str

    @property
    def digest(self) -> str:
        """The plan's name: 64 hex digits."""
        return _digest(asdict(self))

    @property
    def architecture_digest(self) -> str:
        """The name shared by plans of the same architecture: everything but the weights."""
        return _digest(asdict(replace(self, model_sha256="")))

    @property
    def timing_digest(self) -> str:
        """The name of the timing cache, which depends on the GPU and the library, but not on the model."""
        return _digest(
            asdict(replace(self, model_sha256="", architecture_sha256="", precision="", profile="", flags=""))
        )


def plan_key(
    model_onnx: bytes, gpu: GpuInfo, tensorrt_version: str, precision: str, max_batch: int, workspace_bytes: int
) -> PlanKey:
    """The key of the plan that `serving.compile.plan_builder` builds from these arguments."""
    ranges = ";".join(f"{one.least}-{one.best}-{one.most}" for one in profile_ranges(max_batch))
    return PlanKey(
        model_sha256=hashlib.sha256(model_onnx).hexdigest(),
        architecture_sha256=architecture_sha256(model_onnx),
        tensorrt_version=tensorrt_version,
        cuda_version=gpu.driver,
        compute_capability="{}.{}".format(*gpu.compute_capability),
        gpu_name=gpu.name,
        precision=precision,
        profile=ranges,
        flags=f"{FORMAT} strongly-typed refit strict-nans no-tf32 workspace={workspace_bytes}",
    )


def architecture_sha256(model_onnx: bytes) -> str:
    """The digest of a graph without the values of its float weights. A retrained model has the same digest.

    Integer values are part of it. They are shapes and indices, which a refit cannot change.
    """
    import onnx

    model = onnx.ModelProto.FromString(model_onnx)
    for tensor in model.graph.initializer:
        if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
            for field in ("raw_data", "float_data", "int32_data"):
                tensor.ClearField(field)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def cluster_secret(home: Path) -> bytes:
    """The cluster's secret for signing plans. The first caller creates it, with mode 0600.

    Raises:
        EngineError: other users can read the file, so anyone could have signed the plans.
    """
    path = home / SECRET_FILE
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkstemp(prefix=f".{SECRET_FILE}-", dir=home)[1])  # mkstemp gives mode 0600
        draft.write_bytes(secrets.token_bytes(DIGEST_BYTES))
        with contextlib.suppress(FileExistsError):  # another process was faster: its secret is used
            os.link(draft, path)
        draft.unlink()
    if path.stat().st_mode & 0o077:
        raise EngineError(
            f"{path} can be read by others", remedy=f"remove it and {home / 'engines'}; both are made again"
        )
    return path.read_bytes()


class EngineCache:
    """The folder of plans of one home."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        self._secret = secret
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self, key: PlanKey) -> Iterator[None]:
        """Holds a plan's lock, across processes. The kernel frees it if the process dies."""
        with (self._folder / f"lock-{key.digest}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def plan(self, key: PlanKey) -> bytes | None:
        """The plan, if the cache has one that this cluster signed for this key."""
        return self._read(f"plan-{key.digest}")

    def plan_path(self, key: PlanKey) -> Path:
        return self._folder / f"plan-{key.digest}.bin"

    def put_plan(self, key: PlanKey, plan: bytes) -> None:
        self._write(f"plan-{key.digest}", plan)
        self._write(f"arch-{key.architecture_digest}", key.digest.encode())

    def same_architecture(self, key: PlanKey) -> bytes | None:
        """A plan of the same architecture with other weights, for a refit."""
        name = self._read(f"arch-{key.architecture_digest}")
        return None if name is None or name == key.digest.encode() else self._read(f"plan-{name.decode()}")

    def discard(self, key: PlanKey) -> None:
        self.plan_path(key).unlink(missing_ok=True)

    def timing(self, key: PlanKey) -> bytes:
        """The timing cache; empty if there is none."""
        return self._read(f"timing-{key.timing_digest}") or b""

    def put_timing(self, key: PlanKey, timing: bytes) -> None:
        self._write(f"timing-{key.timing_digest}", timing)

    def _read(self, name: str) -> bytes | None:
        path = self._folder / f"{name}.bin"
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, content = data[:DIGEST_BYTES], data[DIGEST_BYTES:]
        if hmac.compare_digest(digest, self._sign(name, content)):
            return content
        log.warning("%s was changed, or is another cluster's: it is not used, and removed", path)
        path.unlink(missing_ok=True)
        return None

    def _write(self, name: str, content: bytes) -> None:
        """Replaces a file in one step. The signature covers the name, too, so that files cannot be swapped.

        If the disk fails, this replica still serves; the next replica builds the plan again.
        """
        draft: Path | None = None
        try:
            descriptor, path = tempfile.mkstemp(prefix=f".{name[:20]}-", dir=self._folder)
            draft = Path(path)
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._sign(name, content) + content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._folder / f"{name}.bin")
        except OSError as error:
            log.warning("%s cannot be kept: %s", self._folder / name, error.strerror)
        finally:
            if draft is not None:
                draft.unlink(missing_ok=True)

    def _sign(self, name: str, content: bytes) -> bytes:
        return hmac.digest(self._secret, f"{FORMAT} {name} ".encode() + content, "sha256")


def _digest(fields: dict[str, str]) -> str:
    return hashlib.sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()
