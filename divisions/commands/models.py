"""``divisions models …``: lists, shows and archives versions of the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_json, table

if TYPE_CHECKING:
    from divisions.registry import Registry
    from divisions.versions import RegisteredVersion

app = typer.Typer(help="Look at and tidy the model registry.", no_args_is_help=True, rich_markup_mode=None)

HEADER = ("MODEL", "VERSION", "STAGE", "VALIDATION", "AUC", "PRECISION", "RECALL", "CREATED", "RUN")

Model = Annotated[str, typer.Argument(help="The registered model.")]
Version = Annotated[str, typer.Argument(help="A version, a registry number, or an alias.")]


@app.command("list")
def list_versions(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None, output: Output = Format.TEXT
) -> None:
    """List versions, newest first."""
    versions = _registry().list_versions(model)
    if output is Format.JSON:
        print_json({"versions": versions})
    else:
        rows = [_row(version) for version in versions]
        print(table(HEADER, rows) if rows else _nothing_of(model))


@app.command("show")
def show(model: Model, version: Version, output: Output = Format.TEXT) -> None:
    """Show one version with its metrics and lineage."""
    _print(_registry().get_version(model, version), output)


@app.command("archive")
def archive(model: Model, version: Version, output: Output = Format.TEXT) -> None:
    """Mark a version as archived."""
    _print(_registry().archive(model, version), output)


@app.command("register")
def register(
    model: Model,
    source: Annotated[str, typer.Option("--from", metavar="VERSION", help="The version whose bundle to register.")],
    output: Output = Format.TEXT,
) -> None:
    """Register the bundle of a version again, as a new version."""
    from deploy.registration import register_again

    _print(register_again(_registry(), model, source), output)


def _nothing_of(model: str | None) -> str:
    others = sorted({version.model for version in _registry().list_versions()}) if model else []
    if others:
        return f"No versions of {model}; there are some of {', '.join(others)}."
    return "No versions: nothing was registered yet."


def _registry() -> Registry:
    from divisions.registry import Registry
    from divisions.settings import load_settings

    settings = load_settings()
    return Registry(settings.home, settings.tracking_uri)


def _print(version: RegisteredVersion, output: Format) -> None:
    if output is Format.JSON:
        print_json(version)
        return
    facts = {
        "Model": version.model,
        "Version": version.version,
        "Stage": _stage(version),
        "Validation": f"{version.validation_status}{f' ({version.message})' if version.message else ''}",
        "Created": _time(version.created_at_s),
        "Run": version.run_id,
        "Bundle": str(version.bundle_path),
        "SHA-256": version.bundle_sha256,
        **{f"  {name}": f"{value:.4f}" for name, value in sorted(version.metrics.items())},
        **{f"  {name}": value for name, value in sorted(version.lineage.items())},
    }
    width = max(len(name) for name in facts) + 2
    print("\n".join(f"{name + ':':<{width}}{value}" for name, value in facts.items()))


def _row(version: RegisteredVersion) -> tuple[str, ...]:
    metrics = [f"{version.metrics[name]:.3f}" if name in version.metrics else "-" for name in _SHOWN_METRICS]
    return (
        version.model,
        version.version,
        _stage(version),
        str(version.validation_status),
        *metrics,
        _time(version.created_at_s),
        version.run_id[:8],
    )


_SHOWN_METRICS = ("auc", "precision", "recall")


def _stage(version: RegisteredVersion) -> str:
    stages = [*version.aliases, *(["archived"] if version.is_archived else [])]
    return ", ".join(stages) or "-"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M") if at_s else "-"
