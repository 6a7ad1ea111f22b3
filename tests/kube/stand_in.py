"""A Kubernetes API over HTTP, in memory: what `FakeApi` decides, in the words of a real API server.

`recorded.json` has what a real server answered to the requests of `test_recorded`; this one must answer the same. It
knows no schemas, no defaults, and of permissions only rules of users.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from typing import Any

import httpx2

from deploy.kubernetes.api import PLURALS
from deploy.kubernetes.refusals import FieldConflictError
from divisions.errors import ConflictError
from tests.deploy.kubernetes.fake_api import FakeApi
from tests.kube.server import ADMIN, NOBODY

KIND_OF = {plural: kind for kind, plural in PLURALS.items()}
UNSERVED = ("PodDisruptionBudget", "CronJob", "ServiceMonitor", "HTTPRoute")
"""What the recorded server, of version 1.20, does not serve in the versions that we use."""
_KNOWN_GROUPS = {"policy", "batch", "ray.io"}
_PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))/namespaces/(?P<namespace>[^/]+)"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?P<status>/status)?"
)
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}
Status = tuple[int, dict[str, Any] | str]


class StandIn(httpx2.BaseTransport):
    """Namespaces of a cluster. A token is the user's name; a user without rules may do nothing, the administrator all.

    Args:
        missing: kinds that the cluster lacks beside those that the recorded server lacks.
    """

    def __init__(self, namespaces: Sequence[str], missing: Sequence[str] = ()) -> None:
        self._namespaces = {name: FakeApi(name, {*UNSERVED, *missing}) for name in namespaces}
        self._editors: set[str] = set()
        self.rules: dict[str, list[tuple[str, Sequence[str], Sequence[str]]]] = {NOBODY: []}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        code, body = self._answer(request)
        if isinstance(body, str):
            return httpx2.Response(code, headers={"Content-Type": "text/plain; charset=utf-8"}, content=body)
        return httpx2.Response(code, json=body)

    def _answer(self, request: httpx2.Request) -> Status:
        found = _PATH.fullmatch(request.url.path)
        assert found is not None, request.url
        user = request.headers.get("authorization", "").removeprefix("Bearer ")
        if user != ADMIN and user not in self.rules:
            return _status(401, "Unauthorized", "Unauthorized", {})
        place = _Place(found)
        verb = _VERBS[request.method] if place.name or request.method != "GET" else "list"
        if not self._may(user, verb, place):
            return place.forbidden(user, verb)
        kind = KIND_OF[place.plural]
        space = self._namespaces.get(place.namespace, FakeApi(place.namespace, {*UNSERVED}))
        if kind in space.missing:
            if place.group not in _KNOWN_GROUPS or place.group == "ray.io":
                return 404, "404 page not found\n"
            return _status(404, "NotFound", "the server could not find the requested resource", {})
        if place.namespace not in self._namespaces and request.method in {"POST", "PATCH"}:
            details = {"name": place.namespace, "kind": "namespaces"}
            return _status(404, "NotFound", f'namespaces "{place.namespace}" not found', details)
        is_new = (place.version, kind, place.name) not in space.objects
        if verb == "patch" and is_new and place.name and not self._may(user, "create", place):
            details = place.details
            return _status(403, "Forbidden", f'{place.resource} "{place.name}" is forbidden: ', details)
        return _Call(space, self._editors, place, kind, request).answer()

    def _may(self, user: str, verb: str, place: _Place) -> bool:
        if user == ADMIN:
            return True
        return any(
            group == place.group and place.plural in kinds and verb in verbs for group, kinds, verbs in self.rules[user]
        )


class _Place:
    """What a path names."""

    def __init__(self, found: re.Match[str]) -> None:
        self.group, self.namespace = found["group"] or "", found["namespace"]
        self.version = f"{self.group}/{found['version']}" if self.group else "v1"
        self.plural, self.name, self.is_status = found["plural"], found["name"] or "", bool(found["status"])

    @property
    def resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def details(self) -> dict[str, str]:
        return {"name": self.name, **({"group": self.group} if self.group else {}), "kind": self.plural}

    def forbidden(self, user: str, verb: str) -> Status:
        name = f' "{self.name}"' if self.name else ""
        message = (
            f'{self.resource}{name} is forbidden: User "{user}" cannot {verb} resource "{self.plural}" in API group'
            f' "{self.group}" in the namespace "{self.namespace}"'
        )
        return _status(403, "Forbidden", message, {each: text for each, text in self.details.items() if text})


class _Call:
    def __init__(self, space: FakeApi, editors: set[str], place: _Place, kind: str, request: httpx2.Request) -> None:
        self._editors = editors
        self._space, self._place, self._kind, self._request = space, place, kind, request
        self._key = (place.version, kind, place.name)
        self._body = json.loads(request.content) if request.content else {}

    def answer(self) -> Status:
        match self._request.method, self._request.headers.get("content-type", ""):
            case "GET", _:
                return self._get() if self._place.name else self._list()
            case "POST", _:
                return self._create()
            case "DELETE", _:
                return self._delete()
            case "PATCH", "application/apply-patch+yaml":
                return self._apply()
            case "PATCH", "application/merge-patch+json":
                return self._merge()
            case "PATCH", "application/json-patch+json":
                return self._patch()
        raise AssertionError(f"the stand-in does not know {self._request.method} of this type")

    def _absent(self) -> Status:
        place = self._place
        return _status(404, "NotFound", f'{place.resource} "{place.name}" not found', place.details)

    def _get(self) -> Status:
        found = self._space.get(*self._key)
        return (200, found) if found else self._absent()

    def _list(self) -> Status:
        wanted = dict(part.split("=") for part in self._request.url.params.get("labelSelector", "").split(",") if part)
        items = self._space.list(*self._key[:2], wanted)
        bare = [{key: value for key, value in each.items() if key not in {"apiVersion", "kind"}} for each in items]
        kind = f"{self._kind}List"
        return 200, {"kind": kind, "apiVersion": self._place.version, "metadata": {}, "items": bare}

    def _create(self) -> Status:
        name = self._body["metadata"]["name"]
        place = self._place
        if (self._key[0], self._kind, name) in self._space.objects:
            details = {**place.details, "name": name}
            return _status(409, "AlreadyExists", f'{place.resource} "{name}" already exists', details)
        made = {"apiVersion": place.version, "kind": self._kind, **copy.deepcopy(self._body)}
        made.pop("status", None)
        made["metadata"].setdefault("creationTimestamp", "2025-01-14T02:00:00Z")
        return 201, self._space.apply(made, manager="somebody")

    def _delete(self) -> Status:
        if self._key not in self._space.objects:
            return self._absent()
        self._space.delete(*self._key)
        return _status(200, "", "", self._place.details)

    def _apply(self) -> Status:
        params = self._request.url.params
        how = {"force": params.get("force") == "true", "dry_run": params.get("dryRun") == "All"}
        is_new = self._key not in self._space.objects
        try:
            found = self._space.apply(self._body, **how, manager=params["fieldManager"])
        except FieldConflictError as error:
            return self._conflict(error)
        except ConflictError:
            return self._changed()
        return 201 if is_new else 200, found

    def _conflict(self, error: FieldConflictError) -> Status:
        """Managers that have edited are told with the version that they used; those that have applied are not."""
        causes, parts = [], []
        for who, fields in sorted(error.fields.items()):
            told = f'"{who}" using {self._place.version}' if who in self._editors else f'"{who}"'
            cause = {"reason": "FieldManagerConflict", "message": f"conflict with {told}"}
            causes += [{**cause, "field": field} for field in sorted(fields)]
            parts.append(f"conflicts with {told}:" + "".join(f"\n- {field}" for field in sorted(fields)))
        if len(causes) == 1:
            parts = [f"{causes[0]['message']}: {causes[0]['field']}"]
        count = "1 conflict" if len(causes) == 1 else f"{len(causes)} conflicts"
        return _status(409, "Conflict", f"Apply failed with {count}: {chr(10).join(parts)}", {"causes": causes})

    def _changed(self) -> Status:
        place = self._place
        message = (
            f'Operation cannot be fulfilled on {place.resource} "{place.name}": the object has been modified; please'
            " apply your changes to the latest version and try again"
        )
        return _status(409, "Conflict", message, place.details)

    def _merge(self) -> Status:
        live = self._space.get(*self._key)
        if live is None:
            return self._absent()
        self._editors.add(self._request.url.params["fieldManager"])
        self._space.edit(_merged(live, self._body), self._request.url.params["fieldManager"])
        return 200, self._space.get(*self._key)

    def _patch(self) -> Status:
        if self._key not in self._space.objects:
            return self._absent()
        self._editors.add(self._request.url.params["fieldManager"])
        try:
            return 200, self._space.patch(*self._key, self._body, self._request.url.params["fieldManager"])
        except ConflictError:
            return _status(422, "Invalid", "the server rejected our request due to an error in our request", {})


def _merged(live: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """A merge patch (RFC 7396)."""
    found = copy.deepcopy(live)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = _merged(found[key], value)
        else:
            found[key] = copy.deepcopy(value)
    return found


def _status(code: int, reason: str, message: str, details: dict[str, Any]) -> Status:
    success = {"status": "Success"} if code == 200 else {"status": "Failure", "message": message, "reason": reason}
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, **success, "details": details, "code": code}
    if code == 200:
        body.pop("code")
    return code, body
