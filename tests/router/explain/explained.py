"""What tests of explanations ask a gateway, and the model that they explain."""

from __future__ import annotations

import math

import numpy as np

from tests.router.gateway_world import Reply, World, post

REFERENCE = {"minutes": 2.0, "plan": "basic", "abroad": False}
PATH = "/api/v2/predict/churn?explain=true"


def logistic(minutes=0.25, plan=1.5, abroad=-0.75, base=-1.0):
    """A linear model in log-odds; a missing number counts as the reference's, as a graph fills it in."""

    def score(rows_NF: np.ndarray) -> np.ndarray:
        filled = np.where(np.isnan(rows_NF), np.array([2.0, 1.0, 0.0]), rows_NF).astype(np.float64)
        odds = base + filled @ np.array([minutes, plan, abroad])
        return (1 / (1 + np.exp(-odds))).astype(np.float32)

    return score


async def ready(it: World, *stable, **options) -> None:
    await it.route(list(stable), **options)
    await it.know_training_data()


async def ask(it: World, body: object, *headers: str, path: str = PATH) -> Reply:
    return (await it.raw(post(body, *headers, path=path)))[0]


def adds_up(explanation: dict) -> bool:
    parts = [each["contribution"] for each in explanation["contributions"]]
    total = explanation["reference"] + math.fsum(parts) + explanation["others"] + explanation["joint"]
    return abs(total - explanation["score"]) < 1e-6
