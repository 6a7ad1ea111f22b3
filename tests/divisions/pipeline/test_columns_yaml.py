"""Columns as the section that says what they are: it is read back as it was meant."""

from hypothesis import given
from hypothesis import strategies as st

from divisions.pipeline.columns_yaml import can_be_named, columns_yaml
from divisions.pipeline.definition import Features, Label
from divisions.pipeline.file import parse_pipeline

HEAD = "pipeline: p\nstages:\n  data_prep:\n    input: d\n  deployment:\n    endpoint: /api/v2/predict/e\n"
ODD = st.sampled_from(
    ["no", "1.10", "a: b", "# x", "'", '"', "\\", "*a", "&a", "!t", "- x", "é", "{}", "[a", "%", "null"]
)
VISIBLE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)
NAMES = st.lists(VISIBLE.filter(can_be_named) | ODD, min_size=7, max_size=12, unique=True)


def read_back(features: Features) -> Features:
    return parse_pipeline(HEAD + columns_yaml(features)).features


@given(NAMES)
def test_any_names_are_read_back_as_they_were(names):
    entity, event_time, label, *others = names
    features = Features(
        entity=entity,
        event_time=event_time,
        label=Label(label),
        numeric=tuple(others[:1]),
        categorical=tuple(others[1:2]),
        boolean=tuple(others[2:3]),
        exclude=tuple(others[3:]),
    )
    assert read_back(features) == features


def test_what_the_file_cannot_name_stands_in_a_comment():
    features = Features(label=Label(), numeric=("a\nexclude: [b]", "c", "\x1b[31m", "x" * 129), exclude=("",))
    assert read_back(features) == Features(numeric=("c",))
    assert "# numeric: 3 more" in columns_yaml(features)
    assert "\x1b" not in columns_yaml(Features(entity="\x1b[31m"))


def test_words_of_a_label_and_a_constant_time_are_read_back():
    features = Features(label=Label("a: b", ("no", "it's"), ("1.10",)), event_time_constant="${today}")
    assert read_back(features) == features
    assert read_back(Features(label=Label("x", ("y",)))) == Features(label=Label("x", ("y",)))


def test_a_list_stays_within_its_limit():
    features = read_back(Features(numeric=tuple(f"c{index}" for index in range(1_500))))
    assert len(features.numeric) == 1_000
