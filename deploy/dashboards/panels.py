"""What the dashboards show: panels, and the queries behind them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

BY_VERSION = "{{endpoint}} {{version}}"
BY_ENDPOINT = "{{endpoint}}"


@dataclass(frozen=True, slots=True)
class Query:
    """``legend`` is a template of Grafana's over the labels of a series."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A chart. ``unit`` is Grafana's name of one, such as ``s`` or ``reqps``; ``about`` is shown on request."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    about: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard: rows with a title, and their panels."""

    name: str
    title: str
    rows: tuple[tuple[str, tuple[Panel, ...]], ...]


def _one(title: str, unit: str, expr: str, legend: str, about: str = "") -> Panel:
    return Panel(title, unit, (Query(expr, legend),), about)


SERVING = Board(
    "serving",
    "Divisions: serving",
    (
        (
            "Requests",
            (
                _one(
                    "Requests",
                    "reqps",
                    "sum by (endpoint, version) (divisions:requests:rate5m)",
                    BY_VERSION,
                    "Answered or failed, by the version that did. A few seconds late.",
                ),
                _one(
                    "Errors",
                    "reqps",
                    "sum by (endpoint, status, code) (divisions:refused:rate5m)",
                    "{{endpoint}} {{status}} {{code}}",
                    "Replies with an error. 4xx are the caller's fault.",
                ),
                _one(
                    "Retries",
                    "reqps",
                    "sum by (endpoint, version) (rate(divisions_retries_total[5m]))",
                    BY_VERSION,
                    "Attempts that failed or were late, and were tried elsewhere.",
                ),
            ),
        ),
        (
            "Latency",
            (
                Panel(
                    "From arrival to reply",
                    "s",
                    (
                        Query("divisions:request_seconds:p50_5m", f"p50 {BY_VERSION}"),
                        Query("divisions:request_seconds:p99_5m", f"p99 {BY_VERSION}"),
                    ),
                ),
                _one(
                    "Engine, mean",
                    "s",
                    "sum by (endpoint, version) (rate(divisions_compute_seconds_sum[5m]))"
                    " / sum by (endpoint, version) (rate(divisions_compute_seconds_count[5m]))",
                    BY_VERSION,
                    "Of the request's batch.",
                ),
                _one(
                    "Rows that wait",
                    "short",
                    "sum by (endpoint, version) (divisions_queued_rows)",
                    BY_VERSION,
                    "For a replica. A queue that stays means: too few replicas.",
                ),
            ),
        ),
        (
            "Replicas",
            (
                Panel(
                    "Replicas",
                    "short",
                    (
                        Query("max by (endpoint, version) (divisions_ready_replicas)", f"ready {BY_VERSION}"),
                        Query("max by (endpoint, version) (divisions_wanted_replicas)", f"wanted {BY_VERSION}"),
                    ),
                ),
                _one(
                    "Engines",
                    "short",
                    "max by (endpoint, version, engine) (divisions_engine_replicas)",
                    "{{endpoint}} {{version}} {{engine}}",
                ),
                _one(
                    "Share of traffic",
                    "percentunit",
                    "max by (endpoint, version) (divisions_weight_ratio)",
                    BY_VERSION,
                ),
            ),
        ),
        (
            "Stored features",
            (
                _one(
                    "Look-ups",
                    "reqps",
                    "sum by (endpoint, features, answer) (rate(divisions_stored_features_total[5m]))",
                    "{{endpoint}} {{features}}, {{answer}}",
                    "Customers that requests named without features.",
                ),
                _one(
                    "Age of the newest",
                    "s",
                    "time() - max by (endpoint) (divisions_features_newest_timestamp_seconds)",
                    BY_ENDPOINT,
                ),
                _one("Connections", "short", "sum by (gateway) (divisions_connections)", "gateway {{gateway}}"),
            ),
        ),
    ),
)

