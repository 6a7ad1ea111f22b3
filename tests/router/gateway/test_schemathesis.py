"""schemathesis asks a gateway what /openapi.json says that it may be asked, and what it may not. All checks are on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.roles import Role
from tests.router.gateway.api_world import TOKEN, served_api
from tests.router.gateway.test_keys import granted

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
PREDICT = "/api/v2/predict/churn"
ROUTES = ("--include-path-regex", "^/(api/v2/predict/|invocations$|v2/models/.*infer$)")
"""Those that predict."""


def schemathesis(
    folder: Path,
    url: str,
    token: str,
    phases: str,
    examples: int,
    *options: str,
    configuration: Path = CONFIGURATION,
) -> int:
    """Asks with all checks; returns the number of cases. Any failure fails."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(configuration), "run", f"{url}/openapi.json"),
            *("--header", f"Authorization: Bearer {token}", "--seed", "1", "--no-color"),
            *("--phases", phases, "--max-examples", str(examples), "--continue-on-failure"),
            *options,
        ],
        cwd=folder,  # where it keeps what it has found
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    return int(re.search(r"([0-9,]+) generated", done.stdout)[1].replace(",", ""))


@pytest.mark.parametrize(
    ("phases", "examples", "at_least"),
    [
        ("fuzzing", 12, 240),
        pytest.param("examples,coverage,fuzzing", 180, 5_000, marks=pytest.mark.long),
    ],
)
def test_what_the_document_says_is_what_the_gateway_does(tmp_path, phases, examples, at_least):
    with served_api(tmp_path) as url:
        assert schemathesis(tmp_path, url, TOKEN, phases, examples) >= at_least


REFUSED = {
    "limited": (("churn",), Limits(rate=3, window_s=86_400), "429"),
    "elsewhere": (("fraud",), NO_LIMITS, "403"),
    "unknown": (("churn",), NO_LIMITS, "401, 403, 429"),
}
"""Endpoints and limits of a caller, and all that routes which predict answer to what the document allows. An unknown
key may not name a version (403). After too many of them, the next ones are not looked up (429)."""


def refusing(folder: Path, statuses: str) -> Path:
    """A configuration for callers who are refused: no other status will do, nor a prediction. `/invocations` may name
    another endpoint."""
    path = folder / "refused.toml"
    path.write_text(
        f"""
        checks.positive_data_acceptance.expected-statuses = [{statuses}]

        [[operations]]
        include-path-regex = "/predict/.endpoint.$"
        parameters = {{ endpoint = "churn" }}

        [[operations]]
        include-path-regex = "^/v2/models/"
        parameters = {{ model = "churn", version = "3.1" }}

        [[operations]]
        include-name = "POST /invocations"
        checks.positive_data_acceptance.expected-statuses = [{statuses}, 404]
        """
    )
    return path


@pytest.mark.parametrize(
    "caller", ["limited", *(pytest.param(each, marks=pytest.mark.long) for each in ("elsewhere", "unknown"))]
)
def test_a_key_that_is_refused_gets_no_other_answer(tmp_path, caller):
    endpoints, limits, statuses = REFUSED[caller]
    known, (token,) = granted((caller, Role.DEPLOYER, endpoints, limits))  # a role that may name a version
    if caller == "unknown":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    with served_api(tmp_path, known) as url:
        answers = [asked(url, token) for _ in range(5)]
        assert answers == ([200] * 3 + [429] * 2 if caller == "limited" else [int(statuses[:3])] * 5)
        configuration = refusing(tmp_path, statuses)
        assert schemathesis(tmp_path, url, token, "fuzzing", 8, *ROUTES, configuration=configuration) >= 8


@pytest.mark.long
def test_a_key_that_is_right_is_never_refused(tmp_path):
    known, (token,) = granted(("right", Role.DEPLOYER, ("churn",), NO_LIMITS))
    with served_api(tmp_path, known) as url:
        assert asked(url, token) == 200
        assert schemathesis(tmp_path, url, token, "fuzzing", 60, *ROUTES) >= 200


def test_the_document_of_an_endpoint_with_keys_says_so(tmp_path):
    known, _ = granted(("some", Role.PREDICTOR, ("churn",), NO_LIMITS))
    with served_api(tmp_path, known) as url:
        document = httpx.get(f"{url}/openapi.json").json()
    operation = document["paths"][PREDICT]["post"]
    assert {"200", "401", "403", "429"} <= operation["responses"].keys()
    assert operation["security"] == [{"token": []}]


def asked(url: str, token: str) -> int:
    """The status of one good request."""
    body = {"features": {"minutes": 70.0, "plan": "gold", "abroad": None}}
    return httpx.post(f"{url}{PREDICT}", json=body, headers={"Authorization": f"Bearer {token}"}).status_code
