"""The TensorRT engine's sequence, cache and error paths, on a fake GPU with TensorRT's rules."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from divisions.errors import BundleError, EngineError
from serving.compile.engine_cache import EngineCache, architecture_sha256, cluster_secret, plan_key
from serving.compile.plan_builder import build_plan, refit_plan
from serving.compile.plans import Origin, PlanRequest, open_plan
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from serving.engines.parity import check_parity, probe_rows
from serving.engines.tensorrt import NUM_LANES, TensorRtEngine, profile_ranges
from tests.serving.conftest import build_linear_model
from tests.serving.fake_cuda import T4, FakeCuda
from tests.serving.fake_tensorrt import FakeTensorRt, ProcessCrashed, TensorRtMisuse
from tests.serving.function_engine import FunctionEngine

BUDGET = 10_000_000


@pytest.fixture
def cuda():
    return FakeCuda()


@pytest.fixture
def trt(cuda):
    return FakeTensorRt(cuda)


@pytest.fixture
def model():
    return build_linear_model().SerializeToString()


@pytest.fixture
def engine(trt, cuda, model):
    plan = build_plan(trt, model, 3, 12, 1_000_000).plan
    engine = TensorRtEngine(plan, 3, cuda, "fp32", BUDGET, trt)
    engine.warm(12)
    return engine


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 9, 12, 13, 40])
def test_it_scores_any_number_of_rows(engine, weights, count):
    for seed in range(2):
        batch = rows(count, seed)
        scores = engine.run(batch)
        assert (scores.shape, scores.dtype) == ((count,), np.float32)
        np.testing.assert_allclose(scores, batch @ weights, rtol=1e-5, atol=1e-6)


def test_it_works_before_it_is_warm(trt, cuda, model, weights):
    engine = TensorRtEngine(build_plan(trt, model, 3, 4, 1_000_000).plan, 3, cuda, "fp32", BUDGET, trt)
    np.testing.assert_allclose(engine.run(rows(2)), rows(2) @ weights, rtol=1e-5)
    assert len(cuda.streams) == NUM_LANES


def test_every_batch_is_one_launch_of_a_graph(engine, cuda, trt):
    cuda.launches = 0
    calls = len(trt.calls)
    engine.run(rows(7))
    assert cuda.launches == 1
    assert len(trt.calls) == calls


def test_a_context_is_set_up_in_order_and_captured_after_a_run(trt, cuda, model):
    plan = build_plan(trt, model, 3, 1, 1_000_000).plan
    TensorRtEngine(plan, 3, cuda, "fp32", BUDGET, trt).warm(1)
    one = ["set_optimization_profile_async", "set_device_memory", "set_input_shape"]
    one += ["set_tensor_address"] * 2 + ["execute_async_v3"] * 2
    assert trt.calls == one * NUM_LANES


def test_each_bucket_has_a_profile_that_covers_it():
    for max_batch in (1, 2, 31, 32, 33, 256, 16_384):
        ranges = profile_ranges(max_batch)
        covered = [n for one in ranges for n in range(one.least, one.most + 1)]
        assert covered == list(range(1, max_batch + 1))
        assert all(one.least <= one.best <= one.most for one in ranges)


def test_without_graphs_it_runs_call_by_call(trt, cuda, model, weights):
    cuda.capture_fails = True
    engine = TensorRtEngine(build_plan(trt, model, 3, 4, 1_000_000).plan, 3, cuda, "fp32", BUDGET, trt)
    engine.warm(4)
    assert not engine.has_graphs
    np.testing.assert_allclose(engine.run(rows(3)), rows(3) @ weights, rtol=1e-5)


def test_each_thread_has_its_own_stream_and_contexts(engine, weights):
    failures = []

    def work(seed):
        try:
            for _ in range(20):
                np.testing.assert_allclose(engine.run(rows(5, seed)), rows(5, seed) @ weights, rtol=1e-5, atol=1e-6)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_thread_takes_over_the_lane_of_one_that_has_ended(engine, cuda, weights):
    """Thread ids are used again; the GPU must be made current in the new thread all the same."""
    failures = []

    def work():
        try:
            np.testing.assert_allclose(engine.run(rows(4)), rows(4) @ weights, rtol=1e-5, atol=1e-6)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    for _ in range(5):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert not failures
    assert len(cuda.streams) == NUM_LANES


def test_closing_frees_all_memory(engine, cuda):
    assert cuda.device
    assert cuda.graphs
    engine.close()
    assert (cuda.device, cuda.pinned, cuda.graphs, cuda.streams) == ({}, {}, {}, {})


def test_a_failure_while_warming_frees_all_memory(trt, cuda, model):
    plan = build_plan(trt, model, 3, 4, 1_000_000).plan
    engine = TensorRtEngine(plan, 3, cuda, "fp32", BUDGET, trt)
    with pytest.raises(EngineError, match="no profile of the plan covers a batch of 8"):
        engine.warm(8)
    assert (cuda.device, cuda.pinned, cuda.graphs, cuda.streams) == ({}, {}, {}, {})


def test_a_plan_that_needs_more_than_its_share_is_refused_with_the_sum(trt, cuda, model):
    trt.activation_bytes = 6_000_000
    engine = TensorRtEngine(build_plan(trt, model, 3, 4, 1_000_000).plan, 3, cuda, "fp32", BUDGET, trt)
    with pytest.raises(EngineError, match=r"needs 12\.0 MB .* 2 x 6\.0 to compute in\), its share is 10\.0"):
        engine.warm(4)


def test_a_gpu_that_is_full_is_an_error_not_a_crash(trt, model):
    trt.cuda = cuda = FakeCuda(memory_bytes=100)
    engine = TensorRtEngine(build_plan(trt, model, 3, 64, 1_000_000).plan, 3, cuda, "fp32", BUDGET, trt)
    with pytest.raises(EngineError, match="OUT_OF_MEMORY"):
        engine.warm(64)
    assert not cuda.device


def test_a_plan_of_another_version_or_schema_is_refused(trt, cuda, model):
    plan = build_plan(trt, model, 3, 4, 1_000_000).plan
    with pytest.raises(EngineError, match=r"schema says float32\[N, 4\]"):
        TensorRtEngine(plan, 4, cuda, "fp32", BUDGET, trt)
    with pytest.raises(EngineError, match="refuses the plan: the plan is of another version"):
        TensorRtEngine(plan, 3, cuda, "fp32", BUDGET, FakeTensorRt(cuda, "11.4.0.106"))
    with pytest.raises(EngineError, match=r"TensorRT 10\.9\.0 is too old"):
        TensorRtEngine(plan, 3, cuda, "fp32", BUDGET, FakeTensorRt(cuda, "10.9.0"))


def test_a_model_that_answers_another_shape_is_refused(trt, cuda):
    model = build_linear_model(("N", 1)).SerializeToString()
    engine = TensorRtEngine(build_plan(trt, model, 3, 2, 1_000_000).plan, 3, cuda, "fp32", BUDGET, trt)
    with pytest.raises(BundleError, match=r"answers 1 rows with \[1, 1\]"):
        engine.warm(2)


def test_a_build_is_strongly_typed_refittable_strict_about_nan_and_capped(trt, model):
    built = build_plan(trt, model, 3, 40, 123_456)
    assert trt.workspace_bytes == 123_456
    assert b'"flags": ["REFIT", "STRICT_NANS"]' in built.plan
    assert b'"profiles": [[1, 1, 1], [2, 32, 32], [33, 40, 40]]' in built.plan


def test_a_graph_that_tensorrt_cannot_read_names_the_operator(trt):
    proto = build_linear_model()
    proto.graph.node[0].domain = "other"
    with pytest.raises(EngineError, match="cannot read the graph: no importer for MatMul"):
        build_plan(trt, proto.SerializeToString(), 3, 4, 1_000_000)


def test_a_stale_timing_cache_is_left_out(trt, model):
    assert build_plan(trt, model, 3, 4, 1_000_000, timing=b"stale").timing == b"t"
    assert trt.timings_given == [b"stale", b""]


def test_a_plan_without_refit_cannot_be_refitted(trt, model):
    plan = build_plan(trt, model, 3, 4, 1_000_000).plan.replace(b'"REFIT", ', b"")
    assert refit_plan(trt, plan, model) is None


# The plans


def request(model, trt):
    key = plan_key(model, T4, trt.__version__, "fp32", 8, 1_000_000)
    return PlanRequest(model, 3, 8, "fp32", 1_000_000, BUDGET, key)


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "engines", cluster_secret(tmp_path))


def open_(trt, cuda, cache, model):
    return open_plan(trt, cuda, cache, request(model, trt), OnnxRuntimeEngine(model, 3))


def retrained():
    proto = build_linear_model()
    values = np.frombuffer(proto.graph.initializer[0].raw_data, np.float32) * 3
    proto.graph.initializer[0].raw_data = values.tobytes()
    return proto.SerializeToString()


def test_a_plan_is_built_once_and_then_found(trt, cuda, cache, model):
    assert open_(trt, cuda, cache, model).origin is Origin.BUILT
    found = open_(trt, cuda, cache, model)
    assert (found.origin, trt.num_builds) == (Origin.CACHED, 1)
    assert found.difference < 1e-4


def test_replicas_that_start_together_build_once(trt, cuda, cache, model):
    origins = []
    threads = [threading.Thread(target=lambda: origins.append(open_(trt, cuda, cache, model).origin)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(origins) == [Origin.BUILT, Origin.CACHED, Origin.CACHED]
    assert trt.num_builds == 1


def test_a_retrained_model_is_refitted_and_answers_with_its_own_weights(trt, cuda, cache, model, weights):
    open_(trt, cuda, cache, model)
    opened = open_(trt, cuda, cache, retrained())
    assert (opened.origin, trt.num_builds, trt.num_refits) == (Origin.REFITTED, 1, 1)
    np.testing.assert_allclose(opened.engine.run(rows(5)), rows(5) @ weights * 3, rtol=1e-4)
    assert open_(trt, cuda, cache, retrained()).origin is Origin.CACHED
    assert open_(trt, cuda, cache, model).origin is Origin.CACHED


def test_a_refit_that_fails_or_gives_other_scores_becomes_a_build(trt, cuda, cache, model):
    open_(trt, cuda, cache, model)
    trt.refit_fails = True
    assert open_(trt, cuda, cache, retrained()).origin is Origin.BUILT


@pytest.mark.parametrize("fault", ["builds_to_fail", "builds_to_spoil"])
def test_one_bad_build_is_repeated_without_the_timing_cache(trt, cuda, cache, model, fault):
    cache.put_timing(request(model, trt).key, b"earlier")
    setattr(trt, fault, 1)
    assert open_(trt, cuda, cache, model).origin is Origin.BUILT
    assert (trt.num_builds, trt.timings_given) == (2, [b"earlier", b""])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("builds_to_fail", "TensorRT built nothing: Error Code 10"),
        ("builds_to_spoil", "differs from onnxruntime-cpu by"),
    ],
)
def test_two_bad_builds_are_given_up(trt, cuda, cache, model, fault, reason):
    setattr(trt, fault, 9)
    with pytest.raises(EngineError, match=reason):
        open_(trt, cuda, cache, model)
    assert trt.num_builds == 2
    assert cache.plan(request(model, trt).key) is None
    assert not cuda.device


def test_one_changed_byte_of_a_plan_keeps_it_from_tensorrt(trt, cuda, cache, model):
    """Every byte of the file, the signature's too; and the file cut short at every length, and one byte longer."""
    open_(trt, cuda, cache, model)
    path = cache.plan_path(request(model, trt).key)
    good = path.read_bytes()
    changed = [good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :] for at in range(len(good))]
    for content in (*changed, *(good[:length] for length in range(len(good))), good + b"\0"):
        path.write_bytes(content)
        assert cache.plan(request(model, trt).key) is None
        assert not path.exists()
    path.write_bytes(good[:40])
    builds = trt.num_builds
    assert open_(trt, cuda, cache, model).origin is Origin.BUILT  # ProcessCrashed, had it been deserialised
    assert trt.num_builds == builds + 1


