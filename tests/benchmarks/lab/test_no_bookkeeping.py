"""The comparison's other side is the product's own source, without what counts."""

from __future__ import annotations

import ast

import pytest

from benchmarks.lab import no_bookkeeping
from router.gateway import native

SOURCE = native.PACKAGE


def test_only_the_named_lines_are_taken_out(tmp_path):
    package = no_bookkeeping.write_package(tmp_path)
    changed = {
        path.relative_to(SOURCE).with_suffix("").as_posix()
        for path in SOURCE.rglob("*.py")
        if "_native" not in path.parts and path.read_text() != (package / path.relative_to(SOURCE)).read_text()
    }
    assert changed == set(no_bookkeeping.EDITS)
    for module, edits in no_bookkeeping.EDITS.items():
        text = (package / f"{module}.py").read_text()
        ast.parse(text)
        assert all(new in text for _, new in edits)


def test_a_source_that_has_changed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(no_bookkeeping.EDITS, "predict/pool", (("no such line", ""),))
    with pytest.raises(ValueError, match=r"pool\.py must hold this text once"):
        no_bookkeeping.write_package(tmp_path)
