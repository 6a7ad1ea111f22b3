"""Training on the real GPU, by the trainer's own loop: as good as on the CPU, repeatable, and how fast."""

from __future__ import annotations

import hashlib
import time

import pytest
import torch

from divisions.pipeline.definition import Hyperparams, TabmHyperparams
from tests.trainers.churn import SCHEMA, training_data
from trainers.training import kinds
from trainers.training.gpu_watch import watching
from trainers.training.model import use_threads
from trainers.training.precision import precision_of

SMALL = {
    "mlp": Hyperparams(hidden=(256, 256, 128), epochs=4, learning_rate=0.001),
    "tabm": TabmHyperparams(hidden=(256, 256), epochs=4, learning_rate=0.001),
}
LARGE = Hyperparams(hidden=(4176, 4176, 4176), epochs=2, learning_rate=0.0003)
AUC_SLACK = 0.01
"""Other kernels sum in another order, and bfloat16 rounds: the two end as different models of the same quality."""
SPEED = "Training: rows per second on the GPU, and on the CPU with one thread and with eight"


@pytest.fixture(scope="session")
def device(capabilities):
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch cannot use CUDA")
    return torch.device("cuda")


def train(data, hyperparams, device):
    """The model, the best validation AUC, and the seconds."""
    metrics = []
    begin = time.perf_counter()
    model = kinds.train(SCHEMA, data, hyperparams, lambda _epoch, found, _state: metrics.append(found), device=device)
    best = min(metrics, key=lambda found: found["valid_loss"])
    return model, best["valid_auc"], time.perf_counter() - begin


def digest(model):
    parts = [tensor.cpu().numpy().tobytes() for _, tensor in sorted(model.state_dict().items())]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def on_cpu(data, hyperparams, threads):
    before = torch.get_num_threads()
    use_threads(threads)
    try:
        return train(data, hyperparams, torch.device("cpu"))
    finally:
        use_threads(before)


@pytest.mark.parametrize("kind", SMALL)
def test_training_is_as_good_as_on_the_cpu_and_repeatable(device, note, kind):
    data, hyperparams = training_data(20_000), SMALL[kind]
    first, auc_gpu, _ = train(data, hyperparams, device)
    again, _, _ = train(data, hyperparams, device)
    _, auc_cpu, _ = on_cpu(data, hyperparams, 4)
    is_same = digest(first) == digest(again)
    note(
        "Training: quality",
        f"{kind}, {precision_of(device)}: AUC {auc_gpu:.4f}, on the CPU {auc_cpu:.4f}; "
        f"the same seed once more gives {'the same' if is_same else 'other'} weights",
    )
    assert abs(auc_gpu - auc_cpu) <= AUC_SLACK
    assert is_same


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("batch_size", [256, 4096])
def test_the_speed_of_small_networks_is_noted(device, note, kind, batch_size):
    hyperparams = SMALL[kind].__class__(hidden=SMALL[kind].hidden, epochs=2, batch_size=batch_size)
    train(training_data(10_000), hyperparams, device)  # libraries initialise themselves
    speeds = [
        _speed(training_data(100_000), hyperparams, lambda *each: train(*each, device)),
        _speed(training_data(10_000), hyperparams, lambda *each: on_cpu(*each, 1)),
        _speed(training_data(10_000), hyperparams, lambda *each: on_cpu(*each, 8)),
    ]
    note(SPEED, f"{kind}, batches of {batch_size}: {', '.join(f'{speed:,.0f}' for speed in speeds)}")
    assert min(speeds) > 0


def test_a_large_network_uses_the_gpu_and_its_use_is_told(device, note):
    """142 MB of weights, as the product page's model: here a GPU must be faster."""
    train(training_data(10_000), LARGE, device)
    with watching(device, precision_of(device)) as watch:
        gpu = _speed(training_data(300_000), LARGE, lambda *each: train(*each, device))
    eight = _speed(training_data(1_280), LARGE, lambda *each: on_cpu(*each, 8))
    note(SPEED, f"mlp of 142 MB, batches of {LARGE.batch_size}: {gpu:,.0f}; with eight threads {eight:,.0f}")
    use = watch.use
    note(
        "Training: what nvidia-smi told meanwhile",
        f"{use.name}, {use.precision}: {use.utilization_percent or 0:.0f} % busy ({use.num_utilizations} samples), "
        f"{use.memory_gb or 0:.1f} of {use.memory_total_gb or 0:.1f} GB",
    )
    assert gpu > eight
    assert use.num_utilizations > 0
    assert use.memory_gb > 0


def _speed(data, hyperparams, run):
    _, _, seconds = run(data, hyperparams)
    return len(data.train_rows_NF) * hyperparams.epochs / seconds
