"""``divisions tokens …`` against a gateway and a desk for tokens."""

from __future__ import annotations

import json
import re

import pytest

from divisions import cli
from divisions.access.requests import TokenRow
from divisions.access.roles import Role
from divisions.commands.tokens import days_of, render
from divisions.errors import UsageError
from tests.router.gateway.api_world import TOKEN, served_api


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with served_api(tmp_path_factory.mktemp("api")) as url:
        yield url


@pytest.fixture
def told(gateway, monkeypatch, tmp_path, capsys):
    """Runs one command line; returns its exit status, standard output and standard error."""
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    monkeypatch.setenv("DIVISIONS_GATEWAY", gateway)
    monkeypatch.setenv("DIVISIONS_TOKEN", TOKEN)

    def run(*arguments):
        status = cli.execute(arguments)
        return status, *capsys.readouterr()

    return run


def test_a_token_is_made_listed_rotated_and_revoked(told):
    status, token, note = told(
        "tokens", "create", "ci", "--role", "deployer", "--endpoint", "churn", "--expires", "30d"
    )
    assert (status, token[:4], "shown only now" in note) == (0, "dvn_", True)
    status, listed, _ = told("tokens", "list")
    assert status == 0
    assert "ci     deployer   churn" in listed
    assert token.strip() not in listed
    status, _, error = told("tokens", "create", "ci", "--role", "viewer")
    assert (status, "ci has a token" in error) == (1, True)
    status, other, _ = told("tokens", "rotate", "ci", "-o", "json")
    assert json.loads(other)["token"] != token.strip()
    assert told("tokens", "revoke", "ci")[0] == 0
    assert json.loads(told("tokens", "list", "-o", "json")[1]) == []
    status, _, error = told("tokens", "revoke", "ci")
    assert (status, "nobody of that name has a token" in error) == (1, True)


def test_limits_of_a_token_are_listed_and_wrong_ones_are_refused_with_an_example(told):
    limits = ("--rate", "100/s", "--concurrency", "8", "--deadline", "200ms")
    assert told("tokens", "create", "shop", "--role", "predictor", *limits)[0] == 0
    assert "100/s, 8 at once, 200ms" in told("tokens", "list")[1]
    (row,) = json.loads(told("tokens", "list", "-o", "json")[1])
    assert row["limits"] == {"rate": 100, "window_s": 1, "concurrency": 8, "deadline_ms": 200}
    status, _, error = told("tokens", "create", "other", "--role", "predictor", "--rate", "fast")
    assert (status, "write it like 100/s" in error) == (2, True)
    assert told("tokens", "revoke", "shop")[0] == 0


def test_a_wrong_token_manages_nothing(told, monkeypatch):
    monkeypatch.setenv("DIVISIONS_TOKEN", "wrong")
    status, _, error = told("tokens", "list")
    assert (status, "needs a bearer token" in error) == (1, True)


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1w", "1.5d", "999999d"])
def test_a_time_is_days_or_hours(text):
    with pytest.raises(UsageError, match="90d or 12h"):
        days_of(text)


def test_the_list_tells_ends_and_uses():
    rows = (
        TokenRow("ci", Role.DEPLOYER, ("a", "b"), 0.0, "admin", 172_800.0, 86_390.0),
        TokenRow("old", Role.VIEWER, (), 0.0, "admin", 86_000.0),
    )
    _, first, second = render(rows, 86_400.0).splitlines()
    assert re.split(" {3,}", first)[-3:] == ["admin", "in 1d", "10s ago"]
    assert "expired" in second
    assert second.endswith("never")
    assert "owner" in render((), 0.0)
