"""Commands against an HTTP server that answers as the control API does."""

import json
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from deploy.supervision.cluster_file import UP, Cluster, write_cluster
from deploy.supervision.processes import start_ticks
from divisions import cli
from divisions.status import ControllerStatus, Evidence, Explanation, HistoryEntry, ReplicaStatus
from tests.builders import rollout_status

STEP = rollout_status(
    generation=5,
    epoch=9,
    message="1,200 of 3,000 requests judged",
    evidence=Evidence(latency_log_e=2.3, threshold=4.6, error_threshold=5.3, ticks=40, canary_requests=1_200),
    canary_requests=1_200,
    started_at_s=1_000.0,
    phase_since_s=1_100.0,
    history=(HistoryEntry(1_000.0, "PENDING", 0, "created"),),
    stable_replicas=2,
    canary_replicas=1,
    wanted_stable_replicas=2,
    wanted_canary_replicas=2,
)
ROLLED_BACK = msgspec.structs.replace(
    STEP,
    phase="ROLLED_BACK",
    set_weight_bp=0,
    actual_weight_bp=0,
    rollback_reason="the canary is slower",
    explanation=Explanation(
        guard="latency",
        text="the canary is slower",
        log_e=5.0,
        threshold=4.6,
        quantile=0.5,
        threshold_ms=4.0,
        stable_requests=4_000,
        canary_requests=1_000,
        stable_exceeded=40,
        canary_exceeded=990,
        stable_quantile_ms=2.0,
        canary_quantile_ms=None,
    ),
)
PROMOTED = msgspec.structs.replace(STEP, phase="PROMOTED", step_index=2, stable_version="3.2", actual_weight_bp=10_000)
REPLICA = ReplicaStatus(
    name="churn-predictor-v3.1#abc",
    ready=True,
    status="Running",
    restarts=1,
    age_s=50_400.0,
    ip="10.24.1.8",
    node="node-gpu-01",
    gpu="T4/1",
    version="3.1",
    role="stable",
    weight_bp=8_000,
    pid=7,
    engine="onnxruntime",
)


class ControlApi(BaseHTTPRequestHandler):
    """Answers with ``server.statuses`` in turn (the last one for ever), and records the requests."""

    def do_GET(self):
        if self.server.asks_token:  # as `router.gateway.guard` does
            kind = "UnknownTokenError" if self.headers.get("authorization") else "MissingTokenError"
            return self.answer({"detail": "this needs a token", "status": 401, "code": kind}, 401)
        status = self.server.statuses[0]
        if self.path.startswith("/api/v2/rollouts/") and len(self.server.statuses) > 1:
            self.server.statuses.pop(0)
        match self.path:
            case "/api/v2/status":
                self.answer(ControllerStatus(epoch=9, replicas=(REPLICA,), rollouts=(status,)))
            case "/api/v2/rollouts":
                self.answer({"rollouts": [status]})
            case "/api/v2/rollouts/churn":
                self.answer(status)
            case _:
                self.answer({"detail": "no such thing", "status": 404}, 404)
        return None

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.path, json.loads(body), self.headers.get("authorization")))
        if self.server.refusal:
            self.answer({"detail": self.server.refusal, "status": 409}, 409)
        elif self.path.startswith("/api/v2/predict/"):
            one = {"customer_id": "c-1", "churn_probability": 0.25, "churn": True, "model": "m"}
            one |= {"version": "3.1", "request_id": "r"}
            self.answer({"predictions": [one, one]} if b"instances" in body else one)
        else:
            self.answer(self.server.statuses[0])

    def answer(self, value, status=200):
        data = msgspec.json.encode(value)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextmanager
def serving(statuses):
    with ThreadingHTTPServer(("127.0.0.1", 0), ControlApi) as server:
        server.statuses, server.asked, server.refusal, server.asks_token = list(statuses), [], "", False
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def api(tmp_path, monkeypatch):
    with serving([STEP]) as server:
        monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
        monkeypatch.setenv("DIVISIONS_PORT", str(server.server_address[1]))
        (tmp_path / "token").write_text("secret")
        yield server


@pytest.fixture
def divisions(capsys):
    def run(*arguments):
        status = cli.execute(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.mark.parametrize("has_token", [True, False])
@pytest.mark.parametrize("left", ["nothing", "a cluster that has ended"])
def test_a_cluster_of_another_home_asks_for_its_token(api, divisions, tmp_path, has_token, left):
    api.asks_token = True
    if not has_token:
        (tmp_path / "token").unlink()
    if left != "nothing":
        write_cluster(tmp_path, cluster_at(api, began_ticks=1))
    status, _, err = divisions("status")
    assert status == 1
    assert f"no cluster of the home {tmp_path} runs; the one at http://127.0.0.1:{api.server_address[1]}" in err
    assert "run this in the folder that it was started in, or name its home with DIVISIONS_HOME" in err


@pytest.mark.parametrize("given", ["DIVISIONS_TOKEN", "the home's own, which was rotated"])
def test_a_wrong_token_of_the_cluster_that_is_meant_is_told_as_such(api, divisions, tmp_path, monkeypatch, given):
    api.asks_token = True
    if given == "DIVISIONS_TOKEN":
        monkeypatch.setenv(given, "wrong")
    else:
        write_cluster(tmp_path, cluster_at(api, start_ticks(os.getpid())))
    status, _, err = divisions("status")
    assert (status, err) == (1, "error: this needs a token\n")


def cluster_at(api, began_ticks):
    url = f"http://127.0.0.1:{api.server_address[1]}"
    return Cluster(os.getpid(), began_ticks, UP, "127.0.0.1:6379", "", url, 1, "", 0.0)


def test_status_is_the_table_of_kubectl(api, divisions):
    status, out, _ = divisions("status")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "GPU"]
    assert lines[1].split() == [
        "churn-predictor-v3.1#abc", "1/1", "Running", "1", "14h", "10.24.1.8", "node-gpu-01", "T4/1",
    ]  # fmt: skip
    assert lines[4].split() == ["churn", "churn-predictor", "STEP", "3.1", "3.2", "20%"]


