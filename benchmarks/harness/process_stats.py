"""Memory and CPU time of a process, and who listens on a port."""

from __future__ import annotations

import psutil


def rss_bytes(pid: int) -> int:
    """Resident memory; 0 if the process has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def cpu_s(pid: int) -> float:
    """CPU time so far, user and kernel; 0 if the process has ended."""
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def listeners(port: int) -> list[int]:
    """The processes of this user that listen on a TCP port, rising; several if they share it."""
    found = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.pid and each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
    }
    return sorted(found)
