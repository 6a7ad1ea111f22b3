"""Renders operations as one OpenAPI 3.1 document. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from divisions import __version__
from router.openapi.operation import LIMITED, WIRE, Operation, Parameter, Reply, Shape

_REF: Final = "#/components/schemas/{name}"
_LIMIT: Final = 429
_DESCRIPTION: Final = """\
Predictions, the Open Inference Protocol, what SageMaker asks of a container, rollouts, metrics and health, on one port.

Routes under `/api/v2/` other than predict need a bearer token: the file `token` of the cluster's home, or one that
`divisions tokens create` has made. What its role allows is in docs/policy.md. Predictions need one where the endpoint
asks for keys, see docs/limits.md.
Refusals are problem documents (RFC 9457) with a member `error` that repeats `detail`, and with `code`, the class of
the error, where a handler refuses. Each GET may be a HEAD. OPTIONS answers with the methods of a route.
Other methods are answered with 405 and `Allow`."""
Limits = Mapping[str, Mapping[str, Mapping[str, Any]]]
TAGS: Final[Mapping[str, str]] = {
    "predict": "Predictions by endpoint.",
    "rollouts": "Versions and how traffic moves to them. Needs the token.",
    "open inference protocol": "Version 2 of the protocol, for its own clients.",
    "sagemaker": "What SageMaker's hosts ask of a container.",
    "gateway": "Health, metrics, the page and this document.",
}


class Problem(msgspec.Struct, frozen=True):
    """A refusal (RFC 9457). ``code`` is the name of the error's class in `divisions.errors`."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    code: str = ""


def render(operations: Iterable[Operation], limits: Limits) -> dict[str, Any]:
    """The document.

    Args:
        operations: paths are in their order.
        limits: what the structs' types do not say of the values of fields, as schemas, by struct and field.
    """
    operations = list(operations)
    structs = {shape for operation in operations for shape in _shapes(operation) if isinstance(shape, type)}
    _, schemas = msgspec.json.schema_components(
        [Problem, *sorted(structs, key=lambda struct: struct.__name__)], ref_template=_REF
    )
    for struct, fields in limits.items():
        for field, limit in fields.items():
            schemas[struct]["properties"][field] |= limit
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Divisions",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": _plain(schemas),
            "responses": {_wire_name(status): _refusal([text]) for status, text in WIRE.items()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `divisions tokens`.",
                }
            },
        },
    }


def _shapes(operation: Operation) -> list[Shape]:
    return [
        *operation.body.values(),
        *(shape for reply in operation.replies.values() for shape in reply.media.values()),
    ]


def _operation(operation: Operation) -> dict[str, Any]:
    replies = {str(status): _reply(reply) for status, reply in operation.replies.items()}
    # A check may answer one status either way: the reply's own body says more than a problem's.
    refused = {str(status): _refused(status, texts) for status, texts in operation.refused().items()}
    members: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.text.partition(". ")[0].rstrip("."),
        "description": operation.text,
        "responses": refused | replies,
    }
    if operation.parameters:
        members["parameters"] = [_parameter(each) for each in operation.parameters]
    if operation.body:
        content = {media: {"schema": _schema(shape)} for media, shape in operation.body.items()}
        members["requestBody"] = {"required": operation.needs_body, "content": content}
    if operation.needs_token is not False:
        must = operation.needs_token or operation.needs_key
        members["security"] = [{"token": []}] if must else [{}, {"token": []}]
    return members


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.text,
        "schema": parameter.schema,
    }


def _reply(reply: Reply) -> dict[str, Any]:
    members: dict[str, Any] = {"description": reply.text}
    if reply.headers:
        members["headers"] = _headers(reply.headers)
    if reply.media:
        members["content"] = {media: {"schema": _schema(shape)} for media, shape in reply.media.items()}
    return members


def _refused(status: int, texts: list[str]) -> dict[str, Any]:
    if texts == [WIRE.get(status)]:
        return {"$ref": f"#/components/responses/{_wire_name(status)}"}
    refusal = _refusal(texts)
    return refusal | {"headers": _headers(LIMITED)} if status == _LIMIT else refusal


def _headers(texts: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()}


def _wire_name(status: int) -> str:
    return f"wire{status}"


def _refusal(texts: list[str]) -> dict[str, Any]:
    return {
        "description": " ".join(texts),
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name=Problem.__name__)}}},
    }


def _schema(shape: Shape) -> dict[str, Any]:
    return {"$ref": _REF.format(name=shape.__name__)} if isinstance(shape, type) else shape


def _plain(schemas: Any) -> Any:
    """Descriptions as Markdown; msgspec takes them from docstrings as they are, indentation and all."""
    match schemas:
        case dict():
            return {
                key: inspect.cleandoc(value).replace("``", "`")
                if key == "description" and isinstance(value, str)
                else _plain(value)
                for key, value in schemas.items()
            }
        case list():
            return [_plain(each) for each in schemas]
        case _:
            return schemas
