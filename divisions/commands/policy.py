"""``divisions policy …``: the rules in Rego that decide beside the table of roles."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_json
from divisions.errors import PolicyError, reason_of

if TYPE_CHECKING:
    from divisions.policy.bundle import Bundle

app = typer.Typer(help="Policies in Rego: rules of your own, and ours.", no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Your policies. Default: DIVISIONS_POLICY, or `policy` beside the home."),
]


@app.command("test")
def run_tests(folder: Folder = None, output: Output = Format.TEXT) -> int:
    """Run all tests, ours and yours. The exit status is 1 if one fails."""
    from divisions.policy.rego_engine import failures_of

    failures, num_tests = failures_of(_bundle(folder))
    if output is Format.JSON:
        print_json({"tests": num_tests, "failures": failures})
    else:
        for failure in failures:
            print(failure)
        print(f"{num_tests - len(failures)} of {num_tests} tests hold")
    return 1 if failures else 0


@app.command("check")
def check(folder: Folder = None) -> None:
    """Load the rules as a controller would: it takes them if this succeeds."""
    from divisions.policy.rego_engine import RegoEngine

    bundle = _bundle(folder)
    with contextlib.closing(RegoEngine(bundle)) as engine:
        print(f"policy {bundle.digest[:12]} can be used: {engine.num_tests} tests hold")


@app.command("show")
def show(folder: Folder = None, output: Output = Format.TEXT) -> None:
    """Show the digest, the files, and what the gates ask for."""
    bundle = _bundle(folder)
    rules = [
        {"file": module.name, "package": module.package, "rules": list(module.heads)}
        for module in bundle.modules
        if not module.is_test
    ]
    settings = bundle.data["divisions"]["settings"]
    if output is Format.JSON:
        print_json({"digest": bundle.digest, "policies": bundle.custom, "files": rules, "gates": settings})
        return
    print(f"policy {bundle.digest}")
    for rule in rules:
        print(f"  {rule['file']}: package {rule['package']}: {', '.join(rule['rules'])}")
    print("gates")
    for key, value in settings.items():
        print(f"  {key}: {json.dumps(value)}")
    print("your policies, each of which must allow it, too: " + (", ".join(bundle.custom) or "none"))


@app.command("eval")
def evaluate(
    file: Annotated[str, typer.Option("--input", help="A question as JSON; `-` is standard input.")],
    folder: Folder = None,
    output: Output = Format.TEXT,
) -> int:
    """Decide one question, by the rules here or by the server of DIVISIONS_OPA_URL. The exit status is 1 if refused."""
    from divisions.clock import SystemClock
    from divisions.policy.opa import OpaEngine
    from divisions.policy.question import parse_question
    from divisions.policy.rego_engine import RegoEngine
    from divisions.settings import load_settings

    question = parse_question(_text(file))
    url, clock = load_settings().opa_url, SystemClock()
    with contextlib.closing(OpaEngine(url) if url and folder is None else RegoEngine(_bundle(folder))) as engine:
        began_s = clock.monotonic_s()
        decision = engine.decide(question)
        ms = (clock.monotonic_s() - began_s) * 1e3
    if output is Format.JSON:
        print_json({"allow": decision.allow, "reasons": decision.reasons, "policy_digest": decision.policy_digest})
    else:
        print(f"{'allowed' if decision.allow else 'refused'} by policy {decision.policy_digest[:12]} in {ms:.1f} ms")
        for reason in decision.reasons:
            print(f"  {reason}")
    return 0 if decision.allow else 1


@app.command("bundle")
def bundle_to(
    out: Annotated[Path, typer.Option("--out", help="The file to write, such as bundle.tar.gz.")],
    folder: Folder = None,
) -> None:
    """Write the rules as a bundle for an Open Policy Agent server."""
    from divisions.policy.archive import archive

    bundle = _bundle(folder)
    data = archive(bundle)
    try:
        out.write_bytes(data)
    except OSError as error:
        raise PolicyError(
            f"{out} cannot be written: {error.strerror}", remedy="name a file in a folder that is there"
        ) from None
    print(f"policy {bundle.digest[:12]} is in {out}: `opa run --server --bundle {out}`")


def _text(file: str) -> str:
    """Of a file, or of standard input, which Python may have opened in another encoding, or not at all."""
    try:
        if file != "-":
            return Path(file).read_text("utf-8")
        return sys.stdin.buffer.read().decode() if sys.stdin else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error)
        name = "" if file == "-" else f"{file}: "
        raise PolicyError(f"the question cannot be read: {name}{reason}", remedy="name a file with JSON") from None


def _bundle(folder: Path | None) -> Bundle:
    from divisions.policy.bundle import load_bundle
    from divisions.policy.opening import policy_folder
    from divisions.settings import load_settings

    return load_bundle(folder or policy_folder(load_settings()))
