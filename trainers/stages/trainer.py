"""Who trains: the principal whose token a run has, as a gateway says. In production they approve none of theirs."""

from __future__ import annotations

from divisions.errors import DivisionsError
from divisions.pipeline.definition import Pipeline
from divisions.promotion import PRODUCTION
from divisions.sdk.client import Client
from divisions.sdk.tokens import Tokens
from divisions.settings import Settings
from trainers.training.cluster_file import cluster_gateway

TIMEOUT_S = 5.0


def trainer_of(settings: Settings, gateway_url: str = "") -> str:
    """The name of whoever runs this; empty if no gateway knows.

    Args:
        settings: name the home and its gateway.
        gateway_url: another gateway to ask.
    """
    url = gateway_url or settings.gateway or cluster_gateway(settings.home)
    if not url:
        return ""
    try:
        with Client(url, home=settings.home, timeout_s=TIMEOUT_S) as client:
            return Tokens(client).self().name
    except DivisionsError:  # a run needs no gateway; a policy that asks for its trainer refuses the version later
        return ""


def trainer_notice(pipeline: Pipeline, environment: str, trainer: str) -> str:
    """What to say before the run if its trainer will be asked for, and nobody knows; empty otherwise.

    >>> from divisions.pipeline.file import parse_pipeline
    >>> text = "pipeline: churn\\nstages: {data_prep: {input: x}, deployment: {endpoint: /api/v2/predict/churn}}"
    >>> trainer_notice(parse_pipeline(text), "", "")
    ''
    >>> trainer_notice(parse_pipeline(text), "production", "")[:40]
    'no gateway says who trains this version:'
    """
    is_asked = "trainer" in pipeline.policy.require or PRODUCTION in (environment, pipeline.policy.environment)
    if trainer or not is_asked:
        return ""
    return "no gateway says who trains this version: nobody can be kept from approving their own, see docs/approval.md"
