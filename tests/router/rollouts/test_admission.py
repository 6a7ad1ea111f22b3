"""Admission: a new version must fit the version that serves, and each refusal names what to change."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import InvalidFeaturesError, MalformedRequestError, SchemaMismatchError
from divisions.scaling import Scaling
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.http import problem
from router.predict.decode import EndpointDecoder
from router.rollouts.admission import check_schemas, check_spec
from tests.router.rollout_world import World, spec, version

KINDS = st.dictionaries(st.sampled_from("abcde"), st.sampled_from(FeatureKind), max_size=5)


def schema(kinds, entity="customer_id"):
    return FeatureSchema(tuple(Feature(name, kind) for name, kind in kinds.items()), entity=entity)


def with_schema(label, kinds, **changes):
    return msgspec.structs.replace(version(label), schema=schema(kinds, **changes))


@pytest.mark.parametrize(("served", "new"), itertools.permutations(FeatureKind, 2))
def test_a_column_of_another_kind_is_refused_by_name_kinds_and_key(served, new):
    stable, canary = with_schema("3.1", {"area": served}), with_schema("3.2", {"area": new})
    with pytest.raises(SchemaMismatchError) as caught:
        check_schemas(stable, canary)
    assert caught.value.message == f"column 'area' is {new} in version 3.2, but {served} in 3.1, which serves"
    assert f"`features: {served}: [area]`" in caught.value.remedy
    assert problem.status_of(caught.value) == 422


def test_another_name_of_the_entity_is_refused():
    with pytest.raises(SchemaMismatchError, match=r"by 'id' in version 3\.2.*entity: customer_id"):
        check_schemas(with_schema("3.1", {}), with_schema("3.2", {}, entity="id"))


@given(KINDS, KINDS)
def test_what_is_admitted_is_what_a_gateway_can_serve(served, new):
    """The gateway would give a canary that it cannot encode for no traffic at all."""
    stable, canary = with_schema("3.1", served), with_schema("3.2", new)
    try:
        check_schemas(stable, canary)
        is_admitted = True
    except SchemaMismatchError:
        is_admitted = False
    try:
        EndpointDecoder(stable.schema, canary.schema).encoder(canary.schema)
        is_served = True
    except InvalidFeaturesError:
        is_served = False
    assert is_admitted == is_served


def test_the_controller_refuses_it_and_starts_nothing(tmp_path):
    world = World(tmp_path)
    world.controller.start_rollout(rollout("3.1", {"area": FeatureKind.CATEGORICAL}))
    world.until("PROMOTED")
    wanted = world.controller.wanted()
    with pytest.raises(SchemaMismatchError):
        world.controller.start_rollout(rollout("3.2", {"area": FeatureKind.NUMERIC}))
    assert world.controller.wanted() == wanted


def rollout(label, kinds):
    return msgspec.structs.replace(spec(label), version=with_schema(label, kinds))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Scaling(0, 2), "1 <= min <= max"),
        (Scaling(3, 2), "got min 3 and max 2"),
        (Scaling(1, 1_001), "<= 1,000"),
        (Scaling(1, 2, 0.0), "target_utilization must be above 0"),
        (Scaling(1, 2, 1.1), "target_utilization must be above 0"),
        (Scaling(1, 2, float("nan")), "target_utilization must be above 0"),
        (Scaling(1, 2, 0.5, 0.0), "scale_down_after_s must be above 0"),
        (Scaling(1, 2, 0.5, 86_401.0), "scale_down_after_s must be above 0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits, words):
    with pytest.raises(MalformedRequestError, match=words):
        check_spec(msgspec.structs.replace(spec("3.1"), version=version("3.1", scaling=limits)))
    check_spec(msgspec.structs.replace(spec("3.1"), version=version("3.1", scaling=Scaling(1, 1_000, 1.0, 86_400.0))))
