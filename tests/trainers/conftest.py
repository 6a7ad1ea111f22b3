import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """PyTorch's threads wait for each other on a busy machine; tests of small models gain nothing from them."""
    import torch

    torch.set_num_threads(1)
