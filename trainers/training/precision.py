"""In which precision a network trains: mixed on a GPU that computes in bfloat16, else float32.

In mixed precision, matrices are multiplied in bfloat16; weights, loss and the optimizer stay in float32. bfloat16 has
float32's range, so no gradient needs scaling. What chooses the best epoch, and all that is exported, is float32.
"""

from __future__ import annotations

import torch

FLOAT32 = "float32"
MIXED = "bfloat16 and float32"


def is_mixed(device: torch.device) -> bool:
    """Whether to train in mixed precision. On a CPU, and on a GPU that only imitates bfloat16 (older than Ampere, such
    as a T4), it would be slower."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def precision_of(device: torch.device) -> str:
    """
    >>> precision_of(torch.device("cpu"))
    'float32'
    """
    return MIXED if is_mixed(device) else FLOAT32
