import pytest
from hypothesis import settings

from router.gateway import native

# A deadline per example is a timing asserted: on a busy machine it fails for no fault of the code.
settings.register_profile("divisions", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=40)  # for `make mutants`, which runs tests often
settings.load_profile("divisions")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--compiled", action="store_true", help="test the compiled hot path; `make native` must have been run"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--compiled") and not native.activate():
        raise pytest.UsageError("the hot path was not compiled for this code and Python; see `make native`")
