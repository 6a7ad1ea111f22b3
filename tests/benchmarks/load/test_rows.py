import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.load.rows import encode_bodies, read_rows


def test_missing_values_travel_as_null_and_the_label_does_not_travel(tmp_path):
    path = tmp_path / "rows.parquet"
    columns = {"customer_id": ["c-1", "c-2"], "plan": ["yes", None], "minutes": [1.5, float("nan")]}
    pq.write_table(pa.table({**columns, "churn": [True, False]}), path)
    bodies = [json.loads(body) for body in encode_bodies(read_rows(path))]
    assert bodies == [
        {"customer_id": "c-1", "features": {"plan": "yes", "minutes": 1.5}},
        {"customer_id": "c-2", "features": {"plan": None, "minutes": None}},
    ]


def test_a_file_without_rows_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"customer_id": pa.array([], pa.string())}), path)
    with pytest.raises(ValueError, match="holds no rows"):
        read_rows(path)
