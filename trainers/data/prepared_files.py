"""Prepared data as files, for a process on another node: tables are read from a store, not sent through Ray.

What is small (schema, counts, notes) stays in `Prepared`. Split tables are not written: they follow from the customers.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainers.data.feature_table import split_holdout
from trainers.data.preparation import Prepared
from trainers.data.quarantine import Quarantine

TABLES, NEWEST = "tables.pickle", "newest.parquet"


def write_prepared(prepared: Prepared, folder: Path) -> Prepared:
    """Writes the tables into a folder; returns the rest. The newest rows are to be there already, as `NEWEST`."""
    with (folder / TABLES).open("wb") as file:
        pickle.dump((prepared.table, prepared.events.unusable), file, protocol=pickle.HIGHEST_PROTOCOL)
    empty = prepared.table.take(np.zeros(len(prepared.table), dtype=bool))
    rest = replace(prepared.events, unusable=Quarantine())
    return replace(prepared, events=rest, table=empty, train=empty, holdout=empty)


def read_prepared(rest: Prepared, folder: Path) -> Prepared:
    """The prepared data, from what `write_prepared` has returned and written. The file's SHA-256 is to be checked
    before: a pickle can hold code."""
    with (folder / TABLES).open("rb") as file:
        table, unusable = pickle.load(file)
    split = split_holdout(table)
    events = replace(rest.events, unusable=unusable)
    return replace(rest, events=events, table=table, train=split.train, holdout=split.holdout)


def hashes(folder: Path) -> Mapping[str, str]:
    """The SHA-256 of each file by its name."""
    found = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
