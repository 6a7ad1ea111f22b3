"""The start of a run: what is told before anything heavy happens."""

import pytest

from divisions.errors import NotRunningError
from divisions.settings import Settings
from tests.trainers.test_run import RecordingProgress
from trainers.start import StartOptions, start


@pytest.mark.parametrize(("trigger", "told"), [('trigger: "schedule: 0 2 * * *"\n', 1), ("", 0)])
def test_a_trigger_that_nothing_obeys_is_told(tmp_path, trigger, told):
    file = tmp_path / "churn.yaml"
    stages = "stages:\n  data_prep:\n    input: data\n  deployment:\n    endpoint: /api/v2/predict/churn\n"
    file.write_text(f"pipeline: churn\n{trigger}{stages}")
    progress = RecordingProgress()
    with pytest.raises(NotRunningError):
        start(StartOptions(file), Settings(home=tmp_path / "home"), progress)
    notices = [one for one in progress.notices if "'schedule: 0 2 * * *' starts no runs" in one]
    assert len(notices) == told
