"""What a cluster of several hosts shares: Redis, PostgreSQL and an S3 server, each on a host of its own."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import psycopg

from tests import servers
from tests.cluster.network import Host, Network, wait_until
from tests.e2e import s3_server

REDIS_PORT, POSTGRES_PORT, S3_PORT = 6379, 5432, 5000
BUCKET = "divisions-bundles"
DATABASES = ("divisions", "bare")
"""One for each cluster."""
S3_KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
_IN_FOLDER = ("env", "--chdir=/tmp/postgres")  # its user may not enter /root


def start_redis(host: Host) -> None:
    """Starts Redis there, with what is on the host's disk."""
    folder = host.disk("/tmp/redis")
    folder.mkdir(exist_ok=True)
    host.spawn(*servers.redis_command(REDIS_PORT, "/tmp/redis", host.address))
    wait_until(lambda: servers.redis_answers(host.address, REDIS_PORT), f"Redis on {host.name}", 120)


def start_postgres(host: Host) -> None:
    """Starts PostgreSQL there, with what is on the host's disk."""
    folder = host.disk("/tmp/postgres")
    if not folder.exists():
        folder.mkdir()
        command = servers.initdb_command("/tmp/postgres")
        (folder / "password").write_text(servers.PASSWORD)
        servers.give_to_postgres(folder)
        host.run(*_IN_FOLDER, *command)
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 scram-sha-256\n")
    (folder / "data" / "postmaster.pid").unlink(missing_ok=True)  # left by a kill; its number may be another's now
    host.spawn(*_IN_FOLDER, *servers.postgres_command(POSTGRES_PORT, "/tmp/postgres", host.address))
    wait_until(lambda: servers.postgres_answers(host.address, POSTGRES_PORT), f"PostgreSQL on {host.name}", 120)


def start_s3(host: Host) -> None:
    """Starts an S3 server there. It keeps everything in memory."""
    host.spawn(sys.executable, "-m", "moto.server", "-H", host.address, "-p", str(S3_PORT))
    endpoint = f"http://{host.address}:{S3_PORT}"
    wait_until(lambda: _s3_answers(endpoint), f"the S3 server on {host.name}", 120)
    s3_server.client_of(endpoint).create_bucket(Bucket=BUCKET)


def _s3_answers(endpoint: str) -> bool:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=1):
            return True
    except OSError:
        return False


@dataclass(slots=True)
class Services:
    """Three hosts that each serve one thing."""

    redis: Host
    postgres: Host
    s3: Host

    @property
    def environment(self) -> dict[str, str]:
        """What every host of the cluster has in its environment."""
        return self.environment_of("divisions")

    def environment_of(self, name: str) -> dict[str, str]:
        """The same for another cluster, which shares nothing with the first but the servers."""
        return S3_KEYS | {
            "AWS_ENDPOINT_URL": f"http://{self.s3.address}:{S3_PORT}",
            "DIVISIONS_ARTIFACTS": f"s3://{BUCKET}/{name}",
            "DIVISIONS_DATABASE": self.database(name),
            "DIVISIONS_ONLINE_STORE": f"redis://:{servers.PASSWORD}@{self.redis.address}:{REDIS_PORT}/{DATABASES.index(name)}",
            "DIVISIONS_TRACKING_URI": self.database(f"{name}-mlflow"),
        }

    def database(self, name: str) -> str:
        """The URL of one of the server's databases."""
        dsn = servers.postgres_dsn(self.postgres.address, POSTGRES_PORT, name)
        return dsn.replace("postgresql:", "postgresql+psycopg:")


def start_services(network: Network) -> Services:
    """Raises:
    ServerAbsentError: one is not installed.
    """
    servers.find_redis()
    servers.find_postgres()
    services = Services(network.host("redis"), network.host("postgres"), network.host("s3"))
    start_redis(services.redis)
    start_postgres(services.postgres)
    with psycopg.connect(servers.postgres_dsn(services.postgres.address, POSTGRES_PORT), autocommit=True) as database:
        for name in DATABASES:
            database.execute(f'CREATE DATABASE "{name}"')
            database.execute(f'CREATE DATABASE "{name}-mlflow"')
    start_s3(services.s3)
    return services
