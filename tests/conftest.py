import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from router.gateway import native
from tests import servers, two_ends

# A deadline per example is a timing asserted: on a busy machine it fails for no fault of the code.
settings.register_profile("divisions", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=40)  # for `make mutants`, which runs tests often
settings.load_profile("divisions")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--compiled", action="store_true", help="test the compiled hot path; `make native` must have been run"
    )
    parser.addoption("--image", action="store_true", help="build Dockerfile.gpu and run it, in minutes")
    parser.addoption(
        "--long",
        action="store_true",
        help="run tests marked `long`, too: variants that take minutes and show little more",
    )
    parser.addoption("--pictures", type=Path, metavar="FOLDER", help="where tests of the page keep pictures of it")
    parser.addoption(
        "--losses", type=Path, metavar="FILE", help="where tests/cluster/test_shows.py keeps what it measures"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--compiled") and not native.activate():
        raise pytest.UsageError("the hot path was not compiled for this code and Python; see `make native`")
    two_ends.yield_to_first(config)


@pytest.hookimpl(trylast=True)  # after the shuffle
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Clusters first, those that share one together. The long variants run only if they are asked for."""
    for item in items:
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="a long variant; run it with --long"))
        if config.getoption("--long") or config.getoption("--image"):
            item.add_marker(pytest.mark.timeout(3_600))  # the first image takes half an hour
    items.sort(key=lambda item: two_ends.turn_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    from tests.two_ends_scheduler import TwoEnds  # pytest-xdist is not needed for a single process

    return TwoEnds(config, log)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.RedisServer]:
    """One Redis for all tests; a test removes what it has left there (`flush`), and starts it again if it kills it."""
    with skipped_where_absent(), servers.running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.PostgresServer]:
    """One PostgreSQL for all tests; each takes a database of its own (`new_database`)."""
    with skipped_where_absent(), servers.running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def kube_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Kubernetes API server with KubeRay's resources; ``bare_refusal`` is what a deployment met without them."""
    from tests.kube.clusters import deploy_without_kuberay  # tests that need no cluster do not import lightkube
    from tests.kube.server import KubeAbsentError, install_kuberay, running

    try:
        with running(tmp_path_factory.mktemp("kube")) as server:
            server.bare_refusal = deploy_without_kuberay(server)
            install_kuberay(server)
            yield server
    except KubeAbsentError as error:
        pytest.skip(str(error))


@contextlib.contextmanager
def skipped_where_absent() -> Iterator[None]:
    try:
        yield
    except servers.ServerAbsentError as error:
        pytest.skip(str(error))
