"""Hosts of our own on one machine: each has its own network, processes, shared memory, temporary folders and home.

Names of interfaces and addresses carry this process's id, so that several test runs may share a machine. Everything
ends with this process, however it ends: a host is a tree of namespaces that live as long as their first process.

    switch ----- a bridge, in a network of its own; its address 254 is this machine's, so that tests reach the hosts
      |- one     10.x.y.1
      |- two     10.x.y.2 ...
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_INIT = Path(__file__).with_name("host_init.py")
_NAMESPACES = ("--mount", "--net", "--pid", "--fork", "--uts", "--ipc", "--kill-child=KILL")
_KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "COVERAGE_PROCESS_START")
_TOOLS = ("ip", "nft", "tc", "unshare", "nsenter", "setpriv", "timeout")


class HostsAbsentError(Exception):
    """This machine cannot have hosts of our own."""


def require_hosts() -> None:
    """Raises:
    HostsAbsentError: we are not root, or a tool is missing.
    """
    if os.getuid() != 0:
        raise HostsAbsentError("making network namespaces needs root")
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise HostsAbsentError(f"{', '.join(missing)} is not installed; see `make servers`")
    probe = subprocess.run(["unshare", *_NAMESPACES, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        raise HostsAbsentError(f"this machine refuses namespaces: {probe.stderr.strip()}")


@dataclass(slots=True)
class Host:
    """One host. Its disk is ``folder``: its ``/root`` and ``/tmp`` are in there (`disk`)."""

    name: str
    number: int
    folder: Path
    network: Network
    environment: dict[str, str] = field(default_factory=dict)
    init: subprocess.Popen[str] | None = None
    logs: int = 0

    @property
    def address(self) -> str:
        return f"{self.network.prefix}.{self.number}"

    @property
    def interface(self) -> str:
        """The name of its cable at the switch."""
        return f"dv{os.getpid()}p{self.number}"

    @property
    def is_alive(self) -> bool:
        return self.init is not None and self.init.poll() is None

    def disk(self, path: str) -> Path:
        """Where a path of the host (below ``/root``, ``/tmp`` or ``/var/tmp``) is for us."""
        for own in ("/var/tmp", "/tmp", "/root"):
            if Path(path).is_relative_to(own):
                return self.folder / own.replace("/", "_") / Path(path).relative_to(own)
        raise ValueError(f"{path} is not the host's own")

    def start(self) -> None:
        """Switches it on, with the disk that it has."""
        self.folder.mkdir(exist_ok=True)
        self.init = _first_process(self.folder)
        near, pid = self.interface, str(_child(self.init.pid))
        card = f"02:da:00:00:00:{self.number:02x}"  # the same after each start, or others look for the old one
        self.network.at_switch(
            "ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "address", card, "netns", pid
        )
        self.network.at_switch("ip", "link", "set", near, "master", "switch", "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "link", "set", "lo", "up")
        self.run("hostname", self.name)

    def kill(self) -> None:
        """Takes its power away: every process ends at once, the shared memory is lost, the disk stays."""
        if self.init is not None:
            _end(self.init)
            self.init = None
            self.network.forget(self)

    def processes(self) -> int:
        return int(self.run("sh", "-c", "ls -d /proc/[0-9]* | wc -l").stdout) - 3

    def cut(self) -> None:
        """Pulls its cable."""
        self.network.at_switch("ip", "link", "set", self.interface, "down")

    def mend(self) -> None:
        self.network.at_switch("ip", "link", "set", self.interface, "up")

    def slow(self, delay_ms: int, kbit: int = 2_000) -> None:
        """Makes what is sent to it late. Where the kernel cannot delay, its cable carries ``kbit`` a second instead,
        and what waits for it is late."""
        near = self.interface
        try:
            self.network.at_switch("tc", "qdisc", "replace", "dev", near, "root", "netem", "delay", f"{delay_ms}ms")
        except subprocess.CalledProcessError:
            rate = ("rate", f"{kbit}kbit", "burst", "16kb", "latency", f"{max(delay_ms, 10)}ms")
            self.network.at_switch("tc", "qdisc", "replace", "dev", near, "root", "tbf", *rate)

    def fasten(self) -> None:
        """Undoes `slow`."""
        self.network.at_switch("tc", "qdisc", "del", "dev", self.interface, "root")

    def command(self, *arguments: str, environment: Mapping[str, str] | None = None) -> list[str]:
        """The command that runs ``arguments`` on the host, in its ``/root``."""
        assert self.init is not None, f"{self.name} is off"
        variables = {**_kept(), **self.environment, **(environment or {})}
        given = [f"{name}={value}" for name, value in variables.items()]
        enter = ("nsenter", "-t", str(_child(self.init.pid)), "-m", "-n", "-p", "-u", "-i")
        return [*enter, "env", "--chdir=/root", "-i", *given, *arguments]

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 240.0,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command on the host, and waits.

        Raises:
            AssertionError: it fails (if ``check``), or takes longer than ``timeout_s``.
        """
        limited = ("timeout", "--kill-after=2", str(timeout_s), *arguments)
        done = subprocess.run(
            self.command(*limited, environment=environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            line = " ".join(arguments)
            raise AssertionError(
                f"{self.name}: `{line}` ended with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
            )
        return done

    def spawn(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts a command on the host; its output goes to ``FOLDER/spawned-N.log``."""
        self.logs += 1
        with (self.folder / f"spawned-{self.logs}.log").open("wb") as log:
            return subprocess.Popen(
                self.command(*arguments, environment=environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def divisions(self, *arguments: str, timeout_s: float = 240.0, check: bool = True, **environment: str):
        """Runs a command of the product there."""
        return self.run(
            sys.executable,
            *("-m", "divisions.cli", *arguments),
            environment=environment,
            timeout_s=timeout_s,
            check=check,
        )


@dataclass(slots=True)
class Network:
    """The switch, and the hosts at it."""

    folder: Path
    prefix: str
    switch: subprocess.Popen[str]
    hosts: dict[str, Host] = field(default_factory=dict)
    cut_pairs: set[tuple[str, str]] = field(default_factory=set)

    def host(self, name: str) -> Host:
        """The host of that name; switches a new one on."""
        if name not in self.hosts:
            self.hosts[name] = Host(name, len(self.hosts) + 1, self.folder / name, self)
            self.hosts[name].start()
        return self.hosts[name]

    def cut_pair(self, one: Host, other: Host) -> None:
        """The two no longer see each other; both see all others."""
        self.cut_pairs.add((one.address, other.address))
        self._write_rules()

    def mend_pair(self, one: Host, other: Host) -> None:
        self.cut_pairs.discard((one.address, other.address))
        self._write_rules()

    def mend_all(self) -> None:
        """All cables are in, none is slow, and every pair sees each other. Hosts that are off stay off."""
        self.cut_pairs.clear()
        self._write_rules()
        for host in self.hosts.values():
            if host.is_alive:
                host.mend()
                with contextlib.suppress(subprocess.CalledProcessError):
                    host.fasten()

    def at_switch(self, *arguments: str, text: str | None = None) -> str:
        enter = ("nsenter", "-t", str(_child(self.switch.pid)), "-n", *arguments)
        return subprocess.run(enter, input=text, capture_output=True, text=True, check=True).stdout

    def forget(self, host: Host) -> None:
        """Waits until the kernel has taken a dead host's cable away, so that the host may come back."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.at_switch("ip", "link", "delete", host.interface)

    def _write_rules(self) -> None:
        rules = "".join(
            f"  ip saddr {a} ip daddr {b} drop\n  ip saddr {b} ip daddr {a} drop\n" for a, b in sorted(self.cut_pairs)
        )
        chain = f" chain cut {{\n  type filter hook forward priority 0;\n{rules} }}\n"
        self.at_switch("nft", "-f", "-", text=f"table bridge hosts {{}}\ndelete table bridge hosts\n"
                       f"table bridge hosts {{\n{chain}}}\n")  # fmt: skip


@contextlib.contextmanager
def running_network(folder: Path) -> Iterator[Network]:
    """A switch without hosts; afterwards all hosts are gone.

    Raises:
        HostsAbsentError: this machine cannot have them.
    """
    require_hosts()
    prefix, uplink = _free_prefix(), f"dv{os.getpid()}up"
    disk = folder / "switch"
    disk.mkdir()
    network = Network(folder, prefix, _first_process(disk))
    try:
        network.at_switch("ip", "link", "add", "switch", "type", "bridge")
        network.at_switch("ip", "link", "set", "switch", "up")
        ours = ("peer", "name", uplink, "netns", str(os.getpid()))
        network.at_switch("ip", "link", "add", "uplink", "type", "veth", *ours)
        network.at_switch("ip", "link", "set", "uplink", "master", "switch", "up")
        for arguments in (("address", "add", f"{prefix}.254/24", "dev", uplink), ("link", "set", uplink, "up")):
            subprocess.run(("ip", *arguments), check=True, capture_output=True)
        yield network
    finally:
        for host in network.hosts.values():
            if host.init is not None:
                _end(host.init)
        _end(network.switch)
        subprocess.run(("ip", "link", "delete", uplink), check=False, capture_output=True)  # if it is still there
        subprocess.run(("ip", "link", "delete", uplink), check=False, capture_output=True)  # if it is still there


def _first_process(disk: Path) -> subprocess.Popen[str]:
    shown = sorted({str(ROOT), str(ROOT.resolve()), sys.prefix, str(Path(sys.prefix).resolve()), sys.base_prefix})
    apart = ("setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES)
    log = disk / "init.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            (*apart, sys.executable, "-I", str(_INIT), str(disk), *shown),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        process.wait()
        raise HostsAbsentError(f"a host's first process did not start: {log.read_text()[-500:]}")
    return process


def _end(process: subprocess.Popen[str]) -> None:
    """Ends a first process, and with it all others of its host."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(_child(process.pid) or process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _child(pid: int) -> int:
    """The first process of a host, as this machine numbers it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def _kept() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    kept["PATH"] = f"{Path(sys.executable).parent}:{kept.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    return kept | {"HOME": "/root", "USER": "root", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def _free_prefix() -> str:
    """Three bytes of addresses that no other network of this machine has."""
    routes = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True).stdout
    for number in range(os.getpid(), os.getpid() + 100):
        prefix = f"10.{128 + number // 254 % 100}.{1 + number % 254}"
        if f"{prefix}.0/24" not in routes:
            return prefix
    raise HostsAbsentError("no free network 10.128.0.0/9 was found")


def wait_until(is_true, what: str, timeout_s: float = 180.0, poll_s: float = 0.2) -> float:
    """Returns after how many seconds ``is_true()`` was.

    Raises:
        AssertionError: it was not in time.
    """
    began_s = time.monotonic()
    while not is_true():
        assert time.monotonic() - began_s < timeout_s, f"{what} did not come true in {timeout_s:g} s"
        time.sleep(poll_s)
    return time.monotonic() - began_s


def python(code: str, *arguments: str) -> Sequence[str]:
    """The command that runs Python code."""
    return (sys.executable, "-c", code, *arguments)
