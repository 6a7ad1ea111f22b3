"""Requests that a careless or hostile caller may send, drawn from a seed. Pure.

Most are near to valid ones: what is far from valid is refused early and reaches little code. Each says whether it is a
whole HTTP request, which must be answered at once. One that is not may be answered when the gateway stops waiting.
"""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")

NASTY_NUMBERS = (
    "0",
    "-0",
    "-0.0",
    "1",
    "1e-400",
    "1e309",
    "-1e309",
    "3.5e38",
    "1e38",
    "NaN",
    "Infinity",
    "-Infinity",
    "01",
    "1.",
    ".5",
    "9007199254740993",
    "18446744073709551616",
    "-9223372036854775809",
    "9" * 310,
    "9" * 5_000,
    "1e" + "9" * 400,
    "0x10",
)
NASTY_TEXTS = (
    '""',
    '"a"',
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\\u0000"',
    '"\\ud83d\\ude00"',
    '"' + "é" * 20 + '"',
    '"' + "k" * 300 + '"',
    '"<b>"',
    '"%s%n"',
    '"../../etc/passwd"',
    '"{}"',
    '"null"',
    '"\x01"',
    '"\\x"',
    '"unfinished',
)
NASTY_VALUES = ("null", "true", "false", "[]", "{}", "[[]]", "[1,2", '{"a":1', "[" * 2_000, '{"a":' * 500, "", " ")
DATATYPES = ("FP32", "FP64", "FP16", "INT8", "INT32", "INT64", "UINT64", "BOOL", "BYTES", "BF16", "", "fp32")
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "QUERY", "get", "FOO", "CONNECT")
HEADERS = (
    "x-request-timeout-ms: {number}",
    "x-request-id: {text}",
    "x-customer-id: {text}",
    "traceparent: {text}",
    "content-type: {text}",
    "content-type: application/json",
    "content-type: application/octet-stream",
    "content-encoding: gzip",
    "if-match: {number}",
    "authorization: Bearer {text}",
    "authorization: Bearer token",
    "authorization: Bearer {text}\r\nauthorization: Bearer other",
    "authorization: Basic YTpi",
    "x-forwarded-for: 127.0.0.1",
    "x-http-method-override: DELETE",
    "content-encoding: br",
    "x-divisions-version: {text}",
    "accept: text/html",
    "accept: {text}",
    "expect: 100-continue",
    "expect: {text}",
    "connection: close",
    "connection: keep-alive",
    "connection: Upgrade\r\nupgrade: h2c",
    "inference-header-content-length: {number}",
    "te: trailers",
    "origin: {text}",
    "sec-fetch-site: cross-site",
    "if-none-match: {text}",
    "cookie: {text}",
    "range: bytes=0-",
    "x-" + "h" * 300 + ": {text}",
    "a:",
    "host: {text}",
    "transfer-encoding: gzip, chunked",
)
PATHS = (
    "/",
    "*",
    "/healthz",
    "/readyz",
    "/metrics",
    "/page/page.js",
    "/page/../x",
    "/api/v2/status",
    "/api/v2/events",
    "/api/v2/rollouts",
    "/api/v2/rollouts/{name}",
    "/api/v2/rollouts/{name}/abort",
    "/api/v2/rollouts/{name}/rollback",
    "/api/v2/rollouts/{name}/scale",
    "/api/v2/house",
    "/api/v2/drift",
    "/api/v2/drift/{name}",
    "/api/v2/rollouts/{name}/promote",
    "/api/v2/rollouts/{name}/pause",
    "/api/v2/rollouts/{name}/../../tokens",
    "/api/v2/rollouts?force=true",
    "/api/v2/predict/{name}?explain=true",
    "/api/v2/predict/{name}?explain=99999999999",
    "/api/v2/tokens",
    "/api/v2/tokens/reader/rotate",
    "/api/v2/tokens/elsewhere/revoke",
    "/invocations",
    "/api/v2/predict/{name}",
    "/api/v2/predict/",
    "/api/v2/predict/nobody",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{name}",
    "/v2/models/{name}/ready",
    "/v2/models/{name}/versions/1.1",
    "/v2/models/{name}/infer",
    "/v2/models/nobody/infer",
    "/v2/models/{name}/versions/%ff/infer",
    "/v2/repository/index",
    "/v2/models/{name}/config",
    "/v2/models/{name}/stats",
    "/nowhere",
    "http://localhost/healthz",
    "http://evil/",
    "/%00",
    "/%ed%a0%80",
    "//",
    "/healthz?" + "q" * 300,
    "/{name}#x",
    "healthz",
)
HOSTS = ("evil", "localhost:80@evil", "[::1]", "[::1]x", "", "127.0.0.1:99999999", "0:0:0:0:0:0:0:1", "LOCALHOST")
NASTY_SHAPES = ("", "-1", "0", "1" * 30, "4294967296,4294967296", "1,1,1,1,1,1,1,1,1", '"1"', "1.5")
VERSIONS = ("HTTP/1.1",) * 30 + ("HTTP/1.0",) * 4 + ("HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/9.9")
SMUGGLED = ("content-length: 3", "Content-Length : 3", "transfer-encoding: chunked", "transfer-encoding:\x0bchunked")
"""Second opinions on where a request ends. One may make it a request that never does, so they are rare."""
BOMB = gzip.compress(b" " * (1 << 20), mtime=0)
REFUSED_VERSIONS = {501, 505}
"""Statuses of HTTP that the gateway does not speak."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as bytes.

    ``is_whole``: it ends where its head says. ``may_be_unspoken``: its version or transfer encoding is not HTTP/1.1's.
    """

    data: bytes
    is_head: bool
    is_whole: bool
    may_be_unspoken: bool