@pytest.mark.parametrize("kind", ["arch", "timing"])
def test_one_changed_byte_beside_a_plan_keeps_it_from_tensorrt(trt, cuda, cache, model, kind):
    open_(trt, cuda, cache, model)
    key = request(retrained(), trt).key
    (path,) = cache.plan_path(key).parent.glob(f"{kind}-*.bin")
    good = path.read_bytes()
    read = {"arch": lambda: cache.same_architecture(key) or b"", "timing": lambda: cache.timing(key)}[kind]
    assert read()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        assert read() == b""


def test_a_full_disk_disables_the_cache_but_not_the_engine(trt, cuda, cache, model, monkeypatch, weights, caplog):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    opened = open_(trt, cuda, cache, model)
    assert opened.origin is Origin.BUILT
    np.testing.assert_allclose(opened.engine.run(rows(2)), rows(2) @ weights, rtol=1e-5)
    assert cache.plan(request(model, trt).key) is None
    assert "cannot be kept: No space left on device" in caplog.text
    assert [one.name[:5] for one in cache.plan_path(request(model, trt).key).parent.iterdir()] == ["lock-"]


@pytest.mark.parametrize("null", ["Builder", "Runtime"])
def test_a_null_pointer_from_tensorrt_is_an_engine_error(trt, cuda, cache, model, null):
    """Its bindings raise a TypeError then, which would end the replica instead of its ladder's rung."""
    trt.null = null
    with pytest.raises(EngineError, match="TensorRT failed with TypeError: pybind11"):
        open_(trt, cuda, cache, model)


