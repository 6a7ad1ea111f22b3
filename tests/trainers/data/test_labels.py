"""The words of a label, declared or usual, and tables without an event time."""

import pandas as pd
import pytest

from divisions.errors import InputError, MissingColumnError
from divisions.pipeline.definition import Features, Label
from divisions.settings import S3Settings
from trainers.data.ingest import read_events

STATUS = "Status"


def read(path, label=None, column=STATUS, **features):
    features = Features(label=label or Label(), **features)
    return read_events(str(path), s3=S3Settings(), allow_buckets=(), features=features, label=column)


def write(tmp_path, words, name="a.csv"):
    frame = pd.DataFrame(
        {
            "customer_id": range(1, len(words) + 1),
            "event_time": "2025-01-14",
            "minutes": range(len(words)),
            STATUS: words,
        }
    )
    path = tmp_path / name
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("words", "label", "expected"),
    [
        (["Churned", "Stayed", "CHURNED ", "Joined"], Label("", ("churned",)), [1, 0, 1, 0]),
        (["2", "1", "2"], Label("", ("2.0",)), [1, 0, 1]),
        (["yes", "no", "yes"], Label("", ("no",)), [0, 1, 0]),
        (["É", "e", "é"], Label("", ("é",), ("e",)), [1, 0, 1]),
        (["it's", 'a "b"', "it's"], Label("", ("it's",)), [1, 0, 1]),
        (["t", "F", "t"], Label(), [1, 0, 1]),
        (["Y", "n", "y"], Label(), [1, 0, 1]),
        (["1.0", "0.0", "1.0"], Label(), [1, 0, 1]),
        (["True.", "False.", "True"], Label(), [1, 0, 1]),
    ],
)
def test_words_have_the_meaning_that_is_declared_or_usual(tmp_path, words, label, expected):
    events = read(write(tmp_path, words), label)
    assert events.frame.sort_values("customer_id")[STATUS].tolist() == expected
    assert events.num_quarantined == 0


@pytest.mark.parametrize("words", [[2, 1, 2], [2.0, 1.0, 2.0], [True, False, True], ["2", "1", "2"]])
def test_numbers_and_booleans_of_typed_files_have_words_too(tmp_path, words):
    label = Label("", ("true",) if words[0] is True else ("2",))
    events = read(write(tmp_path, words, "a.parquet"), label)
    assert events.frame.sort_values("customer_id")[STATUS].tolist() == [1, 0, 1]


def test_words_that_are_neither_are_quarantined_and_a_missing_one_is_no_word(tmp_path):
    events = read(
        write(tmp_path, ["Churned", "Stayed", "Stayed", "Joined", None]), Label("", ("Churned",), ("Stayed",))
    )
    assert events.reasons == {"unknown Status": 1}
    assert events.quarantine["detail"].tolist() == ["neither positive nor negative"]
    assert (len(events.frame), events.num_newest) == (3, 5)


def test_what_the_words_were_taken_for_is_told(tmp_path):
    notes = read(write(tmp_path, ["Churned", "Stayed", "Joined", "Stayed"]), Label("", ("Churned",))).notes
    assert "label 'Status': 'Churned' (1) is positive; 'Stayed' (2), 'Joined' (1) is negative" in notes


def test_two_words_of_its_own_give_one_error_with_both_and_the_key(tmp_path):
    path = write(tmp_path, ["Exited", "Stayed", "Stayed"])
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value) == (
        f"the label 'Status' of {path} has the values 'Stayed' (2), 'Exited' (1): neither yes/no, true/false nor 1/0."
        " say which values are to be predicted, such as features.label: {column: Status, positive: [Exited]}"
    )


@pytest.mark.parametrize("words", [["1", "2", "2"], ["no", "gone", "no"], ["a", "b", "c", "yes", "no"]])
def test_usual_words_beside_words_of_its_own_are_not_guessed(tmp_path, words):
    with pytest.raises(InputError, match=r"neither yes/no.*positive: \["):
        read(write(tmp_path, words))


def test_an_example_with_an_odd_word_is_valid_yaml(tmp_path):
    with pytest.raises(InputError, match=r"positive: \['it''s over'\]"):
        read(write(tmp_path, ["it's over", "stays", "stays"]))


@pytest.mark.parametrize("label", [Label("", ("Churn",)), Label("", ("Churned",), ("Stay",))])
def test_declared_words_that_are_nowhere_are_an_error_with_those_that_are(tmp_path, label):
    missing = (label.negative or label.positive)[0]
    with pytest.raises(InputError, match=f"is nowhere '{missing}'; its values are 'Stayed' \\(2\\), 'Churned' \\(1\\)"):
        read(write(tmp_path, ["Churned", "Stayed", "Stayed"]), label)


def test_a_table_without_event_times_takes_a_constant(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("CustomerId,minutes,churn\n15634602,1,1\n15647311,2,0\n15647311,2,0\n")
    features = {"entity": "CustomerId", "event_time_constant": "2025-01-14"}
    events = read(path, column="churn", **features)
    assert set(events.frame["event_time"]) == {pd.Timestamp("2025-01-14", tz="UTC")}
    assert events.frame["CustomerId"].tolist() == ["15634602", "15647311"]
    assert events.reasons == {"duplicate event": 1}
    assert "event_time" not in events.kinds


def test_without_event_times_the_error_names_the_constant(tmp_path):
    (tmp_path / "a.csv").write_text("customer_id,churn\nc-1,1\n")
    with pytest.raises(MissingColumnError, match=r"event_time: \{constant: \"\$\{today\}\"\}"):
        read(tmp_path, column="churn")


def test_a_constant_wins_over_a_column_of_the_same_name(tmp_path):
    path = write(tmp_path, ["yes", "no", "no"])
    events = read(path, event_time_constant="2025-01-10")
    assert set(events.frame["event_time"]) == {pd.Timestamp("2025-01-10", tz="UTC")}
    assert set(events.kinds) == {"minutes"}
