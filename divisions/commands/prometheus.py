"""``divisions prometheus …``: what Prometheus needs to watch a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from divisions.settings import load_settings

app = typer.Typer(help="Print rules and configuration for Prometheus.", no_args_is_help=True, rich_markup_mode=None)


@app.command("rules")
def rules(
    pipelines: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Pipeline files, for the alerts of their SLO.", show_default=False),
    ] = None,
) -> None:
    """Print recording rules and alerts; of pipeline files with an SLO, its burn-rate alerts as well."""
    from deploy.prometheus.documents import rule_file
    from divisions.pipeline.file import load_pipeline

    print(rule_file([load_pipeline(path) for path in pipelines or ()]), end="")


@app.command("config")
def config(
    rule_files: Annotated[
        list[str] | None,
        typer.Option("--rules", metavar="FILE", help="A file of rules; may be repeated.", show_default="rules.yml"),
    ] = None,
) -> None:
    """Print a configuration that scrapes every gateway of this home by itself."""
    from deploy.prometheus.documents import RULES, configuration
    from deploy.prometheus.server import scrape_tls

    settings = load_settings()
    targets = settings.home.absolute() / "metrics" / "*.json"
    print(configuration(str(targets), rule_files or (RULES,), tls=scrape_tls(settings)), end="")
