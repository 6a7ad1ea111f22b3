"""A version as files for people and other tools: the tar, and beside it what is known and signed of it."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from divisions.artifacts.attestations import PROVENANCE
from divisions.artifacts.signing import Statements
from divisions.artifacts.tarball import tarball_name, write_tarball
from divisions.attestation.keys import SigningKey
from divisions.errors import BundleError
from divisions.versions import RegisteredVersion


@dataclass(frozen=True, slots=True)
class Package:
    """The files that were written. ``tar_sha256`` is of the uncompressed tar."""

    tar: Path
    beside: tuple[Path, ...]
    tar_sha256: str


def write_package(
    bundle: Path, statements: Statements, version: RegisteredVersion, folder: Path, key: SigningKey | None
) -> Package:
    """Writes ``churn-predictor-v3.2.tar.gz``, ``….cdx.json``, ``….provenance.json``, and ``….intoto.jsonl`` with a key.

    Raises:
        BundleError: they cannot be written.
    """
    tar = folder / tarball_name(version.model, version.version)
    tar_sha256 = write_tarball(bundle, tar)
    contents = {".cdx.json": statements.sbom, ".provenance.json": statements.by_kind[PROVENANCE]}
    if key is not None:
        contents[".intoto.jsonl"] = b"".join(each + b"\n" for each in statements.sealed(key).values())
    stem = tar.name.removesuffix(".tar.gz")
    return Package(
        tar, tuple(_write(folder / f"{stem}{suffix}", content) for suffix, content in contents.items()), tar_sha256
    )


def _write(path: Path, content: bytes) -> Path:
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be written: {error.strerror}", remedy="check the disk's space and permissions"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()
    return path
