"""Real servers on this machine: Debian's Redis and PostgreSQL, on ports and in folders of their own.

A test may kill a server, stop its clock (`Server.freeze`: it accepts connections and never answers), and start it again
with what it had on its disk.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

PASSWORD = "only-for-tests"
_START_S = 120.0
_TRIES = 5
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""However the tests end, no server stays behind."""


class ServerAbsentError(Exception):
    """The server is not installed on this machine."""


def find_redis() -> str:
    """The path of ``redis-server``.

    Raises:
        ServerAbsentError: it is not installed.
    """
    found = shutil.which("redis-server")
    if found is None:
        raise ServerAbsentError("redis-server is not installed; see `make servers`")
    return found


def find_postgres() -> Path:
    """The folder of PostgreSQL's commands, of the newest release that is installed.

    Raises:
        ServerAbsentError: it is not installed.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise ServerAbsentError("postgresql is not installed; see `make servers`")
    return found[-1].parent


def redis_command(port: int, folder: Path | str, host: str = "127.0.0.1") -> list[str]:
    """Keeps each write in a file, and waits for the disk once a second."""
    return [
        *(find_redis(), "--port", str(port), "--bind", host, "--requirepass", PASSWORD),
        *("--dir", str(folder), "--save", "", "--appendonly", "yes", "--protected-mode", "no"),
    ]


def initdb_command(folder: Path | str) -> list[str]:
    """Makes the database's files in ``folder``, whose owner must be `postgres_user` and which has the password."""
    folder = Path(folder)
    return [
        *(*postgres_user(), str(find_postgres() / "initdb"), "--pgdata", str(folder / "data"), "--no-sync"),
        *("--username", "divisions", "--pwfile", str(folder / "password"), "--auth", "scram-sha-256"),
        *("--encoding", "UTF8", "--locale", "C.UTF-8"),
    ]


def postgres_command(port: int, folder: Path | str, host: str = "127.0.0.1") -> list[str]:
    """Does not wait for the disk: these tests end processes, not the machine."""
    folder = Path(folder)
    return [
        *(*postgres_user(), str(find_postgres() / "postgres"), "-D", str(folder / "data"), "-p", str(port)),
        *("-h", host, "-k", str(folder), "-F", "-c", "max_connections=100", "-c", "shared_buffers=32MB"),
    ]


def postgres_user() -> list[str]:
    """What to put before a command of PostgreSQL, which refuses to run as root. It ends with us: a new user
    clears what ``--pdeathsig`` has set before."""
    if os.getuid() != 0:
        return []
    return ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--pdeathsig", "KILL"]


def give_to_postgres(folder: Path) -> None:
    if os.getuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")


def redis_answers(host: str, port: int) -> bool:
    import redis

    with contextlib.suppress(redis.RedisError), redis.Redis(host, port, password=PASSWORD, socket_timeout=2) as client:
        return bool(client.ping())
    return False


def postgres_answers(host: str, port: int) -> bool:
    import psycopg

    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(postgres_dsn(host, port), connect_timeout=2):
        return True
    return False


def postgres_dsn(host: str, port: int, database: str = "postgres") -> str:
    return f"postgresql://divisions:{PASSWORD}@{host}:{port}/{database}"


@dataclass(slots=True)
class Server:
    """A server of this machine. The port stays its own while it is down."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    host: str = field(default="127.0.0.1", init=False)

    def command(self) -> list[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Returns when it answers.

        Raises:
            TimeoutError: it ended, or does not answer.
        """
        tries = 1 if self.port else _TRIES
        for _ in range(tries):
            self.port = self.port if tries == 1 else _choose_port()
            with (self.folder / "server.log").open("ab") as log:
                self.process = subprocess.Popen(
                    [*_ENDS_WITH_US, *self.command()], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
                )
            ends_s = time.monotonic() + _START_S
            while time.monotonic() < ends_s and self.process.poll() is None:
                if self.answers():
                    return
                time.sleep(0.05)
            self.kill()
        raise TimeoutError(f"{self.command()[0]} did not start: {self.log()[-1000:]}")

    def kill(self) -> None:
        """Ends it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def freeze(self) -> None:
        """It keeps its connections and accepts new ones, but answers none, until `thaw`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@dataclass(slots=True)
class RedisServer(Server):
    """Redis with a password."""

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        return redis_command(self.port, self.folder, self.host)

    def answers(self) -> bool:
        return redis_answers(self.host, self.port)

    def flush(self) -> None:
        """Removes all keys."""
        import redis

        with redis.Redis(self.host, self.port, password=PASSWORD) as client:
            client.flushall()


@dataclass(slots=True)
class PostgresServer(Server):
    """PostgreSQL with a user and a password. The first `start` makes its files."""

    databases: int = 0

    def command(self) -> list[str]:
        return postgres_command(self.port, self.folder, self.host)

    def answers(self) -> bool:
        return postgres_answers(self.host, self.port)

    def start(self) -> None:
        if not (self.folder / "data").exists():
            (self.folder / "password").write_text(PASSWORD)
            subprocess.run(initdb_command(self.folder), check=True, capture_output=True, cwd=self.folder)
        Server.start(self)

    def kill(self) -> None:
        """Its backends end with it. (A backend that is left alone would keep the next start from the files.)"""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)  # it starts no further backend
            backends = _children(self.process.pid)
            Server.kill(self)
            for pid in backends:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ends_s = time.monotonic() + _START_S
            while any(map(_runs, backends)) and time.monotonic() < ends_s:
                time.sleep(0.01)

    def freeze(self) -> None:
        """Its backends, too: each connection has one."""
        Server.freeze(self)
        self._signal_backends(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal_backends(signal.SIGCONT)
        Server.thaw(self)

    def new_database(self) -> str:
        """Makes an empty database; returns its URL for SQLAlchemy."""
        import psycopg

        self.databases += 1
        name = f"test_{os.getpid()}_{self.databases}"
        with psycopg.connect(postgres_dsn(self.host, self.port), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return postgres_dsn(self.host, self.port, name).replace("postgresql:", "postgresql+psycopg:")

    def _signal_backends(self, number: signal.Signals) -> None:
        assert self.process is not None
        for pid in _children(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


@contextlib.contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Raises:
    ServerAbsentError: it is not installed.
    """
    find_redis()
    with _own_folder("redis") as folder, RedisServer(folder) as server:
        yield server


@contextlib.contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Raises:
    ServerAbsentError: it is not installed.
    """
    find_postgres()
    with _own_folder("postgres") as folder:
        give_to_postgres(folder)
        with PostgresServer(folder) as server:
            yield server


@contextlib.contextmanager
def _own_folder(name: str) -> Iterator[Path]:
    """Not below pytest's folder, which only its owner may enter: PostgreSQL runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix=f"divisions-test-{name}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _choose_port() -> int:
    """A free port outside the range of outgoing connections, so that a server gets it again after a crash."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _runs(pid: int) -> bool:
    """Whether the kernel has not ended it yet. What nobody has waited for is a zombie, and holds nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
