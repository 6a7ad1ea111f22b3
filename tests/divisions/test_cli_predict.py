"""``divisions predict``: what it asks for, what it prints, and what it advises where it cannot."""

from __future__ import annotations

import contextlib
import json
import shlex

import pytest

from divisions import cli, errors
from divisions.commands import predict as predict_command
from divisions.sdk.explanations import Contribution, ScoreExplanation
from divisions.sdk.predict import Prediction

WHY = ScoreExplanation(
    "log_odds",
    -1.25,
    0.9,
    (
        Contribution("plan", 1.5, "gold", "basic"),
        Contribution("abroad", 0.8, True, None),
        Contribution("m", -0.2, 6.0, 2.5),
    ),
    0.05,
    0.0001,
)
ANSWER = Prediction("churn", 0.7109, "churn-predictor", "3.2", "r", "c-1", explanation=WHY)


@pytest.fixture
def asked(monkeypatch):
    """What the command asks a client for; the client answers with `ANSWER`."""
    calls = []

    class Client:
        def explain(self, endpoint, **arguments):
            calls.append((endpoint, arguments))
            return ANSWER

        def predict(self, endpoint, **arguments):
            raise AssertionError("no explanation was asked for")

    monkeypatch.setattr(predict_command, "connect", lambda: contextlib.nullcontext(Client()))
    return calls


def test_the_features_that_moved_the_score_are_printed(asked, capsys):
    status = cli.execute(("predict", "churn", "--json", '{"customer_id": "c-1"}', "--explain", "--top", "3"))
    assert status == 0
    assert asked == [("churn", {"customer_id": "c-1", "top": 3})]
    lines = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert lines[0] == "c-1: log-odds +0.900, of a typical customer -1.250"
    assert [line.split() for line in lines[1:]] == [
        ["FEATURE", "VALUE", "REFERENCE", "CONTRIBUTION"],
        ["plan", "gold", "basic", "+1.500"],
        ["abroad", "true", "<missing>", "+0.800"],
        ["m", "6", "2.5", "-0.200"],
        ["(others)", "+0.050"],
    ]


@pytest.mark.parametrize("top", ["0", "1001", "x"])
def test_a_top_that_makes_no_sense_is_refused(asked, capsys, top):
    assert cli.execute(("predict", "churn", "--json", "{}", "--explain", "--top", top)) == 2
    assert "--top" in capsys.readouterr().err
    assert asked == []


NOBODY = errors.UnknownEntityError("the online store has no features for this customer_id")


class Storeless:
    """A client of a gateway whose online store does not help."""

    def __init__(self, features, error=NOBODY):
        self.kinds, self.error, self.asked = features, error, []

    def predict(self, endpoint, **arguments):
        self.asked.append(arguments)
        raise self.error

    def features(self, endpoint):
        if self.kinds is None:
            raise errors.NotRunningError("gone")
        return self.kinds


@pytest.fixture
def refused(monkeypatch, capsys):
    """Predicts for a customer by a client; returns standard error."""

    def run(client):
        monkeypatch.setattr(predict_command, "connect", lambda: contextlib.nullcontext(client))
        assert cli.execute(("predict", "churn", "c-1")) == 1
        assert client.asked == [{"customer_id": "c-1"}]
        return capsys.readouterr().err

    return run


def test_a_customer_without_features_is_answered_with_a_command_that_has_them(refused, asked):
    err = refused(Storeless({"plan name": "categorical", "minutes": "numeric", "abroad": "boolean"}))
    command = err[err.index("divisions predict") :]
    name, *arguments = shlex.split(command)
    assert name == "divisions"
    assert json.loads(arguments[-1]) == {"features": {"plan name": "a", "minutes": 1.0, "abroad": True}}


@pytest.mark.parametrize("kinds", [None, {}, {f"x{number}": "numeric" for number in range(3_000)}])
def test_features_that_are_unknown_or_too_many_are_not_listed(refused, kinds):
    err = refused(Storeless(kinds))
    assert err.endswith("""divisions predict churn --json '{"features": {…}}'\n""")


def test_stale_features_are_no_missing_customer(refused):
    error = errors.StaleFeaturesError("too old", remedy="run the pipeline again")
    assert refused(Storeless({"minutes": "numeric"}, error)) == "error: too old. run the pipeline again\n"


@pytest.mark.parametrize("arguments", [(), ("c-1", "--json", '{"customer_id": "c-1"}')])
def test_a_customer_or_json_and_never_both(asked, capsys, arguments):
    assert cli.execute(("predict", "churn", *arguments)) == 2
    assert "divisions predict churn c-1" in capsys.readouterr().err
    assert asked == []


def test_a_number_of_features_without_an_explanation_is_a_mistake(asked, capsys):
    assert cli.execute(("predict", "churn", "c-1", "--top", "3")) == 2
    assert "add --explain" in capsys.readouterr().err
    assert asked == []
