"""Certificates of a gateway's port, as files: good ones, expired ones, with an encrypted key, from an authority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.certificates import Pair, new_pair


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates of ports; ``path`` is its own, as callers trust it."""

    path: Path
    pair: Pair


def write_authority(folder: Path) -> Authority:
    """Writes ``authority.crt``."""
    pair = new_pair("the company's authority", is_authority=True)
    path = folder / "authority.crt"
    path.write_bytes(pair.certificate_pem)
    return Authority(path, pair)


def write_pair(
    folder: Path,
    name: str = "port",
    *,
    begins: int = -1,
    ends: int = 30,
    passphrase: bytes = b"",
    host: str = "gateway.example",
    hosts: Sequence[str] = ("127.0.0.1",),
    authority: Authority | None = None,
) -> tuple[str, str]:
    """Writes ``NAME.crt`` and ``NAME.key``, valid from and to so many days from now; returns the paths.

    It is for ``host`` and for ``hosts``, and signed by an authority or else by itself.

    The two files are replaced in place, as an operator's copy does it.
    """
    signer = authority.pair if authority else None
    pair = new_pair(host, (host, *hosts), begins=begins, ends=ends, authority=signer)
    return pair.write(folder, name, passphrase)
