"""The bins of training data on a gateway: from the node's bundle, else from the controller, and never waited for."""

import asyncio
import hashlib

import msgspec
import pytest

from divisions.bundle import REFERENCE, Manifest, write_manifest
from divisions.control import VersionSpec
from divisions.errors import NotRunningError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence.drift import NO_BINS, FeatureBins, InputBins
from router.gateway.reference_bins import ASK_S, ReferenceBins
from tests.router.gateway_world import FakeLink

SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))
BINS = InputBins((FeatureBins(SCHEMA.features[0], (3, 4, 0), (1.5,)),))
DATA = msgspec.json.encode(BINS)
MANIFEST = Manifest("churn-predictor", "p", "r", "", SCHEMA, {}, {REFERENCE: hashlib.sha256(DATA).hexdigest()})
SHA = MANIFEST.sha256
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
    write_bundle(tmp_path)
    it = World(tmp_path)
    assert it.bins.read(VERSION) == BINS
    it.ask()
    assert it.controller.asked == []


def write_bundle(home):
    folder = home / "bundles" / VERSION.bundle_path
    folder.mkdir(parents=True)
    (folder / REFERENCE).write_bytes(DATA)
    assert write_manifest(folder, MANIFEST) == SHA
    return folder


@pytest.mark.parametrize("name", [REFERENCE, "manifest.json"])
def test_a_bundle_that_is_damaged_here_is_not_read(tmp_path, name):
    path = write_bundle(tmp_path) / name
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"1.5", b"2.5").replace(b"churn", b"churm"))
    it = World(tmp_path)
    assert it.bins.read(VERSION) == NO_BINS
    it.ask()
    assert it.controller.asked == [SHA]


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
