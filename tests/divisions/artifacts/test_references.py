"""Reference histograms for a process without the bundle: fetched by a thread, checked, and never waited for."""

import threading

import pytest

from divisions.artifacts import references
from divisions.artifacts.cache import Bundles
from divisions.artifacts.references import RETRY_S, References
from divisions.artifacts.signing import sign, statements_of
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import new_signing_key
from divisions.bundle import REFERENCE, Manifest, bundle_address, file_sha256, read_bundle, write_manifest
from divisions.clock import ManualClock
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import Settings

SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))


@pytest.fixture
def published(tmp_path):
    """A bundle that another machine has published."""
    draft = tmp_path / "one" / "bundles" / "churn-predictor" / "draft"
    draft.mkdir(parents=True)
    (draft / REFERENCE).write_bytes(b'{"histograms":[]}')
    files = {REFERENCE: file_sha256(draft / REFERENCE)}
    sha256 = write_manifest(draft, Manifest("churn-predictor", "p", "r", "", SCHEMA, {}, files))
    address = bundle_address("churn-predictor", sha256)
    folder = draft.rename(tmp_path / "one" / "bundles" / address)
    Bundles.of(Settings(home=tmp_path / "one", artifacts=str(tmp_path / "shared"))).publish(folder, sha256)
    return address, sha256


def here(tmp_path, **settings):
    clock = ManualClock()
    return References(Settings(home=tmp_path / "two", artifacts=str(tmp_path / "shared"), **settings), clock), clock


def join():
    for thread in threading.enumerate():
        if thread.name == "reference":
            thread.join()


def test_one_that_is_not_here_is_fetched_meanwhile(tmp_path, published):
    it, _ = here(tmp_path)
    assert it.get(*published) == b""
    join()
    assert it.get(*published) == b'{"histograms":[]}'
    assert not (tmp_path / "two" / "bundles").exists(), "only the one file was read"


def test_one_of_this_machine_is_read_at_once(tmp_path, published):
    it = References(Settings(home=tmp_path / "one"))
    assert it.get(*published) == b'{"histograms":[]}'


def test_a_store_that_is_away_is_asked_again_after_a_while(tmp_path, published):
    it, clock = here(tmp_path)
    (tmp_path / "shared").rename(tmp_path / "away")
    assert it.get(*published) == b""
    join()
    (tmp_path / "away").rename(tmp_path / "shared")
    assert it.get(*published) == b""
    join()
    assert it.get(*published) == b"", "it was not asked again yet"
    clock.advance(RETRY_S)
    it.get(*published)
    join()
    assert it.get(*published) == b'{"histograms":[]}'


def test_one_that_was_changed_in_the_store_is_not_taken(tmp_path, published):
    it, _ = here(tmp_path)
    (tmp_path / "shared" / published[0] / REFERENCE).chmod(0o600)
    (tmp_path / "shared" / published[0] / REFERENCE).write_bytes(b'{"histograms":[1]}')
    it.get(*published)
    join()
    assert it.get(*published) == b""


def test_a_bundle_that_is_damaged_here_gives_none(tmp_path, published):
    path = tmp_path / "one" / "bundles" / published[0] / REFERENCE
    path.chmod(0o600)
    path.write_bytes(b'{"histograms":[1]}')
    assert References(Settings(home=tmp_path / "one")).get(*published) == b""
    it = References(Settings(home=tmp_path / "one", artifacts=str(tmp_path / "shared")))
    assert it.get(*published) == b""
    join()
    assert it.get(*published) == b'{"histograms":[]}', "the store has the right one"


@pytest.mark.parametrize("home", ["one", "two"])
def test_with_trusted_keys_one_must_have_signed_it_wherever_it_is(tmp_path, published, home):
    key, clock = new_signing_key(), ManualClock()
    settings = Settings(home=tmp_path / home, artifacts=str(tmp_path / "shared"), trusted_keys=(str(key.public),))
    it = References(settings, clock)
    for _ in range(2):
        assert it.get(*published) == b""
        join()
    bundles = Bundles.of(Settings(home=tmp_path / "one", artifacts=str(tmp_path / "shared")))
    manifest = read_bundle(tmp_path / "one" / "bundles" / published[0], published[1])
    sign(bundles.attestations, statements_of(BundleFacts(manifest)), key)
    clock.advance(RETRY_S)
    assert it.get(*published) == b""
    join()
    assert it.get(*published) == b'{"histograms":[]}'


def test_only_the_last_ones_are_kept(tmp_path, published, monkeypatch):
    monkeypatch.setattr(references, "_MAX_KEPT", 1)
    it = References(Settings(home=tmp_path / "one"))
    it._keep("other", b"1")
    it.get(*published)
    assert list(it._known) == [published[1]]