def test_a_plan_signed_by_another_cluster_or_for_another_key_is_not_used(trt, cuda, cache, model, tmp_path):
    open_(trt, cuda, cache, model)
    key, other = request(model, trt).key, request(retrained(), trt).key
    stranger = EngineCache(tmp_path / "engines", b"another secret")
    cache.plan_path(other).write_bytes(cache.plan_path(key).read_bytes())
    assert cache.plan(other) is None
    assert stranger.plan(key) is None


def test_the_key_depends_on_everything_that_the_plan_depends_on(model):
    import dataclasses

    key = plan_key(model, T4, "10.13.3.9", "fp32", 8, 1_000_000)
    for field in dataclasses.fields(key):
        assert dataclasses.replace(key, **{field.name: "other"}).digest != key.digest
    others = [
        plan_key(retrained(), T4, "10.13.3.9", "fp32", 8, 1_000_000),
        plan_key(model, dataclasses.replace(T4, name="Tesla P4"), "10.13.3.9", "fp32", 8, 1_000_000),
        plan_key(model, dataclasses.replace(T4, compute_capability=(8, 6)), "10.13.3.9", "fp32", 8, 1_000_000),
        plan_key(model, dataclasses.replace(T4, driver="13.0"), "10.13.3.9", "fp32", 8, 1_000_000),
        plan_key(model, T4, "11.4.0.106", "fp32", 8, 1_000_000),
        plan_key(model, T4, "10.13.3.9", "fp16", 8, 1_000_000),
        plan_key(model, T4, "10.13.3.9", "fp32", 16, 1_000_000),
        plan_key(model, T4, "10.13.3.9", "fp32", 8, 2_000_000),
    ]
    assert len({one.digest for one in (key, *others)}) == 9
    assert key.architecture_digest == others[0].architecture_digest


