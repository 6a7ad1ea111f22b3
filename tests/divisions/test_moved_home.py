"""A bundle that is not at its path: which one, why, and what to do."""

import pytest

from divisions.errors import BundleError
from divisions.moved_home import require_bundle


def make(home):
    bundle = home / "bundles" / "churn-predictor" / "0123456789abcdef"
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_text("{}")
    return bundle


def test_a_bundle_in_its_place_is_fine(tmp_path):
    require_bundle("churn-predictor 3.1", make(tmp_path), tmp_path)


def test_a_moved_home_is_named_with_both_places_and_a_remedy_that_works(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    bundle = make(old)
    old.rename(new)
    with pytest.raises(BundleError) as caught:
        require_bundle("churn-predictor 3.1", bundle, new)
    text = str(caught.value)
    assert f"the bundle of churn-predictor 3.1 is not at {bundle}" in text
    assert f"the home was moved from {old} to {new}" in text
    assert f"ln -s {new} {old}" in text
    old.symlink_to(new)
    require_bundle("churn-predictor 3.1", bundle, new)


def test_a_bundle_that_was_removed_is_not_called_moved(tmp_path):
    bundle = make(tmp_path)
    (bundle / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"is not at .*restore the folder") as caught:
        require_bundle("churn-predictor 3.1", bundle, tmp_path)
    assert "home was moved" not in str(caught.value)
    with pytest.raises(BundleError, match="restore the folder"):
        require_bundle("churn-predictor 3.1", bundle, tmp_path / "other")
