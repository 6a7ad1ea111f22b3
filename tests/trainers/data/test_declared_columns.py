from divisions.pipeline.definition import Features
from trainers.data.declared_columns import excluded

NAMES = ["customer_id", "plan_id", "shop_id", "churn_id", "RowNumber", "odd[1]", "minutes"]


def taken(*entries, **features):
    without, notes = excluded(Features(exclude=entries, **features), "churn_id", NAMES)
    return sorted(without), notes


def test_a_pattern_takes_columns_without_another_role_and_tells_them():
    without, (note,) = taken("*_id")
    assert without == ["plan_id", "shop_id"]
    assert note == "features.exclude: '*_id' takes 'plan_id', 'shop_id'"
    assert taken("*_id", categorical=("plan_id",))[0] == ["shop_id"]


def test_a_name_takes_itself_without_a_note_even_if_it_looks_like_a_pattern():
    assert taken("RowNumber", "odd[1]") == (["RowNumber", "odd[1]"], [])


def test_an_entry_that_takes_nothing_is_told():
    assert taken("x_*") == ([], ["features.exclude: 'x_*' takes no column"])
    assert taken("minute") == ([], ["features.exclude: 'minute' takes no column (nearest: 'minutes')"])
    assert taken("rownumber*")[0] == []