def test_the_architecture_is_the_graph_without_its_weights(model):
    assert architecture_sha256(model) == architecture_sha256(retrained())
    assert architecture_sha256(model) != architecture_sha256(build_linear_model(("N", 1)).SerializeToString())


def test_the_secret_is_made_once_and_kept_from_others(tmp_path):
    secret = cluster_secret(tmp_path)
    assert (len(secret), cluster_secret(tmp_path)) == (32, secret)
    path = tmp_path / "plan_secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["plan_secret"]
    path.chmod(0o644)
    with pytest.raises(EngineError, match="can be read by others"):
        cluster_secret(tmp_path)


def test_a_model_with_external_data_is_never_built(trt):
    proto = build_linear_model()
    proto.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(BundleError, match="in another file"):
        build_plan(trt, proto.SerializeToString(), 3, 4, 1_000_000)
    assert trt.num_builds == 0


# Parity


def test_parity_covers_every_bucket_and_finds_one_wrong_row():
    right = FunctionEngine(3, lambda batch: np.nan_to_num(batch[:, 0], nan=0.5).clip(0, 1))

    def wrong_in_eights(batch):
        scores = right.run(batch).copy()
        if len(batch) == 8:
            scores[7] += 0.01
        return scores

    assert check_parity(right, right, 16, "fp32") == 0.0
    with pytest.raises(EngineError, match=r"by 0\.01 in a batch of 8"):
        check_parity(FunctionEngine(3, wrong_in_eights), right, 16, "fp32")
    with pytest.raises(EngineError, match="by inf"):
        check_parity(FunctionEngine(3, lambda batch: right.run(batch) * np.nan), right, 16, "fp32")


