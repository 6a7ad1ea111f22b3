"""Signed bundles: with trusted keys, nothing else is opened, wherever it comes from."""

import shutil
from dataclasses import replace

import pytest

from divisions.artifacts.attestations import PROVENANCE, SBOM, Attestations, attestation_name
from divisions.artifacts.cache import Bundles
from divisions.artifacts.signing import is_signed, sign, statements_of
from divisions.artifacts.store import open_store
from divisions.attestation.envelope import seal
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import new_signing_key
from divisions.attestation.statement import statement_of
from divisions.bundle import REFERENCE, bundle_address, read_bundle
from divisions.errors import ArtifactStoreError, BundleError
from divisions.settings import S3Settings, Settings
from tests.divisions.artifacts.test_cache import CountingStore, make

KEY, OTHER = new_signing_key(), new_signing_key()


class SigningStore(CountingStore):
    """A store whose statements can be changed."""

    def read_attestations(self, address, name, key):
        self._answer()
        self.reads.append(name)
        return self.inner.read_attestations(address, name, key)

    def write_attestation(self, address, name, content, key):
        self._answer()
        self.inner.write_attestation(address, name, content, key)


@pytest.fixture
def store(tmp_path):
    return SigningStore(open_store(str(tmp_path / "shared"), S3Settings()))


@pytest.fixture
def published(tmp_path, store):
    """The address and SHA-256 of a bundle that one machine has published."""
    folder, sha256 = make(tmp_path / "one")
    Bundles(tmp_path / "one", store).publish(folder, sha256)
    return bundle_address("churn-predictor", sha256), sha256


def statements(home, published):
    return statements_of(BundleFacts(read_bundle(home / "bundles" / published[0], published[1])))


def signed(tmp_path, store, published, key=KEY):
    return sign(Attestations(tmp_path / "one", store), statements(tmp_path / "one", published), key)


def machine(home, store, *keys):
    return Bundles(home, store, trusted=tuple(key.public for key in keys))


def test_a_bundle_that_a_trusted_key_has_signed_is_opened_on_another_machine(tmp_path, store, published):
    assert signed(tmp_path, store, published)
    folder, manifest = machine(tmp_path / "two", store, OTHER, KEY).open(*published)
    assert read_bundle(folder, published[1]) == manifest


def test_one_that_nobody_or_another_has_signed_is_refused(tmp_path, store, published):
    two = machine(tmp_path / "two", store, KEY)
    with pytest.raises(BundleError, match=r"has no provenance that is signed by a trusted key.*divisions models sign"):
        two.open(*published)
    signed(tmp_path, store, published, OTHER)
    with pytest.raises(BundleError, match=r"has no provenance that is signed by a trusted key"):
        two.open(*published)
    Bundles(tmp_path / "two", store).open(*published)


def test_without_a_store_the_homes_own_bundles_are_checked_too(tmp_path, published):
    one = machine(tmp_path / "one", None, KEY)
    with pytest.raises(BundleError, match="signed by a trusted key"):
        one.open(*published)
    signed(tmp_path, None, published)
    one.open(*published)


def test_a_statement_of_another_kind_or_bundle_does_not_count(tmp_path, store, published):
    address, sha256 = published
    name = attestation_name(PROVENANCE, KEY.public)
    sbom = seal(statements(tmp_path / "one", published).by_kind[SBOM], KEY)
    other = seal(statement_of(address, "b" * 64, "https://slsa.dev/provenance/v1", {}), KEY)
    for content, message in ((sbom, "holds a statement of type"), (other, "is about another bundle")):
        store.write_attestation(address, name, content, KEY)
        with pytest.raises(BundleError, match=f"the provenance of bundle {address} {message}"):
            machine(tmp_path / "two", store, KEY).open(address, sha256)


