"""Where a recorded bundle is on this machine: by its address, whatever path an older record holds."""

import shutil

from divisions.artifacts.local import address_of, local_bundle
from divisions.bundle import bundle_address

ADDRESS = "churn-predictor/0123456789abcdef"


def make(home):
    bundle = home / "bundles" / ADDRESS
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_text("{}")
    return bundle


def test_an_address_is_a_folder_of_the_home(tmp_path):
    assert bundle_address("churn-predictor", "0123456789abcdef" + "7" * 48) == ADDRESS
    assert local_bundle(tmp_path, ADDRESS) == tmp_path / "bundles" / ADDRESS


def test_a_path_of_an_older_record_counts_as_long_as_a_bundle_is_there(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    bundle = make(old)
    assert local_bundle(new, str(bundle)) == bundle
    assert local_bundle(new, bundle) == bundle
    shutil.copytree(old, new)
    assert local_bundle(new, bundle) == new / "bundles" / ADDRESS
    shutil.rmtree(old)
    assert local_bundle(new, bundle) == new / "bundles" / ADDRESS
    assert address_of(bundle) == ADDRESS


def test_a_relative_path_is_never_looked_up_in_the_current_folder(tmp_path, monkeypatch):
    make(tmp_path / "home")
    (tmp_path / ADDRESS).mkdir(parents=True)
    (tmp_path / ADDRESS / "manifest.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert local_bundle(tmp_path / "home", ADDRESS) == tmp_path / "home" / "bundles" / ADDRESS
