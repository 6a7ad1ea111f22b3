"""`divisions data describe`: any format, with a pipeline file or without, and names that would be SQL or YAML."""

import json

import pandas as pd
import pytest

from divisions.errors import EmptyInputError
from divisions.pipeline.definition import DataFormat, Features
from divisions.pipeline.file import parse_pipeline
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from trainers.data.description import Declared, describe
from trainers.data.known_kinds import KnownKinds

HEAD = "pipeline: p\nstages:\n  data_prep:\n    input: d\n  deployment:\n    endpoint: /api/v2/predict/e\n"
NASTY = ["no'w", 'say "hi"', "a; DROP TABLE x --", "x'||y", "é ü", "select", "{a}"]


def run(path, **declared):
    return describe(str(path), s3=S3Settings(), allow_buckets=(), declared=Declared(**declared))


def bank(rows=200):
    """A table as banks publish it: no event time, a row number, a surname, labels of its own."""
    return pd.DataFrame(
        {
            "RowNumber": range(1, rows + 1),
            "CustomerId": [15_600_000 + 37 * i for i in range(rows)],
            "Surname": [f"Name{i}" for i in range(rows)],
            "CreditScore": [400 + 7 * i % 90 for i in range(rows)],
            "Geography": [("France", "Spain", None)[i % 3] for i in range(rows)],
            "Country": ["EU"] * rows,
            "Complained": [float(i % 5 == 0) for i in range(rows)],
            "Exited": [int(i % 5 == 0) for i in range(rows)],
        }
    )


def columns(found):
    return {column.name: column for column in found.columns}


@pytest.fixture(params=["csv", "parquet", "jsonl"])
def path(request, tmp_path):
    target = tmp_path / f"bank.{request.param}"
    frame = bank()
    match request.param:
        case "csv":
            frame.to_csv(target, index=False)
        case "parquet":
            frame.to_parquet(target, index=False)
        case _:
            target.write_text(
                "\n".join(json.dumps({k: v for k, v in r.items() if v is not None}) for r in frame.to_dict("records"))
            )
    return target


def test_every_format_gives_the_same_description(path):
    found = run(path)
    assert (found.rows, found.bad_rows, found.roles) == (200, 0, {"entity": "CustomerId", "label": "Exited"})
    assert (found.positive_rate, found.unlabelled, found.first) == (0.2, 0, None)
    assert 190 < found.entities <= 200  # an estimate, but never more than there are rows
    assert any("no column has a usual name of event time" in note for note in found.notes)
    by_name = columns(found)
    assert {name: column.kind for name, column in by_name.items()} == {
        "RowNumber": "no feature",
        "CustomerId": "entity",
        "Surname": "categorical",
        "CreditScore": "numeric",
        "Geography": "categorical",
        "Country": "categorical",
        "Complained": "numeric",
        "Exited": "label",
    }
    assert by_name["RowNumber"].why == "it numbers the rows"
    assert any(note.startswith("column 'RowNumber' is no feature") for note in found.notes)
    assert by_name["Surname"].suspicion.startswith("id")
    assert by_name["Country"].suspicion == "constant"
    assert by_name["Complained"].suspicion.startswith("nearly the label")
    assert (by_name["CreditScore"].suspicion, by_name["CreditScore"].minimum) == ("", 400.0)
    geography = by_name["Geography"]
    assert (geography.missing, geography.distinct, geography.examples) == (66, 2, ("France", "Spain"))
    assert by_name["CreditScore"].why == "inferred: 100 % of its values are numbers"


def test_the_yaml_says_the_same_and_leaves_out_what_is_suspicious(path):
    features = parse_pipeline(HEAD + run(path).features_yaml).features
    assert features.entity == "CustomerId"
    assert features.label.column == "Exited"
    assert features.numeric == ("CreditScore",)
    assert features.categorical == ("Geography",)
    assert set(features.exclude) == {"RowNumber", "Surname", "Country", "Complained"}