def test_no_byte_of_a_statement_can_be_changed(tmp_path, store, published):
    signed(tmp_path, store, published)
    for path in (tmp_path / "shared" / published[0]).glob("provenance.*.dsse.json"):
        good = path.read_bytes()
        for place in range(0, len(good), max(1, len(good) // 40)):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(BundleError, match=r"provenance"):
                machine(tmp_path / "two", store, KEY).open(*published)
        path.write_bytes(good)
    machine(tmp_path / "two", store, KEY).open(*published)


def test_a_statement_that_was_damaged_here_is_read_from_the_store_again(tmp_path, store, published):
    signed(tmp_path, store, published)
    two = machine(tmp_path / "two", store, KEY)
    two.open(*published)
    (path,) = (tmp_path / "two" / "attestations").rglob("provenance.*.dsse.json")
    good = path.read_bytes()
    path.write_bytes(b"half")
    two.open(*published)
    assert path.read_bytes() == good
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_store_that_is_away_stops_nobody_who_has_bundle_and_statement(tmp_path, store, published):
    signed(tmp_path, store, published)
    two = machine(tmp_path / "two", store, KEY)
    two.open(*published)
    store.is_away = True
    two.open(*published)
    shutil.rmtree(tmp_path / "two" / "attestations")
    with pytest.raises(BundleError, match=r"the signature of bundle .* cannot be read: the store does not answer"):
        two.open(*published)


def test_signing_again_changes_nothing_and_is_known(tmp_path, store, published):
    attestations, what = Attestations(tmp_path / "one", store), statements(tmp_path / "one", published)
    assert not is_signed(attestations, what, KEY)
    assert signed(tmp_path, store, published)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.dsse.json")}
    assert len(files) == 4
    assert not signed(tmp_path, store, published)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert is_signed(attestations, what, KEY)
    assert not is_signed(attestations, what, OTHER)
    next((tmp_path / "shared").rglob("sbom.*.dsse.json")).unlink()
    assert not is_signed(attestations, what, KEY)


def test_the_statement_and_its_signer_are_given(tmp_path, store, published):
    signed(tmp_path, store, published)
    attestations = Attestations(tmp_path / "two", store)
    for kind in (PROVENANCE, SBOM):
        key, found = attestations.verify(*published, (OTHER.public, KEY.public), kind)
        assert key == KEY.public
        assert found.subject[0].digest == {"sha256": published[1]}


def test_a_home_that_cannot_be_written_is_told_when_signing_and_no_matter_when_reading(tmp_path, store, published):
    signed(tmp_path, store, published)
    for home in ("one", "two"):
        shutil.rmtree(tmp_path / home / "attestations", ignore_errors=True)
        (tmp_path / home).mkdir(exist_ok=True)
        (tmp_path / home / "attestations").write_bytes(b"a file")
    with pytest.raises(BundleError, match="cannot be written"):
        signed(tmp_path, store, published)
    machine(tmp_path / "two", store, KEY).open(*published)


def test_a_store_that_is_away_is_told_when_signing(tmp_path, store, published):
    store.is_away = True
    with pytest.raises(ArtifactStoreError):
        signed(tmp_path, store, published)


def test_the_one_file_for_drift_is_not_fetched_unsigned_either(tmp_path, store):
    folder, sha256 = make(tmp_path / "one", reference=b"[1]")
    published = bundle_address("churn-predictor", sha256), sha256
    Bundles(tmp_path / "one", store).publish(folder, sha256)
    store.reads.clear()
    two = machine(tmp_path / "two", store, KEY)
    with pytest.raises(BundleError, match="signed by a trusted key"):
        two.fetch_reference(*published)
    assert REFERENCE not in store.reads
    signed(tmp_path, store, published)
    assert two.fetch_reference(*published) == b"[1]"


def test_statements_of_trusted_keys_are_found_by_their_names_and_no_others(tmp_path, store, published):
    signed(tmp_path, store, published)
    signed(tmp_path, store, published, OTHER)
    sealed = statements(tmp_path / "one", published).sealed(KEY)
    two = Attestations(tmp_path / "two", store)
    assert two.find(*published, (KEY.public,)) == sealed
    assert two.find(*published, ()) == {}
    name = attestation_name(PROVENANCE, KEY.public)
    store.write_attestation(published[0], name, sealed[attestation_name(SBOM, KEY.public)], KEY)
    assert two.find(*published, (KEY.public,)).keys() == sealed.keys() - {name}


def test_trusted_keys_come_from_the_settings(tmp_path):
    settings = Settings(home=tmp_path, trusted_keys=(str(KEY.public), str(OTHER.public)))
    assert Bundles.of(settings).trusted == (KEY.public, OTHER.public)
    assert Bundles.of(replace(settings, trusted_keys=())).trusted == ()
