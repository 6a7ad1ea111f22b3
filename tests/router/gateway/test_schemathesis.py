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
PREDICTS = "^/(api/v2/predict/|invocations$|v2/models/.*infer$)"


def schemathesis(folder: Path, url: str, token: str, phases: str, examples: int, *options: str) -> int:
    """Asks with all checks; returns the number of cases. Any failure fails."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(CONFIGURATION), "run", f"{url}/openapi.json"),
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


KEYS = {
    "limited": (("churn",), Limits(rate=3, window_s=86_400), {200, 429}),
    "elsewhere": (("fraud",), NO_LIMITS, {403}),
    "unknown": (("churn",), NO_LIMITS, {401}),
}
"""The endpoints and limits of a caller, and what it is answered by routes that predict."""


@pytest.mark.parametrize(
    "caller", ["limited", *(pytest.param(each, marks=pytest.mark.long) for each in ("elsewhere", "unknown"))]
)
def test_what_an_endpoint_answers_to_keys_is_in_the_document(tmp_path, caller):
    endpoints, limits, statuses = KEYS[caller]
    known, (token,) = granted((caller, Role.PREDICTOR, endpoints, limits))
    if caller == "unknown":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    with served_api(tmp_path, known) as url:
        body, headers = (
            {"features": {"minutes": 70.0, "plan": "gold", "abroad": None}},
            {"Authorization": f"Bearer {token}"},
        )
        answers = {httpx.post(f"{url}{PREDICT}", json=body, headers=headers).status_code for _ in range(5)}
        assert answers == statuses
        document = httpx.get(f"{url}/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
        assert {str(status) for status in statuses} <= document["paths"][PREDICT]["post"]["responses"].keys()
        assert document["paths"][PREDICT]["post"]["security"] == [{"token": []}]
        assert schemathesis(tmp_path, url, token, "fuzzing", 8, "--include-path-regex", PREDICTS) >= 8
