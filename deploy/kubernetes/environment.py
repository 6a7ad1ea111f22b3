"""``python -m deploy.kubernetes.environment FOLDER COMMAND …``: runs a command with variables from a mounted Secret.

Each file of the folder whose name is a ``DIVISIONS_`` variable is its value, unless the environment has one. So
credentials are given to the one process that needs them. In a container's environment, all of Ray would inherit them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from divisions.environment import set_default_environment

PREFIX = "DIVISIONS_"
EXIT_USAGE = 2


def variables(folder: Path) -> dict[str, str]:
    """The variables that the folder holds, without the line break at their ends.

    Raises:
        OSError: it cannot be read.
    """
    return {
        path.name: path.read_text(encoding="utf-8").rstrip("\r\n")
        for path in sorted(folder.iterdir())
        if path.name.startswith(PREFIX) and path.is_file()
    }


def main(arguments: Sequence[str]) -> int:
    """Does not return when the command starts."""
    if len(arguments) < 2:
        print("usage: python -m deploy.kubernetes.environment FOLDER COMMAND ...", file=sys.stderr)
        return EXIT_USAGE
    folder, command = Path(arguments[0]), list(arguments[1:])
    try:
        set_default_environment(variables(folder))
        os.execvp(command[0], command)  # replaces this process, so signals reach the command
    except (OSError, UnicodeDecodeError) as error:
        print(f"error: {error}. check the Secret and where it is mounted", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