def test_probes_have_holes_extremes_and_categories():
    probes = probe_rows(5)
    assert np.isnan(probes).all(axis=1).any()
    assert np.nanmax(probes) == np.float32(3e38)
    assert ((probes == np.floor(probes)) & (probes >= 0) & (probes < 8)).all(axis=1).sum() > 200


# The fake's own rules: a fake that forgives proves nothing


def test_the_fake_refuses_what_tensorrt_forbids(trt, cuda, model):
    cuda.enter()
    plan = build_plan(trt, model, 3, 4, 1_000_000).plan
    engine = trt.Runtime(None).deserialize_cuda_engine(plan)
    context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    stream = cuda.create_stream()
    with pytest.raises(TensorRtMisuse, match="before the profile"):
        context.set_input_shape("rows", (1, 3))
    context.set_optimization_profile_async(0, stream)
    with pytest.raises(TensorRtMisuse, match="synchronised"):
        context.execute_async_v3(stream)
    cuda.synchronize(stream)
    with pytest.raises(TensorRtMisuse, match="without device memory"):
        context.execute_async_v3(stream)
    context.set_device_memory(cuda.allocate(4096), 4096)
    with pytest.raises(TensorRtMisuse, match="shapes"):
        context.execute_async_v3(stream)
    context.set_input_shape("rows", (1, 3))
    with pytest.raises(TensorRtMisuse, match="address of rows"):
        context.execute_async_v3(stream)
    context.set_tensor_address("rows", cuda.allocate(12))
    context.set_tensor_address("scores", cuda.allocate(4))
    cuda.begin_capture(stream)
    with pytest.raises(TensorRtMisuse, match="inside a capture"):
        context.execute_async_v3(stream)
    cuda.end_capture(stream)
    context.execute_async_v3(stream)
    cuda.synchronize(stream)
    cuda.begin_capture(stream)
    context.execute_async_v3(stream)
    cuda.end_capture(stream)
    with pytest.raises(TensorRtMisuse, match="whose graph was captured"):
        context.set_input_shape("rows", (1, 3))
    with pytest.raises(ProcessCrashed):
        FakeTensorRt(None).Runtime(None)
