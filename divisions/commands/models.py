"""``divisions models …``: lists, shows and archives versions of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from divisions.commands.default_pipeline import PIPELINE
from divisions.commands.model_import import import_model
from divisions.commands.models_prune import prune
from divisions.commands.output import Format, Output, age, metric, print_facts, print_json, table

if TYPE_CHECKING:
    from divisions.foreign_models import ForeignVersion
    from divisions.registry import Registry
    from divisions.schema import Feature
    from divisions.versions import RegisteredVersion

app = typer.Typer(help="Look at and tidy the model registry.", no_args_is_help=True, rich_markup_mode=None)

app.command("import")(import_model)
app.command("prune")(prune)

HEADER = ("MODEL", "VERSION", "STAGE", "VALIDATION", "FRAMEWORK", "SIZE", "AUC", "PRECISION", "RECALL", "AGE", "RUN")

Model = Annotated[str, typer.Argument(help="The registered model.")]
Version = Annotated[str, typer.Argument(help="A version, a registry number, or an alias.")]


@app.command("list")
def list_versions(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None, output: Output = Format.TEXT
) -> None:
    """List versions, newest first."""
    from divisions.clock import SystemClock
    from divisions.foreign_models import foreign_versions

    registry = _registry()
    versions, foreign = registry.list_versions(model), foreign_versions(registry, model)
    if output is Format.JSON:
        print_json({"versions": versions, "foreign": foreign})
        return
    now_s = SystemClock().wall_s()
    rows = [_row(version, now_s) for version in versions] + [_foreign_row(version, now_s) for version in foreign]
    print(table(HEADER, rows) if rows else _nothing_of(model))
    if rows:
        pending = sum(version.validation_status == "pending" for version in versions)
        models = len({version.model for version in versions} | {version.model for version in foreign})
        print(f"\n{_count(models, 'model')}, {_count(len(rows), 'version')}, {pending:,} pending validation")
        if foreign:
            print(f"{len(foreign):,} of other tools: `divisions models import` takes in what is ONNX")


@app.command("show")
def show(
    model: Model,
    version: Version,
    lineage: Annotated[
        bool, typer.Option("--lineage", help="Only where it comes from: run, data, code, environment.")
    ] = False,
    output: Output = Format.TEXT,
) -> None:
    """Show one version with its features, hyperparameters, metrics and lineage."""
    registry = _registry()
    if foreign := _foreign(registry, model, version):
        _print_foreign(foreign, output)
        return
    found = registry.get_version(model, version)
    if lineage:
        _print_lineage(found, output)
        return
    _print_details(found, _details(registry, found), output)


@app.command("archive")
def archive(model: Model, version: Version, output: Output = Format.TEXT) -> None:
    """Mark a version as archived."""
    registry = _registry()
    if foreign := _foreign(registry, model, version):
        _print_foreign(_mark(registry, foreign, is_archived=True), output)
        return
    _print(registry.archive(model, version), output)


@app.command("unarchive")
def unarchive(model: Model, version: Version, output: Output = Format.TEXT) -> None:
    """Take a version out of the archive."""
    registry = _registry()
    if foreign := _foreign(registry, model, version):
        _print_foreign(_mark(registry, foreign, is_archived=False), output)
        return
    _print(registry.unarchive(model, version), output)


@app.command("register")
def register(
    model: Model,
    source: Annotated[str, typer.Option("--from", metavar="VERSION", help="The version whose bundle to register.")],
    output: Output = Format.TEXT,
) -> None:
    """Register the bundle of a version again, as a new version."""
    from deploy.registration import register_again
    from divisions.settings import load_settings

    _print(register_again(load_settings(), _registry(), model, source), output)


@app.command("package")
def package(
    model: Model,
    version: Version,
    folder: Annotated[
        Path, typer.Option("--to", help="Where to write the file.", exists=True, file_okay=False, writable=True)
    ] = Path("."),
    image: Annotated[
        str,
        typer.Option(metavar="REFERENCE", help="Make a runnable image in place of the file: the bundle on this base."),
    ] = "",
    push: Annotated[str, typer.Option(metavar="REFERENCE", help="Where that image goes.")] = "",
    pipeline: Annotated[Path, typer.Option(help="The pipeline file that the image serves by.")] = PIPELINE,
    platform: Annotated[str, typer.Option(help="Which image of a base for several.")] = "linux/amd64",
    output: Output = Format.TEXT,
) -> None:
    """Write a version's bundle as one file, such as churn-predictor-v3.2.tar.gz, or make an image that serves it.

    The same bundle gives the same bytes each time. Beside the file: what is in it (.cdx.json) and where it comes from
    (.provenance.json); with a key also both signed (.intoto.jsonl).
    """
    from divisions.artifacts.cache import Bundles
    from divisions.artifacts.packages import write_package
    from divisions.artifacts.signing import facts_of, statements_of
    from divisions.attestation.keys import find_signing_key
    from divisions.settings import load_settings

    registry, settings = _registry(), load_settings()
    found = registry.get_version(model, version)
    if image or push:
        from divisions.commands.image import push as push_image

        push_image(
            settings, registry, found, image=image, target=push, pipeline=pipeline, platform=platform, output=output
        )
        return
    bundle, manifest = Bundles.of(settings).open(found.bundle_path, found.bundle_sha256)
    statements = statements_of(facts_of(registry, found, manifest))
    written = write_package(bundle, statements, found, folder, find_signing_key(settings.home))
    if output is Format.JSON:
        print_json(
            {
                "file": str(written.tar),
                "beside": [str(path) for path in written.beside],
                "bundle_sha256": found.bundle_sha256,
                "tar_sha256": written.tar_sha256,
            }
        )
        return
    beside = [("Beside it", str(path)) for path in written.beside]
    print_facts([("File", str(written.tar)), *beside, ("Bundle", found.bundle_sha256), ("Tar", written.tar_sha256)])


@app.command("sign")
def sign(model: Model, version: Version, output: Output = Format.TEXT) -> None:
    """Sign what a version's bundle is and where it comes from, for machines that load only what is signed."""
    from dataclasses import replace

    from divisions.artifacts.cache import Bundles
    from divisions.artifacts.signing import sign_version
    from divisions.attestation.keys import signing_key
    from divisions.settings import load_settings

    registry, settings = _registry(), load_settings()
    key, found = signing_key(settings.home), registry.get_version(model, version)
    is_new = sign_version(replace(Bundles.of(settings), trusted=()), registry, found, key)
    if output is Format.JSON:
        print_json({"bundle_sha256": found.bundle_sha256, "public_key": str(key.public), "is_new": is_new})
    else:
        print_facts([("Bundle", found.bundle_sha256), ("Signed by", str(key.public))])


