"""``divisions features``: stored features shown, customers deleted and expired, differences told."""

import json
import threading

import pytest

from deploy.feature_check import FeatureCheck
from divisions import cli
from divisions.clock import SystemClock
from divisions.commands.features import render_check
from divisions.online_store import OnlineRow, OnlineStoreReader, online_store_path
from divisions.online_stores import open_store
from divisions.online_writer import OnlineStoreWriter
from divisions.prediction_log import LogPolicy
from divisions.settings import load_settings
from tests.router.prediction_log.logged import entry, log, logged
from tests.servers import PASSWORD
from trainers.data.online_check import Difference

DAY_S = 86_400.0
ODD = [
    "7",
    "",
    " ",
    "-1",
    "--undo",
    "a b",
    "é",
    "x'; DROP TABLE y; --",
    "%",
    "*",
    "a/b",
    "\n",
    "\x1b[31m",
    "\u202e",
    "c" * 300,
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def now_s():
    return SystemClock().wall_s()


def store(home, *rows):
    writer = OnlineStoreWriter(online_store_path(home), "churn")
    writer.upsert([OnlineRow(name, at_s, {"minutes": 1.5, "plan": "gold", "abroad": None}) for name, at_s in rows])


def stored(home, name):
    reader = OnlineStoreReader(online_store_path(home), "churn")
    found = reader.get_many([name])
    reader.close()
    return name in found


def run(*arguments):
    return cli.execute(["features", *arguments])


def test_get_shows_values_and_their_age(home, now_s, capsys):
    store(home, ("c-1", now_s - 3 * DAY_S))
    assert run("get", "churn", "c-1") == 0
    text = capsys.readouterr().out
    assert "3 features as of 20" in text
    assert "3d ago" in text
    assert [line.split() for line in text.splitlines()[2:]] == [
        ["minutes", "1.5"], ["plan", '"gold"'], ["abroad", "<missing>"],
    ]  # fmt: skip
    assert run("get", "churn", "c-1", "-o", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["features"] == {"minutes": 1.5, "plan": "gold", "abroad": None}
    assert (found["endpoint"], found["entity_id"], found["features_as_of"][-1]) == ("churn", "c-1", "Z")
    assert found["age_s"] == pytest.approx(3 * DAY_S, abs=600)


@pytest.mark.parametrize("name", ODD)
def test_any_id_can_be_shown_and_deleted(home, now_s, capsys, name):
    store(home, (name, now_s), ("other", now_s))
    assert run("get", "churn", "--", name) == 0
    text = capsys.readouterr().out
    assert all(line.isprintable() for line in text.splitlines())
    assert run("get", "churn", "-o", "json", "--", name) == 0
    assert json.loads(capsys.readouterr().out)["entity_id"] == name
    assert run("delete", "churn", "--", name) == 0
    assert not stored(home, name)
    assert stored(home, "other")


def test_a_deleted_customer_stays_away_until_undo(home, now_s, capsys):
    store(home, ("c-1", now_s), ("c-2", now_s))
    assert run("delete", "churn", "c-1", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("log") == {"rows": 0, "files": 0, "outcomes": 0, "nameless": 0, "waiting": 0, "failed": []}
    assert told == {"endpoint": "churn", "entity_id": "c-1", "was_stored": True}
    store(home, ("c-1", now_s + 1))
    assert not stored(home, "c-1")
    assert run("get", "churn", "c-1") == 1
    assert "'c-1'. it was deleted; `divisions features delete --undo`" in capsys.readouterr().err
    assert run("delete", "churn", "c-1") == 0
    assert "was not stored; no run stores this customer again" in capsys.readouterr().out
    assert run("delete", "churn", "c-1", "--undo") == 0
    assert "stores it again" in capsys.readouterr().out
    assert run("delete", "churn", "c-1", "--undo", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["was_deleted"] is False
    store(home, ("c-1", now_s + 1))
    assert stored(home, "c-1")


def test_a_customer_leaves_the_log_also_of_an_endpoint_without_stored_features(home, capsys):
    log(home, LogPolicy(10_000), entry(1, key="c-1"), entry(2, key="c-2"), entry(3))
    assert run("delete", "churn", "c-1") == 0
    told = capsys.readouterr().out
    assert "prediction log: 1 rows removed from 1 files" in told
    assert "1 rows of the log name no customer, and stay" in told
    assert [key for _, key in logged(home)] == ["c-2", None]


def test_what_remains_of_a_customer_in_the_log_is_named_and_fails(home, now_s, capsys):
    store(home, ("c-1", now_s))
    log(home, LogPolicy(10_000), entry(1, key="c-2"))
    (path,) = home.rglob("*.parquet")
    path.write_bytes(b"damaged")
    writer = log(home, LogPolicy(10_000), entry(2, key="c-1"), is_shipped=False)
    assert run("delete", "churn", "c-1") == 1
    told = capsys.readouterr().out
    assert "'c-1': deleted" in told or "c-1: deleted" in told
    assert f"not changed: {path}" in told
    assert "1 rows are still on their way to the log" in told
    del writer


def test_a_deletion_says_that_it_waits_for_a_fill(home, now_s, capsys):
    store(home, ("c-1", now_s))
    begun, end = threading.Event(), threading.Event()

    def batches():
        begun.set()
        yield [("c-2", b"{}", now_s)]
        assert end.wait(120)

    writer = OnlineStoreWriter(online_store_path(home), "churn")
    filling = threading.Thread(target=writer.fill, args=(batches(),))
    filling.start()
    assert begun.wait(120)
    waits = threading.Thread(target=run, args=("delete", "churn", "c-1"))
    waits.start()
    told = ""
    while "waiting for it" not in told and waits.is_alive():
        told += capsys.readouterr().err
    end.set()
    filling.join(120)
    waits.join(120)
    assert "another process writes the online store; waiting for it" in told
    assert not stored(home, "c-1")
    assert stored(home, "c-2")


def test_old_customers_expire(home, now_s, capsys):
    store(home, ("old", now_s - 91 * DAY_S), ("new", now_s - 89 * DAY_S))
    assert run("expire", "churn", "--older-than", "90d") == 0
    assert "1 customers of churn were older than 90d" in capsys.readouterr().out
    assert (stored(home, "old"), stored(home, "new")) == (False, True)
    assert run("expire", "churn", "--older-than", "1h", "-o", "json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"endpoint": "churn", "expired": 1, "is_empty": True}
    assert "the store of churn is empty" in told.err


@pytest.mark.parametrize("age", ["90", "", "ninety days", "-1d", "1w", "1e3d"])
def test_an_age_that_is_none_is_refused(home, now_s, capsys, age):
    store(home, ("c-1", now_s))
    assert run("expire", "churn", f"--older-than={age}") == 2
    assert "write it like 90d or 12h" in capsys.readouterr().err
    assert stored(home, "c-1")


@pytest.mark.parametrize("command", [("get", "{}", "c"), ("delete", "{}", "c"), ("expire", "{}", "--older-than", "1d")])
def test_endpoints_without_rows_are_named_with_those_that_have_some(home, now_s, capsys, command):
    def ask(endpoint):
        assert run(*(part.format(endpoint) for part in command)) == 1
        return capsys.readouterr().err

    assert "a run with a rollout fills it" in ask("churn")
    assert not online_store_path(home).exists(), "asking creates nothing"
    store(home, ("c-1", now_s))
    assert "nothing of an endpoint 'chrun'. it has churn" in ask("chrun")
    assert "nothing of an endpoint" in ask('x"; DROP TABLE "online:churn')
    online_store_path(home).write_bytes(b"no database" * 200)
    assert "cannot be read" in ask("churn")


def test_an_id_that_is_no_text_is_refused(home, now_s, capsys):
    store(home, ("c-1", now_s))
    for command in ("get", "delete"):
        assert run(command, "churn", "\udcff") == 2
        assert "not UTF-8" in capsys.readouterr().err


def check_of(*differences, **changes):
    values = {
        "endpoint": "churn", "model": "churn-predictor", "version": "3.1", "offline": "/home/newest.parquet",
        "num_compared": 1_000, "num_newer": 0, "num_deleted": 0, "num_value_differences": len(differences),
        "num_scored": 10, "num_by_policy": 0, "num_score_differences": 0, "differences": differences,
    }  # fmt: skip
    return FeatureCheck(**values | changes)


def test_a_check_without_differences_is_three_lines():
    assert render_check(check_of()).splitlines()[1:] == [
        "values: 1,000 customers, 0 differences",
        "scores: 10 customers, 0 differences between id and features",
    ]


def test_differences_are_named_with_both_values_and_the_rest_counted():
    one = Difference("c\n1", "plan", "gold", None)
    text = render_check(check_of(*[one] * 25, num_newer=3, num_deleted=2, num_by_policy=1))
    lines = [line.split() for line in text.splitlines()]
    assert lines.count(['"c\\n1"', "plan", '"gold"', "<missing>"]) == 20
    assert text.endswith("and 5 more")
    for count in ("3 customers have newer", "2 customers were deleted", "1 customers are stale"):
        assert count in text


NOTHING = {"num_compared": 0, "num_scored": 0}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num_newer": 300}, "A later run has filled the store: check again when its version serves churn"),
        ({"num_deleted": 2}, "Every customer of this version's data was deleted"),
        ({}, "This version's data have no customers"),
    ],
)
def test_a_check_of_nothing_says_so_and_why(changes, why):
    last = render_check(check_of(**NOTHING, **changes)).splitlines()[-1]
    assert last.startswith(f"nothing was compared, so nothing is known about skew. {why}")


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (check_of(), 0),
        (check_of(Difference("c", "x", 1, 2)), 1),
        (check_of(Difference("c", "(customer)", "present", None), **NOTHING), 1),
        (check_of(**NOTHING, num_newer=1), 3),
    ],
)
def test_the_exit_status_tells_skew(home, monkeypatch, capsys, found, status):
    asked = []

    def check_features(client, registry, given, endpoint, sample):
        asked.append((given.home, endpoint, sample))
        return found

    monkeypatch.setattr("deploy.feature_check.check_features", check_features)
    assert run("check", "churn", "--sample", "7", "-o", "json") == status
    assert asked == [(home, "churn", 7)]
    assert json.loads(capsys.readouterr().out)["num_value_differences"] == (status == 1)


def test_the_commands_work_on_a_shared_store_and_show_no_password(tmp_path, redis_server, monkeypatch, capsys, now_s):
    redis_server.flush()
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    monkeypatch.setenv("DIVISIONS_ONLINE_STORE", redis_server.url)
    assert run("get", "churn", "c-1") == 1
    assert f"the online store redis://127.0.0.1:{redis_server.port}/0 has nothing of an endpoint" in (
        capsys.readouterr().err
    )
    writer = open_store(load_settings()).writer("churn")
    writer.upsert([OnlineRow(each, now_s - DAY_S, {"minutes": 1.5}) for each in ("c-1", "c-2")])
    assert run("get", "churn", "c-1", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["features"] == {"minutes": 1.5}
    assert run("delete", "churn", "c-1", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["was_stored"] is True
    assert run("get", "churn", "c-1") == 1
    assert "it was deleted; `divisions features delete --undo`" in capsys.readouterr().err
    assert run("delete", "churn", "c-1", "--undo", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["was_deleted"] is True
    assert run("expire", "churn", "--older-than", "1h", "-o", "json") == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"endpoint": "churn", "expired": 1, "is_empty": True}
    assert "the store of churn is empty" in told.err
    monkeypatch.setenv("DIVISIONS_ONLINE_STORE", redis_server.url.replace(str(redis_server.port), "1"))
    assert run("get", "churn", "c-1") == 1
    told = capsys.readouterr()
    assert "check that Redis or Valkey runs" in told.err
    assert PASSWORD not in told.err + told.out
