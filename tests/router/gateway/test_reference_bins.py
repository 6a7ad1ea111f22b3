"""The bins of training data on a gateway: from the node's bundle, else from the controller, and never waited for."""

import asyncio

import msgspec
import pytest

from divisions.bundle import REFERENCE
from divisions.control import VersionSpec
from divisions.errors import NotRunningError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence.drift import NO_BINS, FeatureBins, InputBins
from router.gateway.reference_bins import ASK_S, ReferenceBins
from tests.router.gateway_world import FakeLink

SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))
BINS = InputBins((FeatureBins(SCHEMA.features[0], (3, 4, 0), (1.5,)),))
SHA = "0123456789abcdef" * 4
VERSION = VersionSpec("churn-predictor", "3.1", f"churn-predictor/{SHA[:16]}", SHA, SCHEMA)


class World:
    def __init__(self, home):
        self.now_s = 100.0
        self.controller = FakeLink()
        self.bins = ReferenceBins(home, self.controller, lambda: self.now_s)

    def ask(self, after_s=0.0):
        self.now_s += after_s
        asyncio.run(self.bins.ask())


def test_a_bundle_of_this_node_is_read_and_nobody_asked(tmp_path):
    folder = tmp_path / "bundles" / VERSION.bundle_path
    folder.mkdir(parents=True)
    (folder / REFERENCE).write_bytes(msgspec.json.encode(BINS))
    it = World(tmp_path)
    assert it.bins.read(VERSION) == BINS
    it.ask()
    assert it.controller.asked == []


def test_without_a_bundle_the_controller_is_asked_until_it_has_them(tmp_path):
    it = World(tmp_path)
    assert it.bins.read(VERSION) == NO_BINS
    it.ask()
    assert it.bins.read(VERSION) == NO_BINS
    it.ask(after_s=1.0)
    assert it.controller.asked == [SHA], "not each second"
    it.controller.references[SHA] = msgspec.json.encode(BINS)
    it.bins.read(VERSION)
    it.ask(after_s=ASK_S)
    assert it.bins.read(VERSION) == BINS
    it.ask(after_s=ASK_S)
    assert it.controller.asked == [SHA, SHA]


def test_what_no_rollout_needs_any_more_is_not_asked_for(tmp_path):
    it = World(tmp_path)
    it.bins.read(VERSION)
    it.ask()
    it.ask(after_s=ASK_S)
    it.ask(after_s=ASK_S)
    assert it.controller.asked == [SHA]


def test_a_controller_that_is_away_is_asked_again_later(tmp_path):
    it = World(tmp_path)
    it.bins.read(VERSION)
    it.controller.is_away = True
    with pytest.raises(NotRunningError):
        it.ask()
    it.controller.is_away = False
    it.controller.references[SHA] = msgspec.json.encode(BINS)
    it.bins.read(VERSION)
    it.ask(after_s=ASK_S)
    assert it.bins.read(VERSION) == BINS