@app.command("verify")
def verify(model: Model, version: Version, output: Output = Format.TEXT) -> None:
    """Check a version's bundle, every byte, and its statements against the trusted keys, or one's own."""
    from divisions.artifacts.attestations import PREDICATES
    from divisions.artifacts.cache import Bundles
    from divisions.artifacts.local import address_of
    from divisions.attestation.keys import parse_trusted_keys, signing_key
    from divisions.settings import load_settings

    settings = load_settings()
    found = _registry().get_version(model, version)
    bundles = Bundles.of(settings)
    trusted = parse_trusted_keys(settings.trusted_keys) or (signing_key(settings.home).public,)
    _, manifest = bundles.open(found.bundle_path, found.bundle_sha256)
    address = address_of(found.bundle_path)
    signers = {
        kind: str(bundles.attestations.verify(address, found.bundle_sha256, trusted, kind)[0]) for kind in PREDICATES
    }
    if output is Format.JSON:
        print_json({"bundle_sha256": found.bundle_sha256, "num_files": len(manifest.files), "signed_by": signers})
        return
    print_facts(
        [
            ("Bundle", f"{found.bundle_sha256}, {len(manifest.files)} files"),
            *((f"{kind.capitalize()} signed by", signer) for kind, signer in signers.items()),
        ]
    )


def _nothing_of(model: str | None) -> str:
    others = sorted({version.model for version in _registry().list_versions()}) if model else []
    if others:
        return f"No versions of {model}; there are some of {', '.join(others)}."
    return "No versions: nothing was registered yet."


def open_registry() -> Registry:
    """The registry that the settings name."""
    return _registry()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _registry() -> Registry:
    from divisions.registry import Registry
    from divisions.settings import load_settings

    settings = load_settings()
    return Registry(settings.home, settings.tracking_uri, artifacts=settings.artifacts)


@dataclass(frozen=True, slots=True)
class Details:
    """What a version's bundle and run say about its training. ``notes`` says what could not be read."""

    features: tuple[Feature, ...] = ()
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    best_epoch: int | None = None
    notes: tuple[str, ...] = ()


def _details(registry: Registry, version: RegisteredVersion) -> Details:
    from divisions.artifacts.cache import Bundles
    from divisions.errors import BundleError, RegistryError
    from divisions.settings import load_settings

    notes = []
    features: tuple[Feature, ...] = ()
    run_id = version.trained_by
    try:
        _, manifest = Bundles.of(load_settings()).open(version.bundle_path, version.bundle_sha256)
        features, run_id = manifest.schema.features, manifest.run_id or run_id
    except BundleError as error:
        notes.append(f"no features: {error}")
    try:
        return Details(features, registry.get_run(run_id).params, registry.best_epoch(run_id), tuple(notes))
    except RegistryError as error:
        return Details(features, notes=(*notes, f"no hyperparameters: {error}"))


