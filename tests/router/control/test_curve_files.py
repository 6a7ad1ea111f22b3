"""Curves on disk: whole or left out, and no fault of a disk goes further."""

from __future__ import annotations

import asyncio
import stat

import msgspec

from router.control import curve_files, endpoint_files
from router.control.curve_files import CurveFiles, keep
from router.house.curves import new_curve

CURVE = new_curve("churn", 3, "3.1", "3.2")


def test_what_was_written_is_read_and_private(tmp_path):
    files = CurveFiles(tmp_path / "curves")
    assert files.read() == {}
    files.write([CURVE])
    assert CurveFiles(tmp_path / "curves").read() == {"churn": CURVE}
    assert stat.S_IMODE((tmp_path / "curves" / "churn.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "curves").stat().st_mode) == 0o700


def test_a_curve_that_has_not_changed_is_not_written_again(tmp_path):
    files = CurveFiles(tmp_path)
    files.write([CURVE])
    (tmp_path / "churn.json").unlink()
    files.write([CURVE])
    assert not list(tmp_path.glob("*.json"))
    files.write([msgspec.structs.replace(CURVE, phase="STEP")])
    assert list(tmp_path.glob("*.json"))


def test_damaged_files_are_left_out(tmp_path, caplog):
    files = CurveFiles(tmp_path)
    files.write([CURVE])
    for name, content in (("a.json", b""), ("b.json", b"{"), ("c.json", b'{"endpoint":7}'), ("d.json", b"\xff")):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "e.json").mkdir()
    assert files.read() == {"churn": CURVE}
    assert len(caplog.records) == 5


def test_a_full_disk_is_told_and_tried_again(tmp_path, monkeypatch, caplog):
    def full(path, content):
        raise OSError(28, "No space left on device")

    files = CurveFiles(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(endpoint_files, "write_private", full)
        files.write([CURVE])
    assert "No space left" in caplog.text
    files.write([CURVE])
    assert files.read() == {"churn": CURVE}


def test_a_new_phase_is_saved_at_once(tmp_path, monkeypatch):
    class Chronicle:
        has_news = True

        def curves(self):
            return (CURVE,)

    async def scenario():
        monkeypatch.setattr(curve_files, "TURN_S", 0.001)
        chronicle, files = Chronicle(), CurveFiles(tmp_path)
        keeping = asyncio.create_task(keep(files, chronicle))
        while not files.read():
            await asyncio.sleep(0.001)
        assert not chronicle.has_news
        keeping.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 60))
