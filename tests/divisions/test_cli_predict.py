"""``divisions predict --explain``: what it asks for, and what it prints."""

from __future__ import annotations

import contextlib

import pytest

from divisions import cli
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