ROLLOUTS = Board(
    "rollouts",
    "Divisions: rollouts",
    (
        (
            "Rollout",
            (
                _one(
                    "Canary's share",
                    "percentunit",
                    "max by (endpoint) (divisions_rollout_weight_ratio)",
                    BY_ENDPOINT,
                ),
                _one(
                    "Phase",
                    "short",
                    "max by (endpoint, phase) (divisions_rollout_phase) == 1",
                    "{{endpoint}} {{phase}}",
                ),
                _one(
                    "Rollbacks",
                    "short",
                    "max by (endpoint, guard) (divisions_rollbacks_total)",
                    "{{endpoint}} by {{guard}}",
                ),
            ),
        ),
        (
            "Evidence",
            (
                Panel(
                    "ln E against its threshold",
                    "short",
                    (
                        Query("max by (endpoint, guard) (divisions_rollout_log_evidence)", "{{endpoint}} {{guard}}"),
                        Query(
                            "max by (endpoint, guard) (divisions_rollout_log_threshold)",
                            "{{endpoint}} {{guard}} acts at",
                        ),
                    ),
                    "A guard rolls back where its line meets its threshold.",
                ),
                _one(
                    "Drift",
                    "short",
                    "max by (endpoint, between) (divisions_rollout_drift)",
                    "{{endpoint}} {{between}}",
                    "Corrected stability index while a rollout runs.",
                ),
                _one(
                    "Smallest slow-down that is found",
                    "short",
                    "max by (endpoint) (divisions_rollout_min_detectable_ratio)",
                    BY_ENDPOINT,
                ),
            ),
        ),
    ),
)

CLUSTER = Board(
    "cluster",
    "Divisions: cluster",
    (
        (
            "Health",
            (
                _one(
                    "Dependencies",
                    "short",
                    "min by (dependency) (divisions_dependency_reachable)",
                    "{{dependency}}",
                    "1 while the controller reaches it.",
                ),
                _one(
                    "Controller silent for",
                    "s",
                    "max by (gateway) (divisions_controller_silent_seconds)",
                    "gateway {{gateway}}",
                ),
                Panel(
                    "Journal",
                    "short",
                    (
                        Query("max(divisions_journal_unwritten)", "transitions not on disk"),
                        Query("max(divisions_controller_restarts_total)", "restarts of the controller"),
                    ),
                ),
            ),
        ),
        (
            "Models",
            (
                _one(
                    "Versions in the registry",
                    "short",
                    "max by (model, state) (divisions_registry_versions)",
                    "{{model}} {{state}}",
                ),
                _one("Runs", "short", "max by (pipeline, status) (divisions_runs)", "{{pipeline}} {{status}}"),
                Panel(
                    "Pipelines",
                    "short",
                    (
                        Query("max(divisions_pipelines_active)", "active"),
                        Query("sum(max by (pipeline) (divisions_pipeline_running))", "running"),
                        Query("sum(max by (pipeline) (divisions_pipeline_last_failed))", "failed last"),
                    ),
                ),
            ),
        ),
        (
            "Machines",
            (
                _one(
                    "Overdue runs",
                    "s",
                    "max by (pipeline) (divisions_schedule_lag_seconds)",
                    "{{pipeline}}",
                ),
                Panel(
                    "GPUs",
                    "short",
                    (
                        Query("max by (node) (divisions_gpus_booked)", "{{node}} booked"),
                        Query("max by (node) (divisions_gpus)", "{{node}} has"),
                    ),
                ),
                _one("Plan cache", "bytes", "max(divisions_plan_cache_bytes)", "on disk"),
            ),
        ),
        (
            "Gateways",
            (
                _one("Releases", "short", "count by (version) (divisions_build_info)", "{{version}}"),
                _one("Routing table", "short", "max by (gateway) (divisions_table_epoch)", "gateway {{gateway}}"),
                _one("Event streams", "short", "sum by (gateway) (divisions_event_streams)", "gateway {{gateway}}"),
            ),
        ),
    ),
)

BOARDS = (SERVING, ROLLOUTS, CLUSTER)
