"""What the OpenAPI document says of the gateway's own routes: control, events, metrics, health, the page. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from divisions import errors
from divisions.access.requests import Actor, NewToken, TokenAnswer
from divisions.control import RolloutSpec
from divisions.drift import DriftReport, EndpointDrift
from divisions.house import House
from divisions.promotion import ApprovalAnswer, NewApproval, RevokedApproval
from divisions.status import RolloutStatus
from router.gateway.control_body import CommandBody, ScaleBody
from router.gateway.documents import Index, Rollouts, Status
from router.openapi.operation import ENDPOINT, JSON, NAME_SCHEMA, TEXT, Operation, Parameter, Reply

COMMANDS: Final = ("pause", "resume", "promote", "abort", "rollback")
PATH: Final = "/openapi.json"
METRICS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_ROLLOUTS: Final = "/api/v2/rollouts"
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_ETAG: Final = {"etag": "Names the content; send it as If-None-Match to get 304 while it is the same."}
_NO_AUDIT: Final = errors.AuditUnavailableError
_NO_LINK: Final = (errors.NotRunningError, errors.DeadlineExceededError)
_COMMAND_REFUSALS: Final = (
    errors.MalformedRequestError,
    errors.UnknownVersionError,
    errors.ConflictError,
    errors.IllegalEventError,
    errors.StaleGenerationError,
    errors.PolicyRefusedError,
    (415, "The body is not application/json."),
    errors.InvalidCommandError,
    errors.JournalUnavailableError,
    errors.JournalFencedError,
    _NO_AUDIT,
    *_NO_LINK,
)
_GENERATION: Final = Parameter(
    "if-match",
    "header",
    "The rollout's generation on which the caller decided. The command is refused if it has moved on.",
    {"type": "string", "pattern": '^"?[0-9]{1,18}"?$'},
)
_KNOWN: Final = Parameter("if-none-match", "header", "The `ETag` of what the caller has.", {"type": "string"})


def operations() -> list[Operation]:
    return [*_control(), *_house(), *_drift(), *_tokens(), *_approvals(), *_health()]


def _house() -> list[Operation]:
    text = "The whole house: live metrics, stages, pipelines, registry, runs, replicas, deployments, drift, curves."
    found = _get("/api/v2/house", "house", text, House)
    reply = Reply("Its sections. Without a token, those that the settings make public.", {JSON: House}, _ETAG)
    same = Reply("The caller has it already.", {}, _ETAG)
    return [replace(found, replies={200: reply, 304: same}, parameters=(_KNOWN,))]


def _drift() -> list[Operation]:
    return [
        _get("/api/v2/drift", "list_drift", "Drift of inputs and predictions of every endpoint.", DriftReport),
        replace(
            _get("/api/v2/drift/{endpoint}", "drift", "The drift of one endpoint, with its histograms.", EndpointDrift),
            parameters=(ENDPOINT,),
            refusals=(errors.UnknownVersionError, *_NO_LINK),
        ),
    ]


def _control() -> list[Operation]:
    status = RolloutStatus
    return [
        _get("/api/v2/status", "status", "The cluster: replicas, rollouts, nodes, and this gateway.", Status),
        Operation(
            "get",
            "/api/v2/events",
            "events",
            "rollouts",
            "The same as server-sent events: each `status` has the whole status, each `house` the sections of it "
            "that are new to this stream.",
            {200: Reply("Events `status`, `house`, or `away` while the controller is.", {"text/event-stream": _TEXT})},
            ((503, "The gateway has as many streams as it keeps, or is stopping."),),
            needs_token=True,
        ),
        _get(_ROLLOUTS, "list_rollouts", "The latest rollout of every endpoint.", Rollouts),
        Operation(
            "post",
            _ROLLOUTS,
            "start_rollout",
            "rollouts",
            "Starts a rollout. One that is under way is rolled back first; the new one follows it.",
            {202: Reply("The rollout, which begins now.", {JSON: status})},
            (
                errors.MalformedRequestError,
                errors.FaultsRefusedError,
                errors.LatchedSpecError,
                errors.ConflictError,
                (415, "The body is not application/json."),
                errors.SchemaMismatchError,
                errors.JournalUnavailableError,
                errors.JournalFencedError,
                _NO_AUDIT,
                *_NO_LINK,
            ),
            (
                Parameter(
                    "force",
                    "query",
                    "Whether a spec that was rolled back before may start again.",
                    {"enum": ["true", "false", "1", "0"]},
                ),
            ),
            {JSON: RolloutSpec},
            needs_body=True,
            needs_token=True,
        ),
        replace(
            _get(_ROLLOUTS + "/{endpoint}", "rollout", "The latest rollout of one endpoint.", status),
            parameters=(ENDPOINT,),
            refusals=(errors.UnknownVersionError, *_NO_LINK),
        ),
        _command("scale", "Sets the number of replicas.", ScaleBody, needs_body=True),
        _command("{command}", "Pauses, resumes, promotes, aborts or rolls back a rollout.", CommandBody),
    ]


def _approvals() -> list[Operation]:
    path = "/api/v2/approvals"
    refusals = (
        errors.MalformedRequestError,
        errors.UnknownVersionError,
        errors.PolicyRefusedError,
        errors.ConflictError,
        (415, "The body is not application/json."),
        errors.InvalidCommandError,
        errors.JournalUnavailableError,
        errors.JournalFencedError,
        _NO_AUDIT,
        *_NO_LINK,
    )
    answer = {200: Reply("The approvals that it is about.", {JSON: ApprovalAnswer})}
    return [
        _get(path, "list_approvals", "Who has approved which version, the newest first.", ApprovalAnswer),
        Operation(
            "post", path, "approve", "rollouts", "Approves a version that is being rolled out.", answer, refusals, (),
            {JSON: NewApproval}, needs_body=True, needs_token=True,
        ),
        Operation(
            "post", path + "/revoke", "revoke_approval", "rollouts", "Takes an approval back.", answer, refusals, (),
            {JSON: RevokedApproval}, needs_body=True, needs_token=True,
        ),
    ]  # fmt: skip


def _tokens() -> list[Operation]:
    path = "/api/v2/tokens"
    refusals = (errors.TokensUnavailableError, _NO_AUDIT, *_NO_LINK)
    changes = (errors.InvalidCommandError, errors.ConflictError, (415, "The body is not application/json."))
    name = Parameter("name", "path", "The principal's name.", NAME_SCHEMA)
    verb = Parameter("verb", "path", "What to do.", {"enum": ["rotate", "revoke"]})
    answer = {200: Reply("The tokens that it is about, and the new one.", {JSON: TokenAnswer})}
    return [
        replace(_get(path, "list_tokens", "Who has a token. The tokens themselves are kept nowhere.", TokenAnswer),
                refusals=refusals),
        _get(path + "/self", "whose_token", "Whose token the caller has.", Actor),
        Operation(
            "post", path, "create_token", "rollouts", "Creates a token, which is shown this once.", answer,
            (errors.MalformedRequestError, *changes, *refusals), (), {JSON: NewToken},
            needs_body=True, needs_token=True,
        ),
        Operation(
            "post", path + "/{name}/{verb}", "change_token", "rollouts",
            "Replaces a token by a new one, or ends it: on every gateway at once.", answer,
            (errors.UnknownPrincipalError, (415, "The body is not application/json."), *refusals),
            (name, verb), needs_token=True,
        ),
    ]  # fmt: skip


def _command(name: str, text: str, body: type, *, needs_body: bool = False) -> Operation:
    is_scale = name == "scale"
    which = Parameter("command", "path", "What to do.", {"enum": list(COMMANDS)})
    return Operation(
        "post",
        f"{_ROLLOUTS}/{{endpoint}}/{name}",
        "scale" if is_scale else "command",
        "rollouts",
        text,
        {200: Reply("The rollout after it.", {JSON: RolloutStatus})},
        (*_COMMAND_REFUSALS, errors.NoRoomError) if is_scale else _COMMAND_REFUSALS,
        (ENDPOINT, *(() if is_scale else (which,)), _GENERATION),
        {JSON: body},
        needs_body=needs_body,
        needs_token=True,
    )


def _get(path: str, name: str, text: str, shape: type) -> Operation:
    replies = {200: Reply(text, {JSON: shape})}
    return Operation("get", path, name, "rollouts", text, replies, _NO_LINK, needs_token=True)


def _health() -> list[Operation]:
    html = "text/html; charset=utf-8"
    file = dict.fromkeys(
        (html, "text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml", TEXT), _TEXT
    )
    same = Reply("The caller has it already.", {}, _ETAG)
    return [
        Operation(
            "get",
            "/",
            "index",
            "gateway",
            "The page for browsers, and for others the endpoints with their features and versions.",
            {200: Reply("The page, or the endpoints.", {JSON: Index, html: _TEXT}), 304: same},
            parameters=(_KNOWN,),
        ),
        Operation(
            "get",
            "/page/{name}",
            "page",
            "gateway",
            "A file of the page.",
            {200: Reply("The file.", file, _ETAG), 304: same},
            ((404, "The page has no such file."),),
            (Parameter("name", "path", "Such as `page.css`.", {"type": "string", "minLength": 1}), _KNOWN),
        ),
        Operation(
            "get",
            "/healthz",
            "healthz",
            "gateway",
            "Whether the gateway lives.",
            {200: Reply("It does.", {TEXT: _TEXT})},
        ),
        Operation(
            "get",
            "/readyz",
            "readyz",
            "gateway",
            "Whether every endpoint can answer.",
            {200: Reply("Every endpoint has a warm replica.", {TEXT: _TEXT})},
            ((503, "Nothing is deployed yet, or a version has no warm replica."),),
        ),
        Operation(
            "get",
            "/metrics",
            "metrics",
            "gateway",
            "Metrics for Prometheus.",
            {200: Reply("Metrics as text.", {METRICS_TEXT: _TEXT})},
        ),
        Operation(
            "get",
            PATH,
            "openapi",
            "gateway",
            "This document. It names every deployed endpoint with its features.",
            {200: Reply("OpenAPI 3.1.", {JSON: {"type": "object"}}, _ETAG), 304: same},
            parameters=(_KNOWN,),
        ),
    ]
