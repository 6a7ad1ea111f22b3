import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def tiny_server():
    """Starts tiny servers and returns their URLs; each ends when its standard input is closed."""
    started = []

    def start(**options):
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("tiny_server.py")), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return f"http://127.0.0.1:{int(process.stdout.readline())}/predict"

    yield start
    for process in started:
        process.stdin.close()
        process.wait(timeout=120)
        process.stdout.close()
