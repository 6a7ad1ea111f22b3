"""A target's address at which nothing answers."""

import pytest

from deploy.shipping.opening import Opening
from deploy.shipping.target_file import parse_targets
from divisions.clock import ManualClock
from divisions.errors import NotRunningError
from divisions.pipeline.file import parse_pipeline
from divisions.settings import Settings

PIPELINE = parse_pipeline(
    "pipeline: p\nstages:\n  data_prep:\n    input: d\n  deployment:\n    endpoint: /api/v2/predict/churn\n"
)


def test_the_remedy_is_the_targets_address_and_not_a_cluster_of_this_home(tmp_path):
    targets = parse_targets(
        "targets:\n  far:\n    kind: local\n    gateway: http://127.0.0.1:9\n  here:\n    kind: local\n"
    )
    remedies = {}
    for name in ("far", "here"):
        opening = Opening(name, Settings(home=tmp_path, port=9), PIPELINE, None, ManualClock())
        with (
            pytest.raises(NotRunningError, match="nothing answers") as caught,
            targets[name].settings.open(opening) as it,
        ):
            it._client.rollouts()
        remedies[name] = caught.value.remedy
    assert remedies == {
        "far": "see that a gateway listens there, and check gateway of the target far",
        "here": f"start the cluster of the home {tmp_path} with `divisions up`; if another home's is up, "
        "name that home in DIVISIONS_HOME",
    }