def test_names_and_values_that_would_be_sql_are_only_names_and_values(tmp_path):
    pd.DataFrame({name: [f"{name}{i}" for i in range(3)] for name in ["customer_id", *NASTY]}).to_csv(
        tmp_path / "a.csv", index=False
    )
    found = run(tmp_path)
    assert [column.name for column in found.columns] == ["customer_id", *NASTY]
    assert all(column.examples[0] == f"{column.name}0" for column in found.columns)
    assert parse_pipeline(HEAD + found.features_yaml).features.categorical == tuple(NASTY)


def test_a_pipeline_file_decides_roles_kinds_and_format(tmp_path):
    lines = ["who;when;area;gone;x", *(f"c-{i};14.0{i}.2025;0{40 + i};{i % 2};a" for i in range(1, 9))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    found = run(
        tmp_path,
        features=Features(entity="who", event_time="when", categorical=("area",), exclude=("x",)),
        label="gone",
        form=DataFormat(event_time_format="%d.%m.%Y"),
    )
    assert (found.first, found.last, found.unreadable_times) == ("2025-01-14T00:00:00Z", "2025-08-14T00:00:00Z", 0)
    by_name = columns(found)
    assert (by_name["area"].kind, by_name["area"].why) == ("categorical", "declared in features.categorical")
    assert by_name["area"].examples == ("041", "042", "043")
    assert (by_name["x"].kind, by_name["x"].suspicion) == ("left out", "")
    assert (by_name["who"].kind, by_name["gone"].kind) == ("entity", "label")


def test_a_kind_of_the_previous_version_is_kept_and_a_conflict_told(tmp_path):
    (tmp_path / "a.csv").write_text("customer_id,area,plan\nc-1,415,gold\nc-2,408,pro\n")
    known = KnownKinds("3.1", {"area": FeatureKind.CATEGORICAL, "plan": FeatureKind.NUMERIC})
    found = run(tmp_path, known=known)
    assert (columns(found)["area"].kind, columns(found)["area"].why) == ("categorical", "kept from version 3.1")
    assert any("a run would refuse this input: column 'plan'" in note for note in found.notes)


def test_bad_lines_and_unreadable_times_are_counted(tmp_path):
    (tmp_path / "a.csv").write_text("customer_id,ts,churn\nc-1,2025-01-14,yes\nc-2,soon,\nc-3\nc-4,2025-01-16,maybe\n")
    found = run(tmp_path)
    assert (found.rows, found.bad_rows, found.unreadable_times, found.unlabelled) == (4, 1, 1, 2)
    assert (found.first, found.last, found.positive_rate) == ("2025-01-14T00:00:00Z", "2025-01-16T00:00:00Z", 1.0)


def test_a_column_that_some_files_lack_is_missing_there(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"user_id": 1, "x": 2}\n')
    pd.DataFrame({"user_id": [2, 3], "tags": [["a"], None]}).to_parquet(tmp_path / "b.parquet")
    by_name = columns(run(tmp_path))
    assert (by_name["x"].missing, by_name["tags"].missing, by_name["tags"].kind) == (2, 2, "no feature")
    assert by_name["tags"].examples == ("[a]",)


def test_an_input_without_rows_or_a_missing_role_is_said(tmp_path):
    (tmp_path / "a.csv").write_text("customer_id,x\n")
    with pytest.raises(EmptyInputError):
        run(tmp_path)
    (tmp_path / "a.csv").write_text("customer_id,x\nc-1,1\n")
    found = run(tmp_path, features=Features(entity="who"), label="churn")
    assert "the input has no column 'who', which is to be its entity" in found.notes
    assert found.roles == {}


def test_defined_features_and_the_absence_of_events_stay_as_they_are_written(tmp_path):
    text = "  event_time: at\n  label: {absent: {event: buy}, for: 7d}\n  define:\n    spend: {sum: amount, over: 7d}\n"
    features = parse_pipeline(f"{HEAD}features:\n{text}").features
    rows = [{"customer_id": f"c-{i}", "at": f"2025-01-{i + 1:02}", "event": "buy", "amount": i} for i in range(9)]
    pd.DataFrame(rows).to_csv(tmp_path / "a.csv", index=False)
    found = run(tmp_path, features=features, label="e")
    assert parse_pipeline(HEAD + found.features_yaml).features == features
    assert not any("which is to be" in note for note in found.notes)
    assert found.positive_rate is None
