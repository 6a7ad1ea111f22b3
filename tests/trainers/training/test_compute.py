"""The stages in one process: what it says where the pipeline file asks for more."""

import numpy as np
import pandas as pd
import pytest

from divisions.pipeline.definition import Distribution, Features, Resources
from divisions.settings import S3Settings
from trainers.data.preparation import PreparationTask
from trainers.training.compute import ONE_PROCESS, InProcess


@pytest.mark.parametrize("wanted", Distribution)
def test_one_process_says_that_it_does_not_read_over_nodes_where_the_file_asks_for_it(tmp_path, wanted):
    index = np.arange(200)
    frame = pd.DataFrame({"customer_id": [f"c-{i}" for i in index], "minutes": index % 7, "churn": index % 3 == 0})
    frame.assign(event_time=pd.Timestamp("2025-01-14", tz="UTC")).to_parquet(tmp_path / "a.parquet")
    task = PreparationTask(str(tmp_path), Features(), "churn", 0, S3Settings(), (), distributed=wanted)
    notes = InProcess().prepare("churn", task, Resources()).table.notes
    assert (ONE_PROCESS in notes) is (wanted is Distribution.ALWAYS)
