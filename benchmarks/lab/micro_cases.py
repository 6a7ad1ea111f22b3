"""What the micro-benchmarks time: the parts of one request's way, each on objects in memory."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from benchmarks.harness.bench_bundle import Workload
from divisions import wire
from divisions.reports import EndpointReport, GatewayReport, VersionReport
from router.evidence import histogram, split
from router.oip import codec
from router.oip.rows import EncodedRows, RowBounds
from router.predict import tally
from router.predict.decode import EndpointDecoder, Row
from router.predict.jobs import Answer, Job, JobQueue, Version
from router.predict.service_time import ServiceTime
from serving.engines.onnx_runtime import OnnxRuntimeEngine

BATCH = 64
BINARY_ROWS = 1_024
LATENCIES = 10_000
ENGINE_ROWS = (1, 32, 128, 256)


@dataclass(frozen=True, slots=True)
class Case:
    """One operation; it deals with ``per`` units."""

    name: str
    operation: Callable[[], object]
    unit: str = "call"
    per: int = 1


class _DiscardedAnswer(Answer):
    def answered(self, *_arguments: object) -> None: ...

    def failed(self, *_arguments: object) -> None: ...


def request_cases(workload: Workload) -> Iterator[Case]:
    """Decode, encode, split, batch forming."""
    decoder = EndpointDecoder(workload.schema)
    encode = decoder.encoder(workload.schema)
    row = decoder.decode(workload.body, 1)
    values = (isinstance(row, Row) and row.values) or ()
    threshold = split.threshold(2_000)
    columns = workload.schema.num_columns
    yield Case(f"decode: JSON body, {columns} features", lambda: decoder.decode(workload.body, 4_096), "request")
    yield Case(f"decode: row to float32[{columns}]", lambda: encode(values), "row")
    yield Case("split: hash, compare", lambda: split.place(b"salt", b"customer-123456") < threshold, "request")

    payload, queue, service_time = encode(values), JobQueue(), ServiceTime()
    service_time.observe(1, 50e-6)
    service_time.observe(64, 200e-6)
    version = Version("bench-v1", b"bench", b"1.1")
    discarded = _DiscardedAnswer()

    def form() -> None:
        for _ in range(BATCH):
            queue.add(Job(discarded, (values,), (0,), payload, version, 0.0, 1.0))
        while queue:
            queue.form(0.0, BATCH, service_time)

    yield Case(f"batch: make, queue and form {BATCH} jobs of one row", form, "row", BATCH)


def channel_cases(columns: int) -> Iterator[Case]:
    """Frames of one batch, both ways."""
    for rows in (1, BATCH):
        payload = bytes(4 * rows * columns)
        scores = bytes(4 * rows)
        request = wire.encode_request(7, rows, columns, 1_000_000, payload)
        reply = wire.encode_reply(7, wire.Status.OK, rows, 10, 100, scores)
        reader = wire.FrameReader()

        def encode_request(rows: int = rows, payload: bytes = payload) -> object:
            return wire.encode_request(7, rows, columns, 1_000_000, payload)

        def encode_reply(rows: int = rows, scores: bytes = scores) -> object:
            return wire.encode_reply(7, wire.Status.OK, rows, 10, 100, scores)

        def read(data: bytes, reader: wire.FrameReader = reader) -> list[wire.Frame]:
            return list(reader.feed(data))

        def read_request(data: bytes = request) -> object:
            return read(data)

        def read_reply(data: bytes = reply) -> object:
            return read(data)

        yield Case(f"channel: encode request of {rows}", encode_request, "batch")
        yield Case(f"channel: decode request of {rows}", read_request, "batch")
        yield Case(f"channel: encode reply of {rows}", encode_reply, "batch")
        yield Case(f"channel: decode reply of {rows}", read_reply, "batch")


def _latencies_s(seed: int) -> list[float]:
    found: list[float] = np.random.default_rng(seed).lognormal(-7.0, 0.5, LATENCIES).tolist()
    return found


def _flush(latencies_s: list[float]) -> VersionReport:
    second = tally.TickTally(1)
    second.requests = LATENCIES
    for start in range(0, LATENCIES, tally.FOLD_ANSWERS):
        second.latencies_s = latencies_s[start : start + tally.FOLD_ANSWERS]
        second.fold()
    return tally.report("bench-v1", second, 1.0)


def sample_report(seed: int) -> GatewayReport:
    """One busy gateway's report of a second, of two versions."""
    summed = _flush(_latencies_s(seed))
    return GatewayReport("gateway", 1, 1, (EndpointReport("bench", (summed, summed)),))


