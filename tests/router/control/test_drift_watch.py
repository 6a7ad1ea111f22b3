"""Drift of endpoints in the controller: whose rows count, what is told, and what outlives a restart."""

import asyncio

import msgspec
import numpy as np
import pytest

from divisions.clock import ManualClock
from divisions.errors import UnknownVersionError
from divisions.reports import EndpointReport, GatewayReport, InputSample
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.control import drift_files
from router.control.drift_files import DriftFiles, keep
from router.control.drift_watch import DriftWatch
from router.evidence.drift import NO_BINS, FeatureBins, InputBins
from tests.router.rollout_world import World, version

AGE = Feature("age", FeatureKind.NUMERIC)
BINS = InputBins(
    (FeatureBins(AGE, (5_000, 5_000, 0), (40.0,)),),
    FeatureBins(Feature("prediction", FeatureKind.NUMERIC), (5_000, 5_000, 0), (0.5,)),
)


class Place:
    """A watch over one endpoint, and gateways that report its rows."""

    def __init__(self, tmp_path, clock=None):
        self.world = World(tmp_path)
        self.world.deploy_first()
        record = self.world.controller.records["churn"]
        self.stable = msgspec.structs.replace(version("3.1"), schema=FeatureSchema((AGE,)))
        self.set_stable(record)
        self.clock = clock or ManualClock()
        self.bins = BINS
        self.watch = self.begun()
        self.random = np.random.default_rng(1)

    def set_stable(self, record):
        spec = msgspec.structs.replace(record.rollout.spec, version=self.stable)
        rollout = msgspec.structs.replace(record.rollout, spec=spec)
        self.records = {"churn": msgspec.structs.replace(record, rollout=rollout)}

    def begun(self):
        watch = DriftWatch(self.clock, lambda version: self.bins, lambda: self.records)
        watch.tick()
        return watch

    def report(self, share=0.5, rows=400, sha256=None):
        columns = (self.random.random((rows, 2)) < share).astype("<u2")
        digests = self.random.integers(0, 2**63, rows, dtype=np.uint64)
        sample = InputSample(sha256 or self.stable.bundle_sha256, digests.tobytes(), columns.tobytes())
        self.watch.report(GatewayReport("g1", 1, 1, (EndpointReport("churn", (), inputs=sample),)))

    def slots(self, number, share=0.5):
        found = []
        for _ in range(number):
            self.report(share)
            self.clock.advance(300.0)
            found += self.watch.tick()
        return found


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_rows_of_all_gateways_become_an_alert_that_is_told_everywhere(place):
    assert place.slots(6) == []
    (drift,) = place.watch.drift()
    assert (drift.endpoint, drift.version, drift.state) == ("churn", "3.1", "watching")
    found = place.slots(12, share=0.9)
    assert {alert.feature for _, alert in found} == {"age", ""}
    (summary,) = place.watch.summaries()
    assert (summary.alerts_total, summary.feature) == (2, "age")
    assert summary.score > 0.1
    assert {alert.feature for alert in summary.alerts} == {"age", ""}
    (whole,) = place.watch.drift("churn")
    assert whole.histograms[0].bins == ("<= 40", "> 40", "missing")
    assert place.watch.drift()[0].histograms == ()


def test_without_bins_drift_is_unknown_and_they_are_asked_for_again(place):
    place.bins = NO_BINS
    place.watch = place.begun()
    place.report()
    assert place.watch.drift()[0].state == "unknown"
    place.bins = BINS
    place.watch.tick()
    assert place.watch.drift()[0].state == "unknown", "not each second"
    place.clock.advance(5.0)
    place.watch.tick()
    assert place.watch.drift()[0].state == "warming"


def test_a_new_version_is_watched_anew_and_the_count_of_alerts_goes_on(place):
    place.slots(12, share=0.9)
    place.stable = msgspec.structs.replace(place.stable, version="3.2", bundle_sha256="next")
    place.set_stable(place.records["churn"])
    place.report()  # of the new version; the controller has not begun its watch
    place.clock.advance(5.0)
    place.watch.tick()
    (drift,) = place.watch.drift()
    assert (drift.version, drift.state, drift.alerts, drift.alerts_total) == ("3.2", "warming", (), 2)
    place.report(sha256="3.13.13.13.13.13.13.13.1")
    assert place.watch.drift()[0].customers_hour == 0, "rows of the version before are of other bins"
    place.slots(12, share=0.9)
    assert place.watch.drift()[0].alerts_total == 4


def test_an_endpoint_that_is_unknown_is_named(place):
    with pytest.raises(UnknownVersionError, match="no such endpoint"):
        place.watch.drift("other")


def test_a_restarted_controller_goes_on_with_windows_and_alerts(place, tmp_path):
    place.slots(12, share=0.9)
    files = DriftFiles(tmp_path / "drift")
    files.write(place.watch.states())
    before = place.watch.drift()
    place.watch = DriftWatch(place.clock, lambda version: place.bins, lambda: place.records)
    place.watch.restore(files.read())
    assert place.watch.drift()[0].alerts_total == 2, "known before the bins are"
    place.watch.tick()
    (after,) = place.watch.drift()
    assert (after.alerts, after.customers_hour) == (before[0].alerts, before[0].customers_hour)
    assert place.slots(3, share=0.9) == [], "the same drift is not told twice"


def test_a_damaged_file_costs_its_windows_and_no_start(tmp_path, place, caplog):
    folder = tmp_path / "drift"
    files = DriftFiles(folder)
    files.write(place.watch.states())
    whole = (folder / "churn.msgpack").read_bytes()
    for data in (b"", whole[:-9], b"of another release\n" + whole, whole.replace(b"churn", b"\xff" * 5)):
        (folder / "churn.msgpack").write_bytes(data)
        assert files.read() == {}
    assert "these windows of drift fill anew" in caplog.text
    assert files.read.__self__ is files


def test_a_full_disk_leaves_the_file_before_as_it_was(tmp_path, place, monkeypatch, caplog):
    files = DriftFiles(tmp_path / "drift")
    files.write(place.watch.states())
    before = files.read()
    place.slots(3)

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("divisions.deployment.os.fsync", full)
    files.write(place.watch.states())
    assert files.read() == before
    assert "No space left on device" in caplog.text
    assert [path.name for path in (tmp_path / "drift").iterdir()] == ["churn.msgpack"]


def test_an_alert_is_saved_at_once_and_the_rest_in_time(tmp_path, place, monkeypatch):
    monkeypatch.setattr(drift_files, "TURN_S", 0.001)
    written = []

    class Files(DriftFiles):
        def write(self, states):
            written.append(len(states))
            if len(written) == 1:
                raise OSError("gone")

    async def scenario():
        task = asyncio.create_task(keep(Files(tmp_path), place.watch))
        place.watch.has_news = True
        async with asyncio.timeout(30):
            while place.watch.has_news or not written:
                await asyncio.sleep(0.001)
            while len(written) < 2:  # and after `SAVE_S` turns, although the first time has failed
                await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(scenario())
    assert written == [1, 1]


def test_the_controller_takes_samples_and_tells_them(tmp_path):
    world = World(tmp_path)
    world.deploy_first()
    assert [drift.endpoint for drift in world.controller.status().drift] == ["churn"]
    assert world.controller.drift("churn").endpoints[0].state == "unknown"
