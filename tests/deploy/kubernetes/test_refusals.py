"""What a Status of the API means. The messages are those of a real API server."""

from types import SimpleNamespace

import pytest

from deploy.kubernetes.refusals import AbsentError, ReferenceAbsentError, refusal
from divisions.errors import AccessDeniedError, ClusterError, ConflictError


def told(code, message="", details=None, verb="patch"):
    details = None if details is None else SimpleNamespace(**{"kind": None, "name": None, "causes": None, **details})
    status = SimpleNamespace(code=code, message=message, details=details)
    return refusal(status, verb, "RoleBinding", "rolebindings", "nightly", "ml")


def test_an_object_that_is_absent_is_not_one_that_it_refers_to():
    assert isinstance(told(404, details={"kind": "rolebindings", "name": "nightly"}), AbsentError)
    other = told(404, details={"kind": "roles", "name": "nightly"})
    assert isinstance(other, ReferenceAbsentError)
    assert other.name == "nightly"
    assert "RoleBinding nightly refers to nightly of roles, which is not in the namespace ml" in str(other)


def test_who_may_not_grant_is_told_the_rights_that_lack():
    error = told(
        403,
        'roles.rbac.authorization.k8s.io "nightly" is forbidden: user "ci" (groups=["a" "b"]) is attempting to grant'
        ' RBAC permissions not currently held:\n{APIGroups:["ray.io"], Resources:["rayjobs"], Verbs:["list"]}\n'
        '{APIGroups:[""], Resources:["pods"], Verbs:["get"]}',
    )
    assert isinstance(error, AccessDeniedError)
    assert error.message == (
        "ci may not grant with RoleBinding nightly what they may not do themselves: list rayjobs, get pods"
    )


def test_an_apply_that_may_not_create_has_no_reason_in_its_message():
    message = 'rolebindings.rbac.authorization.k8s.io "nightly" is forbidden: '
    error = told(403, message)
    assert isinstance(error, AccessDeniedError)
    assert error.message == "we may not create rolebindings in the namespace ml"
    assert not isinstance(told(403, message, verb="delete"), AccessDeniedError)


@pytest.mark.parametrize("details", [None, {}])
def test_a_patch_that_does_not_fit_is_tried_again_and_an_invalid_object_is_not(details):
    message = "the server rejected our request due to an error in our request"
    assert isinstance(told(422, message, details), ConflictError)
    invalid = told(422, "spec.type: Unsupported value", {"kind": "RoleBinding", "name": "nightly"})
    assert isinstance(invalid, ClusterError)
    assert not isinstance(invalid, ConflictError)
