"""The first process of a host: ``python host_init.py FOLDER PATH...`` in namespaces of its own.

It makes the host's view of the disk, then collects its orphans until it is killed, and with it everything of the host.
Nothing is shared by accident: the disk is read-only, and the folders that processes write to are the host's own.

Args:
    FOLDER: the host's disk. It outlives the host, as a disk outlives a loss of power.
    PATH...: code and interpreter, seen read-only at the same place even where that is in one of the host's folders.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

OWN = ("/tmp", "/var/tmp", "/root")
_BIND, _RECURSIVE, _REMOUNT, _READ_ONLY, _PRIVATE = 0x1000, 0x4000, 0x20, 0x1, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, flags: int, kind: str = "", options: str = "") -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, options.encode() or None):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"{source} on {target}")


def make_disk(disk: Path, shown: list[str]) -> None:
    mount("none", "/", _PRIVATE | _RECURSIVE)
    opened = {own: own_folder(disk, own, shown) for own in OWN}  # the disk itself may be in a folder that gets hidden
    for own, descriptor in opened.items():
        mount(f"/proc/self/fd/{descriptor}", own, _BIND | _RECURSIVE)
        os.close(descriptor)
    mount("tmpfs", "/dev/shm", 0, "tmpfs", "size=1g,mode=1777")
    mount("none", "/", _BIND | _REMOUNT | _READ_ONLY)
    mount("proc", "/proc", 0, "proc")


def own_folder(disk: Path, own: str, shown: list[str]) -> int:
    """Makes one of the host's folders on its disk; returns it open."""
    folder = disk / own.replace("/", "_")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700 if own == "/root" else 0o1777)
    for path in shown:
        if Path(path).is_relative_to(own):
            inside = folder / Path(path).relative_to(own)
            inside.mkdir(parents=True, exist_ok=True)
            mount(path, str(inside), _BIND | _RECURSIVE)
            mount("none", str(inside), _BIND | _REMOUNT | _READ_ONLY)
    return os.open(folder, os.O_PATH)


def main() -> None:
    make_disk(Path(sys.argv[1]), sys.argv[2:])
    print("ready", flush=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        signal.sigwait({signal.SIGCHLD})
        collect()


def collect() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    main()
