"""``divisions``: the command line. Parses, calls, and turns every outcome into one line and an exit status.

======  =====================================================================
status  meaning
======  =====================================================================
0       done
1       failed: one line on standard error, ``error: what is wrong. what to do``; for a pipeline file one per mistake
2       wrong usage: the usage line and, if there is one, a suggestion
130     interrupted
141     the reader of standard output closed the pipe, as ``head`` does
======  =====================================================================
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer
from typer._click.exceptions import ClickException

from divisions.collector import collect_seldom
from divisions.commands import (
    approvals,
    audit,
    bench,
    cluster,
    compile,
    data,
    deploy,
    features,
    images,
    journal,
    keys,
    logs,
    manifests,
    models,
    notify,
    outcomes,
    policy,
    predict,
    prometheus,
    rollout,
    run,
    runs,
    schedule,
    serve,
    status,
    tokens,
)
from divisions.commands.streams import OutputError, abandon_output, complain, prepare_streams
from divisions.environment import account_environment, set_default_environment, trust_authorities
from divisions.errors import DivisionsError, PipelineError, UsageError
from divisions.settings import PRIVATE_UMASK

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 1, 2, 130, 141

app = typer.Typer(
    name="divisions",
    help="From raw events to a canaried prediction endpoint on one Ray cluster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
    ca: str = typer.Option(
        "", "--ca", metavar="FILE", help="Authorities (PEM) that the gateway's certificate is checked with."
    ),
) -> None:
    if ca:
        from divisions.sdk.peer import trusting

        trusting(ca)  # a file that is none is told also where the home's own certificate is asked
        trust_authorities(ca)
    if version:
        from divisions import __version__

        typer.echo(__version__)
        raise typer.Exit


app.command("up")(cluster.up)
app.command("down")(cluster.down)
app.command("join")(cluster.join)
app.command("run")(run.run)
app.add_typer(runs.app, name="runs")
app.add_typer(schedule.app, name="schedule")
app.add_typer(data.app, name="data")
app.command("status")(status.status)
app.add_typer(rollout.app, name="rollout")
app.command("rollback")(rollout.rollback)
app.command("approve")(approvals.approve)
app.add_typer(approvals.app, name="approvals")
app.command("scale")(rollout.scale)
app.command("deploy")(deploy.deploy)
app.command("deployments")(deploy.deployments)
app.command("logs")(logs.logs)
app.command("manifests")(manifests.manifests)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(images.app, name="images")
app.add_typer(journal.app, name="journal")
app.add_typer(tokens.app, name="tokens")
app.add_typer(audit.app, name="audit")
app.add_typer(policy.app, name="policy")
app.add_typer(features.app, name="features")
app.add_typer(prometheus.app, name="prometheus")
app.add_typer(notify.app, name="notify")
app.add_typer(outcomes.app, name="outcomes")
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)
app.command("compile")(compile.compile_model)
app.add_typer(bench.app, name="bench")


def main() -> None:
    """The console script."""
    collect_seldom()
    prepare_streams()
    if sys.argv[1:2] != ["bench"]:  # benchmarks write reports for others; everything else writes into the home
        os.umask(PRIVATE_UMASK)
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit status. Raises nothing."""
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OutputError as error:
        abandon_output()
        if error.is_closed:  # the reader has closed the pipe, as `head` does
            return EXIT_BROKEN_PIPE
        complain(f"standard output cannot be written: {error.reason}")
        return EXIT_FAILED
    return status


def _run(arguments: Sequence[str]) -> int:
    try:
        set_default_environment(account_environment())
        result = app(args=list(arguments), standalone_mode=False, prog_name="divisions")
    except ClickException as error:
        error.show()
        return EXIT_USAGE if error.exit_code == EXIT_USAGE else EXIT_FAILED
    except typer.Exit as ending:
        return int(ending.exit_code)
    except PipelineError as error:
        for problem in str(error).splitlines():
            complain(problem)
        return EXIT_FAILED
    except DivisionsError as error:
        complain(str(error))
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except OutputError:
        raise
    except Exception as error:  # noqa: BLE001  # the edge of the program; the traceback goes to a file
        complain(_crash_line(error))
        return EXIT_FAILED
    return result if isinstance(result, int) else 0


def _crash_line(error: Exception) -> str:
    """Writes the traceback to a log in the home; returns a line that names it."""
    import tempfile
    import traceback
    from pathlib import Path

    from divisions.settings import load_settings

    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    try:
        folder = load_settings().home / "logs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, DivisionsError):
        folder = Path(tempfile.gettempdir())
    try:
        # A name that nobody can foresee: in a shared folder, a link could stand under a known one.
        descriptor, path = tempfile.mkstemp(prefix=f"crash-{os.getpid()}-", suffix=".log", dir=folder)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return f"unexpected {what}"
    return f"unexpected {what}. Please report it with {path}"


if __name__ == "__main__":
    main()
