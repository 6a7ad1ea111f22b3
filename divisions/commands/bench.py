"""``divisions bench …``: load and comparisons. Options are those of `benchmarks.load.load_test` and
`benchmarks.peers.compare`."""

from __future__ import annotations

import typer

app = typer.Typer(help="Load an endpoint; compare with other servers.", no_args_is_help=True, rich_markup_mode=None)

# The benchmark parses all options itself, also --help. Its heavy libraries are imported only when it runs.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command("load", context_settings=_PASS_ON, add_help_option=False)
def load(context: typer.Context) -> int:
    """Open-loop load on one endpoint: --url URL --rows FILE --rps N."""
    from benchmarks.load.load_test import main

    return main(context.args, prog="divisions bench load")


@app.command("compare", context_settings=_PASS_ON, add_help_option=False)
def compare(context: typer.Context) -> int:
    """Divisions beside other servers: --peers mosec,nginx-static --seconds S."""
    from benchmarks.peers.compare import main

    return main(context.args, prog="divisions bench compare")
