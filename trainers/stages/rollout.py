"""A registered version to a rollout, and its features to the online store."""

from __future__ import annotations

from pathlib import Path

from divisions.bundle import Manifest
from divisions.online_stores import open_store
from divisions.pipeline.definition import Pipeline
from divisions.progress import step
from divisions.versions import RegisteredVersion
from trainers.data.online_features import fill_online_store, left_out, unreached_store
from trainers.deployment import Usage, read_usage, rollout_spec, start_rollout
from trainers.stages.parts import Parts


def deploy(
    parts: Parts,
    pipeline: Pipeline,
    version: RegisteredVersion,
    manifest: Manifest,
    newest: Path,
    gateway_url: str,
    *,
    is_own_gateway: bool,
) -> str:
    """Starts the rollout, and fills the online store from the rows in ``newest``; returns the rollout's phase."""
    endpoint, schema = pipeline.deployment.endpoint, manifest.schema
    with step(parts.progress, parts.clock, "Start the rollout") as current:
        usage = Usage()
        if pipeline.serving.num_gpus:  # without GPUs, the cluster's usage does not matter
            usage = read_usage(gateway_url, parts.settings.home, endpoint)
        nodes = parts.compute.nodes()
        spec, notices = rollout_spec(
            pipeline, version, schema, nodes, usage, decision_threshold=manifest.decision_threshold
        )
        for notice in notices:
            parts.progress.notice(notice)
        status = start_rollout(gateway_url, parts.settings.home, spec)
        current.detail = f"{version.version} to {spec.endpoint}"
    gateways = [node for node in nodes if node.has_gateway]
    unreached = unreached_store(
        is_shared=bool(parts.settings.online_store),
        is_own_gateway=is_own_gateway,
        gateways_here=sum(node.is_here for node in gateways),
        gateways_elsewhere=sum(not node.is_here for node in gateways),
    )
    if unreached:
        parts.progress.notice(unreached)
        if not any(node.is_here for node in gateways):
            return str(status.phase)
    with step(parts.progress, parts.clock, "Fill the online store") as current:
        filled = fill_online_store(open_store(parts.settings), endpoint, newest, schema)
        current.detail = f"{filled.num_changed:,} customers"
    if filled.num_left_out:
        parts.progress.notice(left_out(filled))
    return str(status.phase)
