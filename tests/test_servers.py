"""The servers that other tests stand on behave as those tests assume."""

import psycopg
import pytest
import redis

from tests.servers import PostgresServer, RedisServer


def libpq(url: str) -> str:
    return url.replace("+psycopg", "")


def test_redis_keeps_its_keys_over_a_crash(redis_server: RedisServer):
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("name", "value")
        redis_server.restart()
        assert client.get("name") == b"value"
        redis_server.flush()
        assert client.get("name") is None


def test_frozen_redis_is_silent_until_it_is_thawed(redis_server: RedisServer):
    with redis.Redis.from_url(redis_server.url, socket_timeout=2, retry=None) as client:
        client.ping()
        redis_server.freeze()
        try:
            with pytest.raises(redis.TimeoutError):
                client.ping()
        finally:
            redis_server.thaw()
    with redis.Redis.from_url(redis_server.url) as client:
        assert client.ping()


def test_databases_are_apart_and_outlive_a_crash(postgres_server: PostgresServer):
    one, other = postgres_server.new_database(), postgres_server.new_database()
    with psycopg.connect(libpq(one)) as connection:
        connection.execute("CREATE TABLE here (number INTEGER)")
    postgres_server.restart()
    with psycopg.connect(libpq(one)) as connection:
        assert connection.execute("SELECT count(*) FROM here").fetchone() == (0,)
    with psycopg.connect(libpq(other)) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT count(*) FROM here")


def test_frozen_postgres_answers_no_new_connection_until_it_is_thawed(postgres_server: PostgresServer):
    url = libpq(postgres_server.new_database())
    postgres_server.freeze()
    try:
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            psycopg.connect(url, connect_timeout=2)
    finally:
        postgres_server.thaw()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
