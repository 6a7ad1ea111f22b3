"""Errors as HTTP: the status of each class, and how much of a message a caller reads."""

from __future__ import annotations

import json

import pytest

from divisions import errors
from router.http import problem

STATUSES = {
    400: ["MalformedRequestError", "RequestError"],
    401: ["MissingTokenError", "UnknownTokenError"],
    403: ["AccessDeniedError", "FaultsRefusedError", "PolicyRefusedError"],
    404: ["UnknownEndpointError", "UnknownEntityError", "UnknownVersionError", "UnknownPrincipalError"],
    409: ["LatchedSpecError", "ConflictError", "IllegalEventError", "NoRoomError"],
    412: ["StaleGenerationError"],
    415: ["UnsupportedMediaTypeError"],
    422: ["InvalidFeaturesError", "SchemaMismatchError", "PipelineError", "BundleError", "InvalidCommandError"],
    429: ["LimitReachedError"],
    500: ["DivisionsError"],
    502: ["ReplicaFailedError", "RegistryError"],
    503: [
        "NothingDeployedError",
        "OverloadedError",
        "OnlineStoreError",
        "JournalUnavailableError",
        "JournalFencedError",
        "NotRunningError",
        "TokensUnavailableError",
        "AuditUnavailableError",
    ],
    504: ["DeadlineExceededError"],
}


def test_the_status_of_each_error():
    listed = {getattr(errors, name): status for status, names in STATUSES.items() for name in names}
    assert listed == problem.STATUS


@pytest.mark.parametrize("kind", list(problem.STATUS))
def test_an_error_of_a_class_has_the_status_of_its_nearest_ancestor(kind):
    descendant = type("Special", (kind,), {})
    assert problem.status_of(descendant.__new__(descendant)) == problem.STATUS[kind]


def test_what_is_not_ours_is_a_500_without_its_text():
    assert problem.status_of(ValueError("a secret")) == 500
    assert problem.detail_of(ValueError("a secret")) == "internal error; the log has the details"
    assert problem.code_of(ValueError("a secret")) == ""
    ours = errors.OverloadedError("busy", remedy="wait", retry_after_s=1)
    assert "busy" in problem.detail_of(ours)
    assert problem.code_of(ours) == "OverloadedError"


def test_a_document_has_the_members_of_rfc_9457_and_error():
    document = json.loads(problem.body(404, "not here"))
    assert document == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "not here",
        "error": "not here",
    }
    assert json.loads(problem.body(404, "not here", "UnknownEndpointError"))["code"] == "UnknownEndpointError"


@pytest.mark.parametrize(("length", "is_cut"), [(1_000, False), (1_001, True), (100_000, True)])
def test_a_long_detail_keeps_its_beginning_and_its_end(length, is_cut):
    detail = "a" * 600 + "b" * (length - 900) + "c" * 300
    told = json.loads(problem.body(400, detail))["detail"]
    assert told == (f"{'a' * 600} … {'c' * 300}" if is_cut else detail)


def test_a_detail_is_one_line():
    assert json.loads(problem.body(400, "a\nb\x1b[0m\tc"))["detail"] == "a b [0m c"