def _print_details(version: RegisteredVersion, details: Details, output: Format) -> None:
    if output is Format.JSON:
        training = {
            "features": details.features,
            "hyperparameters": details.hyperparameters,
            "best_epoch": details.best_epoch,
            "notes": details.notes,
        }
        print_json({**msgspec.to_builtins(version, enc_hook=str), **msgspec.to_builtins(training)})
        return
    facts = _facts(version)
    if details.best_epoch is not None:
        facts.append(("Best epoch", f"{details.best_epoch} of {details.hyperparameters.get('epochs', '?')}"))
    if details.hyperparameters:
        facts.append(("Hyperparameters", str(len(details.hyperparameters))))
    facts += [(f"  {name}", value) for name, value in sorted(details.hyperparameters.items())]
    if details.features:
        facts.append(("Features", str(len(details.features))))
    facts += [(f"  {feature.name}", _feature(feature)) for feature in details.features]
    print_facts(facts)
    for note in details.notes:
        typer.echo(f"note: {note}", err=True)


def _print_lineage(version: RegisteredVersion, output: Format) -> None:
    from divisions.lineage import sections

    found = sections(version)
    if output is Format.JSON:
        print_json({"model": version.model, "version": version.version} | {t.lower(): dict(rows) for t, rows in found})
        return
    lines = [[(title, ""), *((f"  {name}", value) for name, value in rows)] for title, rows in found]
    print_facts([("Version", f"{version.model} {version.version}"), *(line for part in lines for line in part)])


def _feature(feature: Feature) -> str:
    if not feature.categories:
        return feature.kind.value
    shown = ", ".join(feature.categories[:_SHOWN_CATEGORIES])
    more = len(feature.categories) - _SHOWN_CATEGORIES
    return f"{feature.kind.value}: {shown}{f' and {more} more' if more > 0 else ''}"


def _print(version: RegisteredVersion, output: Format) -> None:
    if output is Format.JSON:
        print_json(version)
    else:
        print_facts(_facts(version))


def _facts(version: RegisteredVersion) -> list[tuple[str, str]]:
    return [
        ("Model", version.model),
        ("Version", version.version),
        ("Stage", _stage(version)),
        ("Validation", f"{version.validation_status}{f' ({version.message})' if version.message else ''}"),
        ("Created", _time(version.created_at_s)),
        ("Run", version.run_id),
        ("Bundle", str(version.bundle_path)),
        ("SHA-256", version.bundle_sha256),
        *((f"  {name}", metric(value)) for name, value in sorted(version.metrics.items())),
        *((f"  {name}", value) for name, value in sorted(version.lineage.items())),
    ]


def _row(version: RegisteredVersion, now_s: float) -> tuple[str, ...]:
    metrics = [f"{version.metrics[name]:.3f}" if name in version.metrics else "-" for name in _SHOWN_METRICS]
    return (
        version.model,
        version.version,
        _stage(version),
        str(version.validation_status),
        version.framework or "-",
        _size(version.size_bytes),
        *metrics,
        age(now_s - version.created_at_s),
        version.run_id[:8],
    )


_SHOWN_METRICS = ("auc", "precision", "recall")
_SHOWN_CATEGORIES = 8


def _foreign(registry: Registry, model: str, version: str) -> ForeignVersion | None:
    from divisions.foreign_models import find_foreign

    return find_foreign(registry, model, version)


def _mark(registry: Registry, version: ForeignVersion, *, is_archived: bool) -> ForeignVersion:
    registry.mark_archived(version.model, version.version, is_archived=is_archived)
    return msgspec.structs.replace(version, is_archived=is_archived)


def _print_foreign(version: ForeignVersion, output: Format) -> None:
    if output is Format.JSON:
        print_json(version)
        return
    facts = [
        ("Model", version.model),
        ("Version", str(version.version)),
        ("Stage", _stage(version)),
        ("Validation", "none: another tool has registered it"),
        ("Framework", version.framework or "unknown"),
        ("Size", _size(version.size_bytes)),
        ("Created", _time(version.created_at_s)),
        ("Run", version.run_id or "-"),
    ]
    print_facts([*facts, *((f"  {name}", metric(value)) for name, value in sorted(version.metrics.items()))])


def _foreign_row(version: ForeignVersion, now_s: float) -> tuple[str, ...]:
    metrics = [f"{version.metrics[name]:.3f}" if name in version.metrics else "-" for name in _SHOWN_METRICS]
    about = (version.model, str(version.version), _stage(version), "-", version.framework or "-")
    return (*about, _size(version.size_bytes), *metrics, age(now_s - version.created_at_s), version.run_id[:8] or "-")


def _size(num_bytes: int) -> str:
    if not num_bytes:
        return "-"
    return f"{num_bytes / 1e6:.3g}MB" if num_bytes >= 1e6 else f"{num_bytes / 1e3:.3g}kB"


def _stage(version: RegisteredVersion | ForeignVersion) -> str:
    stages = [*version.aliases, *(["archived"] if version.is_archived else [])]
    return ", ".join(stages) or "-"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M") if at_s else "-"
