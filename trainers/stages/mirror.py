"""A run that has ended, to Weights & Biases if a project is set.

It is done by a process of its own with a deadline. So whatever the package or its network does, the run has ended as it
would have without it: its version is registered, and its rollout goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from divisions.cause import cause_in
from divisions.progress import Progress
from divisions.settings import Settings, environment_for_child

COMMAND = (sys.executable, "-m", "divisions.cli", "runs", "mirror")
PATIENCE_S = 60.0


def mirror(
    settings: Settings,
    run_id: str,
    progress: Progress,
    command: Sequence[str] = COMMAND,
    patience_s: float = PATIENCE_S,
) -> None:
    """Waits until the run is sent, or for ``patience_s``. What goes wrong is one notice."""
    if not settings.wandb_project:
        return
    again = f"`divisions runs mirror {run_id}` sends it again"
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (settings.home / "wandb.log").open("w+", errors="backslashreplace") as log:
            process = subprocess.Popen(
                [*command, run_id],
                env=environment_for_child(settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(patience_s)
            finally:
                # Its own processes, too: they would keep trying.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            log.seek(0)
            told = cause_in([log.read().removeprefix("error: ")])
    except subprocess.TimeoutExpired:
        progress.notice(f"Weights & Biases did not take the run within {patience_s:.0f} s; {again}")
    except OSError as error:
        progress.notice(f"the run was not sent to Weights & Biases: {error.strerror}; {again}")
    else:
        progress.notice(told if status == 0 else f"the run was not sent to Weights & Biases: {told}; {again}")