class Fuzzer:
    """Draws requests for one endpoint.

    Args:
        seed: the same seed draws the same requests.
        endpoint: its name, also as a model of the Open Inference Protocol.
        features: names of its features.
        tokens: what some requests carry; without any, some carry wrong ones.
    """

    def __init__(self, seed: int, endpoint: str, features: Sequence[str], tokens: Sequence[str] = ()) -> None:
        self._random = random.Random(seed)
        self._endpoint = endpoint
        self._features = tuple(features)
        self._tokens = tuple(tokens)

    def draw(self) -> Sent:
        draw = self._random.random()
        if draw < 0.01:
            # Compressed, a megabyte of blanks is a thousand bytes. Nobody may unpack it.
            coding = self._pick(("gzip", "deflate", "br", "gzip, gzip", "x-gzip"))
            path = self._pick((f"/api/v2/predict/{self._endpoint}", "/api/v2/rollouts", "/invocations"))
            return self._request("POST", path, BOMB, (f"content-encoding: {coding}",))
        if draw < 0.3:
            return self._request("POST", f"/api/v2/predict/{self._endpoint}", self._predict_body(), ())
        if draw < 0.6:
            version = self._pick(("", "", "/versions/1.1", "/versions/9"))
            path = f"/v2/models/{self._endpoint}{version}/infer"
            return self._request("POST", path, *self._infer_body())
        body = self._pick((b"", b"", b"{}", self._json_value(2).encode("utf-8", "surrogatepass")))
        path = self._pick(PATHS).format(name=self._endpoint)
        return self._request(self._pick(METHODS), path, body, ())

    # -- bodies -------------------------------------------------------------------------------------------------

    def _predict_body(self) -> bytes:
        draw = self._random.random()
        if draw < 0.2:
            text = self._json_value(3)
        elif draw < 0.4:
            text = _object([_member("instances", _array(self._row() for _ in range(self._pick((0, 1, 2, 30, 300)))))])
        else:
            text = self._row()
        return self._spoil(text.encode("utf-8", "surrogatepass"))

    def _row(self) -> str:
        members = []
        if self._chance(0.6):
            key = self._pick(('"c-1"', '"nobody"', self._scalar()))
            members.append('"customer_id":' + key)
        if self._chance(0.8):
            names = [name for name in self._features if self._chance(0.98)]
            names += ["unknown"] * self._chance(0.03) + list(self._features[:1]) * self._chance(0.03)
            members.append(_member("features", _object(_member(name, self._feature()) for name in names)))
        if self._chance(0.05):
            members.append(f'"x":{self._json_value(2)}')
        return _object(members)

    def _feature(self) -> str:
        return self._scalar() if self._chance(0.02) else f"{self._random.gauss(0, 1):.4f}"

    def _scalar(self) -> str:
        return self._pick(self._pick((NASTY_NUMBERS, NASTY_TEXTS, NASTY_VALUES)))

    def _json_value(self, depth: int) -> str:
        if depth == 0 or self._chance(0.3):
            return self._scalar()
        if self._chance(0.5):
            return _array(self._json_value(depth - 1) for _ in range(self._random.randrange(4)))
        names = ("customer_id", "features", "instances", "inputs", "to", "endpoint", "id", "parameters", "a")
        count = self._random.randrange(4)
        return _object(_member(self._pick(names), self._json_value(depth - 1)) for _ in range(count))

    def _infer_body(self) -> tuple[bytes, Sequence[str]]:
        rows = self._pick((1, 1, 2, 7, 300))
        is_binary = self._chance(0.5)
        if self._chance(0.5):
            inputs, raw = self._tensors([("rows", (rows, len(self._features)))], is_binary)
        else:
            inputs, raw = self._tensors([(name, (rows,)) for name in self._features], is_binary)
        members = [_member("inputs", _array(inputs))]
        if self._chance(0.3):
            members.append(f'"id":{self._pick(NASTY_TEXTS)}')
        if self._chance(0.4):
            key = self._pick(("timeout", "sequence_id", "customer_id", "binary_data_output", "priority"))
            members.append(f'"parameters":{{"{key}":{self._pick((self._scalar(), "1", "true", "100000"))}}}')
        if self._chance(0.2):
            members.append(f'"outputs":[{{"name":{self._pick(NASTY_TEXTS)}}}]')
        text = self._spoil(_object(members).encode("utf-8", "surrogatepass"))
        length = len(text) if self._chance(0.95) else self._pick((0, -1, 10**12, len(text) + 7))
        return text + raw, (f"inference-header-content-length: {length}",) if is_binary else ()

    def _tensors(self, shapes: Sequence[tuple[str, tuple[int, ...]]], is_binary: bool) -> tuple[list[str], bytes]:
        inputs: list[str] = []
        raw = b""
        for name, shape in shapes:
            count = 1
            for length in shape:
                count *= length
            datatype = self._pick(DATATYPES) if self._chance(0.03) else "FP32"
            shown = ",".join(map(str, shape)) if self._chance(0.97) else self._pick(NASTY_SHAPES)
            if is_binary:
                data = struct.pack("<f", self._pick((0.5, 1.0, float("nan"), float("inf")))) * count
                size = len(data) if self._chance(0.98) else self._pick((0, len(data) + 1, -1, 1 << 62, 1 << 70))
                raw += data
                content = f'"parameters":{{"binary_data_size":{size}}}'
            else:
                values = ",".join(self._feature() for _ in range(count))
                content = f'"data":[{values}]' if self._chance(0.97) else f'"data":{self._json_value(2)}'
            inputs.append(f'{{"name":"{name}","datatype":"{datatype}","shape":[{shown}],{content}}}')
        return inputs, raw

    def _spoil(self, body: bytes) -> bytes:
        """Sometimes damages a body: cuts it, or changes a byte."""
        if not body or self._chance(0.9):
            return body
        place = self._random.randrange(len(body))
        if self._chance(0.5):
            return body[:place]
        return body[:place] + bytes([self._random.randrange(256)]) + body[place + 1 :]

    # -- heads --------------------------------------------------------------------------------------------------

    def _request(self, method: str, path: str, body: bytes, further: Sequence[str]) -> Sent:
        lines = list(further)
        if self._tokens and self._chance(0.8):
            lines.append(f"authorization: Bearer {self._pick(self._tokens)}")
        if self._chance(0.25):
            lines += [self._header() for _ in range(self._random.randrange(1, 4))]
        is_smuggled = self._chance(0.002)
        if is_smuggled:
            lines.append(self._pick(SMUGGLED))
        host = "localhost" if self._chance(0.97) else self._pick(HOSTS)
        version = self._pick(VERSIONS)
        is_chunked = self._chance(0.15)
        if is_chunked:
            lines.append("transfer-encoding: chunked")
            body = self._chunks(body)
        else:
            lines.append(f"content-length: {len(body)}")
        if self._chance(0.3):
            self._random.shuffle(lines)
        head = "\r\n".join([f"{method} {path} {version}", f"host: {host}", *lines, "", ""]).encode(
            "utf-8", "surrogatepass"
        )
        data, is_whole = head + body, True
        if self._chance(0.002):
            data, is_whole = self._break(data, len(head)), False
        is_whole = is_whole and not is_smuggled
        may_be_unspoken = version not in {"HTTP/1.1", "HTTP/1.0"} or b"gzip, chunked" in head or not is_whole
        return Sent(data, method == "HEAD", is_whole, may_be_unspoken)

    def _header(self) -> str:
        text = self._pick(NASTY_TEXTS).strip('"').replace("\x01", "")
        return self._pick(HEADERS).format(number=self._pick(NASTY_NUMBERS), text=text)

    def _chunks(self, body: bytes) -> bytes:
        size = self._pick((1, 100, 100_000)) if len(body) < 2_000 else 10_000
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        extension = b";a=b" if self._chance(0.1) else b""
        trailers = b"Authorization: Bearer token\r\ncontent-type: text/plain\r\n" if self._chance(0.2) else b""
        return (
            b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n" + trailers + b"\r\n"
        )

    def _break(self, data: bytes, head_bytes: int) -> bytes:
        """Damages the framing: cuts the request, or changes a byte of its head."""
        place = self._random.randrange(1, head_bytes)
        if self._chance(0.3):
            return data[:place]
        return data[:place] + bytes([self._random.randrange(256)]) + data[place + 1 :]

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _pick(self, choices: Sequence[_T]) -> _T:
        return self._random.choice(choices)


def _member(name: str, value: str) -> str:
    return f'"{name}":{value}'


def _object(members: Iterable[str]) -> str:
    return "{" + ",".join(members) + "}"


def _array(items: Iterable[str]) -> str:
    return "[" + ",".join(items) + "]"
