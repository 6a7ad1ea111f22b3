"""``divisions compile``: compiles a version for this machine's GPU before deployment, and shows its engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_json

if TYPE_CHECKING:
    from serving.compile.compile_report import CompileReport


def compile_model(
    model: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[
        str, typer.Option("--version", metavar="VERSION", help="A version, a registry number, or an alias.")
    ] = "staging",
    num_gpus: Annotated[float, typer.Option("--num-gpus", min=0, help="The share of a GPU that a replica has.")] = 1.0,
    vram_gb: Annotated[float | None, typer.Option("--vram-gb", help="Memory of a whole GPU, as in the file.")] = None,
    max_batch: Annotated[int, typer.Option("--max-batch", min=1, max=65_536, help="The largest batch.")] = 256,
    output: Output = Format.TEXT,
) -> None:
    """Compile a version for this machine's GPU, so that its replicas start quickly."""
    from divisions.artifacts.cache import Bundles
    from divisions.errors import UsageError
    from divisions.registry import Registry
    from divisions.settings import load_settings, runtime_dir
    from serving.compile.compile_report import compile_version

    if num_gpus > 1 and not num_gpus.is_integer():
        raise UsageError(
            f"--num-gpus {num_gpus:g} is no share of a GPU", remedy="give up to 1, or a whole number, as Ray requires"
        )
    if vram_gb is not None and vram_gb <= 0:
        raise UsageError(f"--vram-gb {vram_gb:g} is not above 0", remedy="leave it out to use the GPU's own size")
    settings = load_settings()
    found = Registry(settings.home, settings.tracking_uri).get_version(model, version)
    folder, manifest = Bundles.of(settings).open(found.bundle_path, found.bundle_sha256)
    report = compile_version(
        found.model,
        found.version,
        folder,
        manifest,
        settings.home,
        runtime_dir(settings.home),
        num_gpus,
        vram_gb,
        max_batch,
    )
    if output is Format.JSON:
        print_json(report)
    else:
        print(render_report(report))


def render_report(report: CompileReport) -> str:
    """The engine that a replica on this machine would use, and its plan."""
    facts = {"Model": report.model, "Version": report.version, "GPU": report.gpu or "none", "Engine": report.engine}
    if report.origin:
        facts |= {
            "Plan": f"{report.origin} in {report.duration_s:.1f} s, {report.plan_bytes / 1e6:,.1f} MB",
            "File": report.plan_path,
            "Difference": f"{report.difference:.1e} at most from onnxruntime-cpu",
            **{f"  {name}": value for name, value in report.key.items()},
        }
    else:
        facts["Plan"] = "none: this engine needs no compiling"
    width = max(len(name) for name in facts) + 2
    lines = [f"{name + ':':<{width}}{value}" for name, value in facts.items()]
    return "\n".join([*lines, *(f"Passed over {reason}" for reason in report.passed_over)])