def counting_cases(seed: int) -> Iterator[Case]:
    """The flush of one second, at the gateway and at the controller."""
    latencies_s = _latencies_s(seed)

    def flush() -> VersionReport:
        return _flush(latencies_s)

    sink: list[float] = []
    report = sample_report(seed)
    encoded = msgspec.msgpack.encode(report)
    decoder = msgspec.msgpack.Decoder(GatewayReport)

    def append() -> None:
        sink.append(0.001)
        if len(sink) > LATENCIES:
            sink.clear()

    def merge() -> object:
        versions = decoder.decode(encoded).endpoints[0].versions
        return histogram.merge(*[histogram.from_sparse(version.buckets) for version in versions])

    yield Case("histogram: append on the hot path", append, "value")
    yield Case(f"histogram: flush {LATENCIES:,} latencies", flush, "value", LATENCIES)
    yield Case("histogram: encode a report of two versions", lambda: msgspec.msgpack.encode(report), "report")
    yield Case("histogram: controller decodes and merges a report", merge, "report")


def oip_cases(workload: Workload, seed: int) -> Iterator[Case]:
    """The Open Inference Protocol's bodies."""
    columns = workload.schema.num_columns
    rows_NF = np.random.default_rng(seed).normal(size=(BINARY_ROWS, columns)).astype(np.float32)
    body, header_bytes = binary_body(rows_NF)
    bounds = RowBounds(workload.schema.features)
    json_body = msgspec.json.encode(
        {"inputs": [{"name": "rows", "shape": [32, columns], "datatype": "FP32", "data": rows_NF[:32].tolist()}]}
    )
    scores = rows_NF[:, 0].tolist()

    def decode_binary() -> object:
        (tensor,) = codec.decode(body, header_bytes).tensors
        rows = EncodedRows(tensor, bounds)
        return [rows.pack(start, start + 256, workload.schema) for start in range(0, BINARY_ROWS, 256)]

    def decode_json() -> object:
        (tensor,) = codec.decode(json_body, None).tensors
        return EncodedRows(tensor, bounds)

    yield Case(f"oip: decode, check and cut {BINARY_ROWS:,} binary rows", decode_binary, "row", BINARY_ROWS)
    yield Case("oip: decode and check 32 JSON rows", decode_json, "row", 32)
    yield Case(f"oip: {BINARY_ROWS:,} scores as JSON", lambda: codec.scores_json(b"scores", scores), "row", BINARY_ROWS)


def binary_body(rows_NF: np.ndarray) -> tuple[bytes, int]:
    """An infer request with the binary tensor extension; returns it and the length of its JSON part."""
    head = msgspec.json.encode(
        {
            "inputs": [
                {
                    "name": "rows",
                    "shape": list(rows_NF.shape),
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": rows_NF.nbytes},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    return head + rows_NF.astype("<f4").tobytes(), len(head)


def machine_cases(workload: Workload) -> Iterator[Case]:
    """What is not ours: the kernel's sockets and the model."""
    message = bytes(700)
    for kind, pair in (("a Unix socket", socket.socketpair), ("TCP", _tcp_pair)):
        here, there = pair()

        def there_and_back(here: socket.socket = here, there: socket.socket = there) -> None:
            here.send(message)
            there.recv(4_096)

        yield Case(kernel_case(kind), there_and_back, "message")
        here.close()
        there.close()
    engine = OnnxRuntimeEngine(workload.onnx.read_bytes(), workload.schema.num_columns)
    engine.warm(max(ENGINE_ROWS))
    for rows in ENGINE_ROWS:
        batch_NF = np.zeros((rows, workload.schema.num_columns), np.float32)

        def run(batch_NF: np.ndarray = batch_NF) -> object:
            return engine.run(batch_NF)

        yield Case(engine_case(rows), run, "batch")


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return here, there


def kernel_case(kind: str) -> str:
    return f"kernel: write and read 700 bytes on {kind}"


def engine_case(rows: int) -> str:
    return f"engine: run {rows} row{'s' * (rows > 1)}"
