"""schemathesis asks a gateway what /openapi.json says that it may be asked, and what it may not. All checks are on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.router.gateway.api_world import TOKEN, served_api

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.parametrize(
    ("phases", "examples", "at_least"),
    [
        ("fuzzing", 12, 240),
        pytest.param("examples,coverage,fuzzing", 180, 5_000, marks=pytest.mark.long),
    ],
)
def test_what_the_document_says_is_what_the_gateway_does(tmp_path, phases, examples, at_least):
    with served_api(tmp_path) as url:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                *("--config-file", str(CONFIGURATION), "run", f"{url}/openapi.json"),
                *("--header", f"Authorization: Bearer {TOKEN}", "--seed", "1", "--no-color"),
                *("--phases", phases, "--max-examples", str(examples), "--continue-on-failure"),
            ],
            cwd=tmp_path,  # where it keeps what it has found
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert int(re.search(r"([0-9,]+) generated", done.stdout)[1].replace(",", "")) >= at_least
