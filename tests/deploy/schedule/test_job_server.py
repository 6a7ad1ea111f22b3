"""Ray's job server by HTTP, against a server that answers as the test wants; the real one is in tests/e2e."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.schedule.job_server import Job, JobServer, JobServerAwayError, JobStatus
from divisions.errors import ClusterError


class FakeRay:
    """Answers with ``answers`` by method and path, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, object]] = {}
        self.asked: list[tuple[str, str | None, bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((f"{self.command} {self.path}", self.headers.get("Authorization"), body))
                status, answer = outer.answers.get(f"{self.command} {self.path}", (404, "no such job"))
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def ray():
    fake = FakeRay()
    thread = threading.Thread(target=fake.server.serve_forever, args=(0.01,))
    thread.start()
    yield fake
    fake.server.shutdown()
    fake.server.server_close()
    thread.join()


def test_a_job_is_submitted_with_its_id_and_the_token(ray, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    ray.answers["POST /api/jobs/"] = 200, {"submission_id": "churn-1"}
    JobServer(ray.url, "secret").submit("churn-1", "python -m trainers", {"pipeline": "churn"})
    ((asked, token, body),) = ray.asked
    assert (asked, token) == ("POST /api/jobs/", "Bearer secret")
    assert json.loads(body) == {
        "submission_id": "churn-1", "entrypoint": "python -m trainers", "metadata": {"pipeline": "churn"}
    }  # fmt: skip


def test_a_job_that_is_there_already_is_left_alone(ray):
    text = "Traceback …\nValueError: Job with submission_id churn-1 already exists. Please use a different one."
    ray.answers["POST /api/jobs/"] = 500, text
    JobServer(ray.url, "").submit("churn-1", "true", {})
    assert ray.asked[0][1] is None


def test_a_refusal_has_its_reason(ray):
    ray.answers["POST /api/jobs/"] = 401, "Unauthorized:\nthe token is wrong\n"
    with pytest.raises(ClusterError, match=r"refuses churn-1 \(401\): the token is wrong"):
        JobServer(ray.url, "x").submit("churn-1", "true", {})


def test_jobs_as_they_are(ray):
    server = JobServer(ray.url, "")
    assert server.find("churn-1") is None
    ray.answers["GET /api/jobs/churn-1"] = 200, {"status": "FAILED", "message": "killed", "type": "SUBMISSION"}
    assert server.find("churn-1") == Job(JobStatus.FAILED, "killed")
    for status in JobStatus:
        assert status.is_over == (status.value in {"SUCCEEDED", "FAILED", "STOPPED"})


@pytest.mark.parametrize("answer", [(200, "<html>"), (200, {"status": "NEW"}), (500, "it starts"), (401, "")])
def test_what_is_no_answer_is_no_lost_job(ray, answer):
    ray.answers["GET /api/jobs/churn-1"] = answer
    with pytest.raises(JobServerAwayError):
        JobServer(ray.url, "").find("churn-1")


def test_a_server_that_is_gone(ray):
    with pytest.raises(JobServerAwayError, match="does not answer"):
        JobServer("http://127.0.0.1:9", "").submit("churn-1", "true", {})
    assert JobServer("http://127.0.0.1:9", "").last_error("churn-1") == ""


def test_the_last_error_of_the_log(ray):
    server = JobServer(ray.url, "")
    logs = "Prepare ...\nerror: one thing\nmore\nerror: raw data is gone. look there\n"
    ray.answers["GET /api/jobs/churn-1/logs"] = 200, {"logs": logs}
    assert server.last_error("churn-1") == "raw data is gone. look there"
    ray.answers["GET /api/jobs/churn-1/logs"] = 200, {"logs": "killed"}
    assert server.last_error("churn-1") == ""
