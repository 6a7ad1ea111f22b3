"""The watched lab: a real controller and gateway, pages that stay open, and rows that are logged."""

from __future__ import annotations

import json
import urllib.request

import msgspec
import pytest

from benchmarks.harness.bench_bundle import write_workload
from benchmarks.lab.bookkeeping import bodies_of
from benchmarks.lab.pages import Seen
from benchmarks.lab.watching import TOKEN, watched_lab

pytestmark = pytest.mark.e2e

CUSTOMERS = 200


def get(url: str) -> dict:
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


def test_what_is_watched_is_real(tmp_path):
    workload = write_workload(tmp_path / "bundle", has_reference=True)
    (tmp_path / "on").mkdir()
    seen: list[Seen] = []
    with watched_lab(workload, tmp_path / "on") as watched:
        base = watched.url.partition("/api/")[0]
        with watched.pages(3, seen):
            # What is asked before the controller's first look is in no window, so callers go on.
            while (get(f"{base}/api/v2/house")["live"]["requests"] or 0) < CUSTOMERS:
                for body in bodies_of(workload, CUSTOMERS):
                    request = urllib.request.Request(watched.url, body, {"content-type": "application/json"})
                    with urllib.request.urlopen(request, timeout=60) as reply:
                        assert msgspec.json.decode(reply.read())["version"] == "1.1"
            while not get(f"{base}/api/v2/drift/bench")["customers_hour"]:
                pass
    assert seen[0].houses > 3
    assert seen[0].scrapes >= 1


def test_pages_that_cannot_be_opened_say_why(tmp_path):
    workload = write_workload(tmp_path / "bundle")
    (tmp_path / "on").mkdir()
    with watched_lab(workload, tmp_path / "on") as watched:
        watched.token_file.write_text("another")
        with pytest.raises(RuntimeError, match="401"), watched.pages(1, []):
            pass
