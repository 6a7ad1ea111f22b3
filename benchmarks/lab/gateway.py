"""A gateway process of the lab.

    python -m benchmarks.lab.gateway TABLE.json [node=NAME] [authority=PATH] [no-bookkeeping]

Settings come from ``DIVISIONS_*``. It prints ``ready`` when every endpoint can answer; it ends when its standard input
does. Like the product's, it runs the compiled hot path where there is one.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from divisions.settings import load_settings
from router.gateway import native

NO_BOOKKEEPING = "no-bookkeeping"
"""An argument that turns off all counting, for `benchmarks.bookkeeping`."""


def main() -> int:
    settings = load_settings()
    if settings.compiled:
        native.activate()
    # Not before: what is imported now is the compiled hot path, if there is one.
    import msgspec
    import uvloop

    from benchmarks.lab.gateway_lifecycle import Place, serve
    from divisions.control import RoutingTable

    table = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=RoutingTable)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        options = dict(argument.split("=", 1) for argument in sys.argv[2:] if "=" in argument)
        place = Place(options.get("node", "here"), Path(options.get("authority", "")))
        runner.run(serve(settings, table, place, has_bookkeeping=NO_BOOKKEEPING not in sys.argv[2:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
