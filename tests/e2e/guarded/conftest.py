"""One cluster for all tests of this folder: gateways with a company's certificate, and its owner's rules in Rego."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from divisions.sdk.client import Client
from divisions.status import RolloutStatus
from tests.builders import SHORT_ANALYSIS
from tests.e2e.folder_cluster import FolderCluster
from tests.e2e.homes import PIPELINE, Home
from tests.port_certificates import Authority, write_authority, write_pair

NAMES = ("gateway.example", "localhost")
"""The certificate's. It has no address, so only commands of the home know it at 127.0.0.1."""
LONGEST_S = 240.0
"""For what takes seconds on a quiet machine."""
CLEARANCE = """package divisions.custom.clearance

import rego.v1

default allow := false

allow if input.kind == "rbac"

allow if input.version in data.custom.cleared

reasons contains {
	"message": sprintf("version %s is not cleared", [input.version]),
	"remedy": "ask the risk team to clear it",
} if not input.version in data.custom.cleared
"""


def until(is_so: Callable[[], bool], what: str) -> None:
    ends_s = time.monotonic() + LONGEST_S
    while not is_so():
        assert time.monotonic() < ends_s, what
        time.sleep(0.1)


class Guarded:
    """The cluster, and what its owner has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.home.take_over_old()  # it serves a version, so that none must be trained
        self.authority: Authority = write_authority(folder)
        self.certificate, self.key = map(Path, self.renew())
        self.policy = folder / "policy"
        self.policy.mkdir()
        (self.policy / "clearance.rego").write_text(CLEARANCE)
        self.clear("3.1")
        self.pipeline = folder / "pipeline.yaml"
        self.pipeline.write_text(PIPELINE.rstrip() + SHORT_ANALYSIS)
        self.home.environment |= {
            "DIVISIONS_TLS_CERT": str(self.certificate),
            "DIVISIONS_TLS_KEY": str(self.key),
            "DIVISIONS_GATEWAYS": "2",
        }
        self.port = int(self.home.environment["DIVISIONS_PORT"])
        self.url, self.named_url = f"https://127.0.0.1:{self.port}", f"https://localhost:{self.port}"
        self.token = ""
        self.greeting = ""

    def up(self) -> None:
        started = self.home.run("up")
        assert started.returncode == 0, started.stderr
        self.greeting = started.stdout
        self.token = (self.home.path / "token").read_text().strip()

    def clear(self, *versions: str) -> None:
        """Says which versions may be promoted."""
        new = self.folder / "new.yaml"
        new.write_text(json.dumps({"cleared": versions}))
        new.rename(self.policy / "data.yaml")

    def renew(self, **changes: int) -> tuple[str, str]:
        """Writes another certificate with its key."""
        return write_pair(self.folder, host=NAMES[0], hosts=NAMES[1:], authority=self.authority, **changes)

    def outside(self, name: str) -> Home:
        """A home on which nothing is, of somebody who has the cluster's token and its address."""
        other = Home(self.folder / name)
        other.environment |= {"DIVISIONS_GATEWAY": self.named_url, "DIVISIONS_TOKEN": self.token}
        return other

    def client(self) -> Client:
        """As commands of the home do it."""
        return Client(self.url, home=self.home.path, timeout_s=60.0)

    def start(self) -> str:
        """Registers the served version once more and begins to roll it out; returns its label at its first step."""
        registered = self.home.run("models", "register", "churn-predictor", "--from", "3.1", "--output", "json")
        assert registered.returncode == 0, registered.stderr
        version = str(json.loads(registered.stdout)["version"])
        started = self.home.run("deploy", "--pipeline", str(self.pipeline), "--version", version, "--no-watch")
        assert started.returncode == 0, started.stderr
        self.wait_for(version, "STEP")
        return version

    def wait_for(self, version: str, phase: str) -> None:
        def is_there() -> bool:
            status = self.rollout()
            return (status.canary_version or status.stable_version, status.phase) == (version, phase)

        until(is_there, f"{version} was never {phase}")

    def rollout(self) -> RolloutStatus:
        with self.client() as client:
            return client.rollout("churn").status()


CLUSTER = FolderCluster(Path(__file__).parent)


@pytest.fixture(scope="session")
def guarded(tmp_path_factory) -> Iterator[Guarded]:
    """A test leaves it with version 3.1 served, and with rules that can be used."""
    it = Guarded(tmp_path_factory.mktemp("guarded"))
    with CLUSTER.running(it.up, lambda: it.home.run("down")):
        yield it


@pytest.hookimpl(trylast=True)  # after the fixtures of modules
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    CLUSTER.torn_down(nextitem)
