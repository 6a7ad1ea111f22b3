"""Where a recorded bundle is on this machine. Pure, but for one look whether an old path still exists."""

from __future__ import annotations

from pathlib import Path

from divisions.bundle import MANIFEST


def bundles_folder(home: Path) -> Path:
    return home / "bundles"


def address_of(recorded: str | Path) -> str:
    """The address that a record names. Older records hold an absolute path; its last two parts are the address.

    >>> address_of("/old/home/bundles/churn-predictor/0123456789abcdef")
    'churn-predictor/0123456789abcdef'
    """
    return "/".join(Path(recorded).parts[-2:])


def local_bundle(home: Path, recorded: str | Path) -> Path:
    """The folder of a bundle on this machine; it may not exist.

    An older record's path counts if a bundle is there and this home has none. The home may have been moved or copied
    since the record was written.
    """
    here, place = bundles_folder(home) / address_of(recorded), Path(recorded)
    if place.is_absolute() and not (here / MANIFEST).exists() and (place / MANIFEST).exists():
        return place
    return here
