"""What became of a Ray worker, in one line: what, where, and what to do. Pure.

Ray describes a dead worker in a paragraph of ten sentences, or in a traceback. That text belongs in a log. The line
names the process and the machine, as far as Ray's text does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WHERE = re.compile(r"(?:Worker IP address|\bip)\s*[:=]\s*([0-9A-Fa-f.:]+?)[,)\s]", re.IGNORECASE)
_PID = re.compile(r"(?:Worker PID|\bpid)\s*[:=]\s*([0-9]+)", re.IGNORECASE)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_RETRIES = re.compile(r"There (?:are|is) ([0-9]+) retries remaining")
_OUT_OF_MEMORY = ("outofmemory", "node_out_of_memory", "running low on memory", "node was low on memory")
_OF_A_DEATH = ("A worker died or was killed", "The actor died", "The worker died", "due to the node running low")


@dataclass(frozen=True, slots=True)
class Death:
    """``what`` names the process as far as it is known, and the cause; ``remedy`` what the reader can do."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def death_of(kind: str, text: str) -> Death:
    """Explains an error of Ray.

    Args:
        kind: the error's class, such as ``WorkerCrashedError``; or empty for a message that has none.
        text: Ray's text of it.

    >>> str(death_of("OutOfMemoryError", "Task was killed. (pid=7, ip=10.0.0.1)"))
    'process 7 on 10.0.0.1 was stopped, as its machine ran out of memory: give the stage more memory'
    """
    who = _process(text)
    folded = f"{kind} {text}".lower()
    if any(sign in folded for sign in _OUT_OF_MEMORY):
        return Death(f"{who} was stopped, as its machine ran out of memory", "give the stage more memory")
    if kind == "NodeDiedError" or "node died" in folded or "node_died" in folded:
        return Death(f"the machine of {who} has left the cluster", "check that machine, then run again")
    match kind:
        case "ObjectLostError" | "OwnerDiedError" | "ObjectReconstructionFailedError" | "ObjectFetchTimedOutError":
            return Death("data was lost with the process that held it", "run again; if it repeats, add memory")
        case "OutOfDiskError" | "ObjectStoreFullError":
            return Death("the disk or the object store of a machine is full", "free some room on it")
        case "LocalRayletDiedError":
            return Death("Ray on this machine has ended", "see `divisions status`, then run again")
        case "RuntimeEnvSetupError":
            return Death(f"the environment of the task could not be set up: {first_line(text)}", "mend it")
        case "WorkerCrashedError" | "ActorDiedError" | "RayActorError" | "":
            return Death(
                f"{who} was killed, or it crashed",
                "if this repeats, look for the out-of-memory killer in that machine's dmesg",
            )
    return Death(f"{who} failed: {first_line(text) or kind}", "run again")


def told(message: str) -> str:
    """The line for one of Ray's own messages to the driver; empty for those that say nothing more than others.

    >>> told("Task prepare failed. There are 2 retries remaining, so the task will be retried. Error: ")
    'Ray starts the task again, at most 2 more times'
    """
    plain = _COLOURS.sub("", message)
    if retries := _RETRIES.search(plain):
        count = int(retries[1])
        return f"Ray starts the task again, at most {count} more time{'s' * (count != 1)}"
    if any(sign in plain for sign in _OF_A_DEATH):
        return str(death_of("", plain))
    return f"Ray says: {first_line(plain)}"


def first_line(text: str) -> str:
    """The first line of a text that is not empty, bounded, without colours."""
    lines = (line.strip() for line in _COLOURS.sub("", text).splitlines())
    return next((line for line in lines if line), "")[:200]


def _process(text: str) -> str:
    plain = _COLOURS.sub("", text) + " "
    pid, where = _PID.search(plain), _WHERE.search(plain)
    return f"{f'process {pid[1]}' if pid else 'a process'}{f' on {where[1]}' if where else ''}"
