import pytest
import torch

from trainers.training.precision import FLOAT32, MIXED, is_mixed, precision_of


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_a_gpu_is_mixed_if_it_has_bfloat16_itself(monkeypatch, has_bfloat16):
    def is_supported(*, including_emulation):
        return including_emulation or has_bfloat16

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert is_mixed(torch.device("cuda", 0)) is has_bfloat16
    assert precision_of(torch.device("cuda", 0)) == (MIXED if has_bfloat16 else FLOAT32)
    assert not is_mixed(torch.device("cpu"))
    assert precision_of(torch.device("cpu")) == FLOAT32
