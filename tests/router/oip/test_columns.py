"""One tensor per feature: shapes, datatypes, missing values, and which inputs a request needs."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from divisions.errors import InvalidFeaturesError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.oip.codec import Tensor
from router.oip.columns import DATATYPES, FeatureColumns, category_codes
from router.oip.models import Directory
from tests.router.dispatch_world import DispatchWorld

SCHEMA = FeatureSchema(
    (
        Feature("a", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("x", "y")),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)
KINDS = {feature.name: feature.kind for feature in SCHEMA.features}


def tensor(name: str, datatype: str, data: list, *shape: int) -> Tensor:
    return Tensor(name, datatype, shape or (len(data),), None, msgspec.Raw(msgspec.json.encode(data)))


def whole(**changes) -> list[Tensor]:
    made = {
        "a": tensor("a", "FP32", [1.5, 2.5]),
        "plan": tensor("plan", "BYTES", ["y", "z"]),
        "abroad": tensor("abroad", "BOOL", [True, False]),
    } | changes
    return [each for each in made.values() if each is not None]


def rows(tensors, schema=SCHEMA, required=SCHEMA.names, start=0, stop=None):
    columns = FeatureColumns(tensors, KINDS, required)
    packed = columns.pack(start, columns.rows if stop is None else stop, schema)
    return np.frombuffer(packed, "<f4").reshape(-1, schema.num_columns).tolist()


def test_rows_are_packed_in_the_order_of_the_version():
    assert rows(whole()) == [[1.5, 2.0, 1.0], [2.5, 0.0, 0.0]]
    turned = FeatureSchema(tuple(reversed(SCHEMA.features)))
    assert rows(whole(), turned) == [[1.0, 2.0, 1.5], [0.0, 0.0, 2.5]]
    assert rows(whole(), start=1) == [[2.5, 0.0, 0.0]]
    assert rows(whole(), stop=1) == [[1.5, 2.0, 1.0]]


def test_an_optional_input_that_is_absent_is_missing():
    ((first, second, _), _) = rows(whole(a=None), required=("plan", "abroad"))
    assert math.isnan(first)
    assert second == 2.0
    with pytest.raises(InvalidFeaturesError, match="inputs are missing: a"):
        rows(whole(a=None))


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_one_value_per_row_in_either_shape(shape):
    assert rows(whole(a=tensor("a", "FP32", [1.5, 2.5], *shape)))[1][0] == 2.5


@pytest.mark.parametrize("shape", [(), (1, 2), (2, 1, 1), (2, 2)])
def test_other_shapes_are_refused(shape):
    wrong = Tensor("a", "FP32", shape, None, msgspec.Raw(b"[1.5,2.5]"))
    with pytest.raises(InvalidFeaturesError, match=r"'a' must have the shape \[N\] or \[N, 1\]"):
        rows(whole(a=wrong))


def test_inputs_have_as_many_rows_as_each_other_and_are_there_once():
    with pytest.raises(InvalidFeaturesError, match="differ in their number of rows"):
        rows(whole(a=tensor("a", "FP32", [1.5])))
    with pytest.raises(InvalidFeaturesError, match="an input is there twice"):
        rows([*whole(), tensor("a", "FP32", [1.5, 2.5])])
    with pytest.raises(InvalidFeaturesError, match="an input that the model does not know"):
        rows([*whole(), tensor("b", "FP32", [1.5, 2.5])])
    with pytest.raises(InvalidFeaturesError, match="no rows"):
        rows([tensor("a", "FP32", [])], required=("a",))


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "UINT8", "INT64", "UINT64", "INT16", "UINT32"])
def test_a_number_comes_in_any_datatype_of_numbers(datatype):
    assert rows(whole(a=tensor("a", datatype, [1, 2])))[1][0] == 2.0


@pytest.mark.parametrize(
    ("name", "datatype", "data", "remedy"),
    [
        ("a", "BYTES", ["1", "2"], "send it as FP32 or another number"),
        ("a", "BOOL", [True, False], "send it as FP32"),
        ("plan", "FP32", [1.0, 2.0], "send it as BYTES"),
        ("abroad", "FP32", [1.0, 0.0], "send it as BOOL"),
        ("abroad", "INT8", [1, 0], "send it as BOOL"),
    ],
)
def test_another_datatype_is_told_with_the_right_one(name, datatype, data, remedy):
    with pytest.raises(InvalidFeaturesError) as caught:
        rows(whole(**{name: tensor(name, datatype, data)}))
    assert f"feature '{name}' is {KINDS[name].value}, and its datatype is not" in str(caught.value)
    assert remedy in str(caught.value)
    assert ("another number" in str(caught.value)) is (name == "a")


def test_an_empty_text_is_missing_unless_it_is_a_category():
    codes = category_codes(("x", "y"))
    assert (codes[b"x"], codes[b"y"]) == (1.0, 2.0)
    assert math.isnan(codes[None])
    assert math.isnan(codes[b""])
    assert category_codes(("x", ""))[b""] == 2.0
    assert set(DATATYPES) == set(FeatureKind)


def test_a_model_is_its_endpoint_with_its_versions(run):
    async def scenario():
        it = DispatchWorld(canary_bp=2_000)
        directory = Directory(it.dispatcher)
        assert [model.name for model in directory.endpoints()] == ["churn"]
        model = directory.find("churn")
        assert directory.find("churn-predictor").endpoint is model.endpoint
        assert list(model.versions) == ["3.1", "3.2"]
        assert model.stable is model.versions["3.1"]
        assert (model.output, model.has_one_encoding) == ("churn_probability", True)
        told = model.metadata()
        assert told["versions"] == ["3.1", "3.2"]
        assert told["inputs"] == [{"name": "minutes", "datatype": "FP32", "shape": [-1]}]
        assert told["outputs"] == [{"name": "churn_probability", "datatype": "FP32", "shape": [-1]}]
        assert told["parameters"]["instead_of_all_inputs"]["shape"] == [-1, 1]
        assert told["parameters"]["stable_version"] == "3.1"
        assert "decision" not in told["parameters"]
        pool = model.stable.pool
        pool.spec = msgspec.structs.replace(pool.spec, decision_threshold=0.25)
        assert model.metadata()["parameters"]["decision"] == {"name": "churn", "at_least": 0.25}
        assert model.metadata("3.2")["versions"] == ["3.2"]
        assert not directory.is_empty

    run(scenario())
