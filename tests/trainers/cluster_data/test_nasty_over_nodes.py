"""The nasty inputs of `tests.trainers.data` over nodes: the same values, the same notes, or the same line of error."""

import pytest

from divisions.errors import InputError
from divisions.pipeline.definition import Features
from divisions.settings import S3Settings
from tests.trainers.cluster_data.dirty import assert_same
from tests.trainers.cluster_data.local_workers import over_nodes
from tests.trainers.data.nasty.case import NOW
from tests.trainers.data.test_nasty_inputs import CASES
from trainers.data.ingest import Reading, read_events


@pytest.mark.parametrize("case", [case for _, cases in CASES for case in cases], ids=lambda case: case.what)
def test_it_comes_out_as_on_one_machine(case, tmp_path):
    case.write(tmp_path)
    outcomes = []
    for read in (read_events, over_nodes):
        try:
            events = read(
                str(tmp_path),
                s3=S3Settings(),
                allow_buckets=(),
                features=Features(**case.features),
                label="churn",
                reading=Reading(format=case.format, now=NOW),
            )
        except InputError as error:
            outcomes.append(str(error))
        else:
            outcomes.append(events)
    one, other = outcomes
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
    else:
        assert_same(one, other)
