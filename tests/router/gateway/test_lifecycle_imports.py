"""What a gateway does not use, it does not load: clients of servers, cryptography."""

import subprocess
import sys

SCRIPT = """
import sys
import router.gateway.gateway, router.gateway.lifecycle
from pathlib import Path
from divisions.clock import SystemClock
from divisions.settings import Settings
def loaded():
    return sorted(name for name in sys.modules if name.partition(".")[0] == "redis" or "redis_store" in name)
router.gateway.lifecycle.feature_source(Settings(home=Path("home")), SystemClock())
import divisions.cli, divisions.commands.features, divisions.online_stores
print(loaded())
"""


def test_redis_is_loaded_only_where_it_is_used():
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


WITHOUT_ISSUERS = """
import sys
import router.gateway.gateway, router.gateway.lifecycle, router.gateway.process
from router.gateway.issuer_file import read_issuers
assert read_issuers("") == ()
print(sorted({"jwt", "cryptography", "httpx", "yaml"} & set(sys.modules)))
"""


def test_a_gateway_without_issuers_loads_nothing_of_jwts():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ISSUERS],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout.strip() == "[]"