def test_status_as_json_is_the_answer_of_the_api(api, divisions):
    status, out, _ = divisions("status", "-o", "json")
    assert status == 0
    assert msgspec.json.decode(out, type=ControllerStatus).replicas == (REPLICA,)


@pytest.mark.parametrize("name", ["churn", "churn-predictor"])
def test_a_rollout_is_found_by_endpoint_and_by_model(api, divisions, name):
    status, out, _ = divisions("rollout", "status", name)
    assert status == 0
    assert "Name:           churn (churn-predictor)" in out
    assert "  Step:         1/3" in out
    assert "  SetWeight:    20%" in out
    assert "3.2, 1/2 replicas ready, 1,200 requests in this step" in out
    assert f"[{'█' * 12}{'·' * 12}] ln E 2.30 of 4.60" in out


def test_an_unknown_rollout_is_answered_with_the_known_ones(api, divisions):
    status, _, err = divisions("rollout", "status", "fraud")
    assert (status, err) == (1, "error: no rollout of 'fraud'. there are rollouts of churn\n")


def test_a_rollback_is_explained_with_the_counts_of_both_versions(api, divisions):
    api.statuses[:] = [ROLLED_BACK]
    _, out, _ = divisions("rollout", "status", "churn")
    assert "Why:            the canary is slower" in out
    assert "40 of 4,000 slower than 4.0 ms" in out
    assert "990 of 1,000 slower than 4.0 ms" in out
    assert "p50:          stable 2.0 ms, canary infinite" in out


@pytest.mark.parametrize("action", ["pause", "resume", "promote", "abort"])
def test_commands_go_to_the_endpoint_with_the_token(api, divisions, action):
    status, out, _ = divisions("rollout", action, "churn-predictor", "-o", "json")
    assert status == 0
    assert json.loads(out)["endpoint"] == "churn"
    assert api.asked == [(f"/api/v2/rollouts/churn/{action}", {}, "Bearer secret")]


@pytest.mark.parametrize(("arguments", "to"), [((), None), (("--to", "3.1"), "3.1")])
def test_rollback_names_the_version_to_go_to(api, divisions, arguments, to):
    assert divisions("rollback", "churn", *arguments)[0] == 0
    assert api.asked == [("/api/v2/rollouts/churn/rollback", {"to": to}, "Bearer secret")]


def test_a_refusal_is_one_line_with_status_1(api, divisions):
    api.refusal = "somebody else was faster"
    status, out, err = divisions("rollout", "pause", "churn")
    assert (status, out, err) == (1, "", "error: somebody else was faster\n")


@pytest.mark.parametrize(("end", "expected"), [(PROMOTED, 0), (ROLLED_BACK, 1)])
def test_watch_prints_each_change_and_ends_with_the_rollout(api, divisions, end, expected):
    api.statuses[:] = [end]
    status, out, _ = divisions("rollout", "watch", "churn")
    assert status == expected
    assert out.startswith(end.phase)
    assert out.count("\n") == 1


HELD = msgspec.structs.replace(STEP, phase="HOLD", message="undecided after an hour")


def test_who_interrupts_the_watching_is_told_that_the_rollout_goes_on(api, divisions, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("divisions.sdk.rollout.Rollout.watch", interrupted)
    status, _, err = divisions("rollout", "watch", "churn")
    assert (status, err) == (
        130,
        "interrupted: the rollout goes on without you; `divisions rollout watch churn` shows it again\n",
    )


def test_watch_tells_once_how_a_held_rollout_goes_on_and_stays(api, divisions):
    api.statuses[:] = [HELD, msgspec.structs.replace(HELD, canary_requests=2_000), PROMOTED]
    status, out, err = divisions("rollout", "watch", "churn")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["HOLD", "PROMOTED"]
    assert err.count("waits for you: `divisions rollout resume churn`") == 1


@pytest.mark.parametrize("output", [(), ("-o", "json")])
def test_watch_ends_at_a_hold_where_nobody_is_there_to_resume(api, divisions, output):
    api.statuses[:] = [STEP, HELD]
    status, out, _ = divisions("rollout", "watch", "churn", "--stop-at-hold", *output)
    assert status == 4
    assert len(out.splitlines()) == 2


def test_predict_prints_a_table_or_the_prediction_itself(api, divisions):
    status, out, _ = divisions("predict", "churn", "--json", '{"customer_id": "c-1"}')
    assert status == 0
    assert out.splitlines()[1].split() == ["c-1", "0.2500", "yes", "m", "3.1", "-", "r"]
    _, out, _ = divisions("predict", "churn", "--json", '{"instances": ["c-1", "c-2"]}', "-o", "json")
    assert [one["probability"] for one in json.loads(out)] == [0.25, 0.25]


@pytest.mark.parametrize(
    ("arguments", "version", "is_forced"), [((), None, False), (("--version", "3.2", "--force"), "3.2", True)]
)
def test_scale_names_the_number_and_perhaps_the_version(api, divisions, arguments, version, is_forced):
    assert divisions("scale", "churn-predictor", "--replicas", "4", *arguments)[0] == 0
    body = {"replicas": 4, "version": version, "force": is_forced}
    assert api.asked == [("/api/v2/rollouts/churn/scale", body, "Bearer secret")]
    assert divisions("scale", "churn")[0] == 2
