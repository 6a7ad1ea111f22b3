from __future__ import annotations

import pytest
import ray

from trainers.cluster_data.cancellation import cancel_unfinished


def test_what_has_ended_is_not_cancelled_because_ray_aborts_the_process_then(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = []
    monkeypatch.setattr(ray, "wait", lambda results, *, num_returns, **_: (results[:num_returns:2], results[1::2]))
    monkeypatch.setattr(ray, "cancel", lambda result, *, force: cancelled.append((result, force)))
    cancel_unfinished(("ended", "runs", "ended too", "waits"))
    assert cancelled == [("runs", True), ("waits", True)]
