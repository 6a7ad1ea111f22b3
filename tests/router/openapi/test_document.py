"""The document as it is rendered: from operations alone, without a gateway."""

from __future__ import annotations

import re

import msgspec
import pytest
from openapi_spec_validator import validate

from divisions import errors
from divisions.names import is_label, is_name
from router.gateway.api_document import every_operation
from router.gateway.rollout_limits import LIMITS
from router.http import problem
from router.openapi.document import render
from router.openapi.operation import NAME_SCHEMA, WIRE, Operation, Reply

OPERATIONS = every_operation({})


class Answer(msgspec.Struct):
    """Says ``what``.

    And more.
    """

    number: int


def operation(**changes) -> Operation:
    return Operation(
        **{
            "method": "get",
            "path": "/x",
            "name": "x",
            "tag": "gateway",
            "text": "Does x. And y.",
            "replies": {200: Reply("It did.", {"application/json": Answer})},
        }
        | changes
    )


def rendered(*operations: Operation) -> dict:
    return msgspec.json.decode(msgspec.json.encode(render(operations, {})))


def test_the_whole_document_is_valid():
    validate(msgspec.json.decode(msgspec.json.encode(render(OPERATIONS, LIMITS))))


def test_every_operation_has_a_name_of_its_own_and_a_known_tag():
    names = [each.name for each in OPERATIONS]
    assert len(set(names)) == len(names)
    document = rendered(*(operation(tag=each.tag, name=each.name, path=each.path) for each in OPERATIONS))
    assert {each.tag for each in OPERATIONS} == {tag["name"] for tag in document["tags"]}


def test_a_struct_becomes_a_schema_with_its_description():
    document = rendered(operation())
    (reply,) = [each for status, each in document["paths"]["/x"]["get"]["responses"].items() if status == "200"]
    assert reply["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Answer"}
    schema = document["components"]["schemas"]["Answer"]
    assert schema["properties"] == {"number": {"type": "integer"}}
    assert schema["description"] == "Says `what`.\n\nAnd more."


def test_limits_say_more_of_a_field():
    limits = {"Answer": {"number": {"minimum": 1}}}
    schema = render([operation()], limits)["components"]["schemas"]["Answer"]
    assert schema["properties"]["number"] == {"type": "integer", "minimum": 1}


@pytest.mark.parametrize(
    ("needs_token", "security", "has_401"),
    [(False, None, False), (True, [{"token": []}], True), (None, [{}, {"token": []}], False)],
)
def test_the_token_is_asked_for_where_it_is_needed(needs_token, security, has_401):
    members = rendered(operation(needs_token=needs_token))["paths"]["/x"]["get"]
    assert members.get("security") == security
    assert ("401" in members["responses"]) is has_401


def test_refusals_have_the_status_that_the_gateway_gives():
    found = operation(refusals=(errors.UnknownEntityError, errors.StaleFeaturesError, (418, "Tea."))).refused()
    assert found.keys() == {*WIRE, 404, 418}
    assert [text.partition(":")[0] for text in found[404]] == ["`UnknownEntityError`", "`StaleFeaturesError`"]
    assert found[418] == ["Tea."]


def test_what_every_route_may_answer_stands_in_the_document_once():
    document = rendered(operation())
    responses = document["paths"]["/x"]["get"]["responses"]
    assert responses["408"] == {"$ref": "#/components/responses/wire408"}
    assert document["components"]["responses"]["wire408"]["description"] == WIRE[408]
    other = rendered(operation(refusals=((408, "Slow."),)))["paths"]["/x"]["get"]["responses"]["408"]
    assert other["description"] == f"Slow. {WIRE[408]}"


def test_every_error_that_callers_can_get_is_in_the_document():
    listed = {kind for each in OPERATIONS for kind in each.refusals if isinstance(kind, type)}
    inner = {errors.DivisionsError, errors.RequestError}  # no class of its own is answered
    elsewhere = {errors.PipelineError, errors.BundleError, errors.RegistryError}  # no route of the gateway reads them
    told = {kind for kind in problem.STATUS if any(issubclass(kind, each) for each in listed)}
    assert set(problem.STATUS) - told - inner - elsewhere == set()


@pytest.mark.parametrize(
    "text", ["churn", "a.b", "a..b", "a.", ".a", "A", "", "a" * 64, "a" * 65, "a-_9", "a b", "ä", "a\n"]
)
def test_the_pattern_of_names_is_the_rule(text):
    is_short = NAME_SCHEMA["minLength"] <= len(text) <= NAME_SCHEMA["maxLength"]
    fits = is_short and re.fullmatch(NAME_SCHEMA["pattern"].strip("^$"), text) is not None
    assert fits == is_name(text)


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("3.2", True),
        ("Sentiment Analyzer", True),
        ("3.2\r\nx: y", False),
        ('3"', False),
        ("", False),
        ("a" * 129, False),
    ],
)
def test_a_label_is_fit_for_a_header(text, is_taken):
    assert is_label(text) is is_taken
