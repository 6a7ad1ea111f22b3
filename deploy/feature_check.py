"""Whether the features that are served are those that a version was made for: online values and scores against offline
ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

import msgspec

from divisions.artifacts.cache import Bundles
from divisions.errors import OnlineStoreError, StaleFeaturesError, UnknownVersionError
from divisions.online_stores import open_store
from divisions.registry import Registry
from divisions.sdk.client import Client
from divisions.sdk.predict import Prediction
from divisions.settings import Settings
from trainers.data.online_check import MAX_SHOWN, Difference, compare
from trainers.data.online_features import NEWEST_FEATURES, OFFLINE_FEATURES
from trainers.data.online_rows import stored_rows

ROWS_PER_REQUEST = 200
TOLERANCE = 1e-5
"""Scores are float32, and the rows of a batch may be computed in another order."""


class FeatureCheck(msgspec.Struct, frozen=True):
    """What was compared, and what differs. ``differences`` has the first of both kinds.

    ``num_newer``, ``num_deleted`` and ``num_by_policy`` are customers that were not compared, for that reason.
    """

    endpoint: str
    model: str
    version: str
    offline: str
    num_compared: int
    num_newer: int
    num_deleted: int
    num_value_differences: int
    num_scored: int
    num_by_policy: int
    num_score_differences: int
    differences: tuple[Difference, ...]

    @property
    def num_differences(self) -> int:
        return self.num_value_differences + self.num_score_differences


def check_features(
    client: Client, registry: Registry, settings: Settings, endpoint: str, num_sampled: int
) -> FeatureCheck:
    """Compares the online store with the offline rows of the version that serves, and scores by id with scores by them.

    Scores are asked of that version by name, so a rollout does not count the requests.

    Args:
        client: of the home's gateway.
        registry: of the home.
        settings: name the home, and where bundles are.
        endpoint: the endpoint's name.
        num_sampled: how many customers' scores are compared.

    Raises:
        UnknownVersionError: nothing serves at the endpoint.
        OnlineStoreError: the version names no offline features, or the store cannot be read.
        BundleError: the version's bundle is neither here nor in the artifact store, or is damaged.
        InputError: the offline features cannot be read.
        RequestError: a prediction was refused.
    """
    rollout = next((each for each in client.rollouts() if each.endpoint == endpoint), None)
    if rollout is None or rollout.stable_version is None:
        raise UnknownVersionError(f"nothing serves at {endpoint!r}", remedy="see `divisions status`")
    version = registry.get_version(rollout.model, rollout.stable_version)
    place = version.lineage.get(NEWEST_FEATURES) or version.lineage.get(OFFLINE_FEATURES)
    if place is None:
        raise OnlineStoreError(
            f"{version.model} {version.version} does not name its offline features", remedy="run the pipeline again"
        )
    _, manifest = Bundles.of(settings).open(version.bundle_path, version.bundle_sha256)
    schema, home = manifest.schema, settings.home
    store = open_store(settings)
    deleted = store.deletions().of(endpoint)
    with closing(store.reader(endpoint)) as reader:
        values = compare(stored_rows(home / place, schema), reader.get_many, schema, deleted, num_sampled)
    scores = list(_compare_scores(client, endpoint, version.version, values.sample))
    wrong = [each for each in scores if isinstance(each, Difference)]
    return FeatureCheck(
        endpoint=endpoint,
        model=version.model,
        version=version.version,
        offline=str(home / place),
        num_compared=values.num_compared,
        num_newer=values.num_newer,
        num_deleted=values.num_deleted,
        num_value_differences=values.num_differences,
        num_scored=sum(each is not False for each in scores),
        num_by_policy=sum(each is False for each in scores),
        num_score_differences=len(wrong),
        differences=(*values.differences, *wrong)[:MAX_SHOWN],
    )


def _compare_scores(
    client: Client, endpoint: str, version: str, sample: Mapping[str, Mapping[str, object]]
) -> Iterator[Difference | bool]:
    """For each customer the difference, True if there is none, or False if the policy answers in another way."""
    names = list(sample)
    for start in range(0, len(names), ROWS_PER_REQUEST):
        part = names[start : start + ROWS_PER_REQUEST]
        rows = [{"features": sample[name]} for name in part]
        by_features = client.predict(endpoint, instances=rows, version=version)
        try:
            by_id = client.predict(endpoint, instances=part, version=version)
        except StaleFeaturesError:
            yield from (False for _ in part)
            continue
        yield from _paired(part, (each.probability for each in by_features), by_id)


def _paired(
    names: Iterable[str], offline: Iterable[float], online: Iterable[Prediction]
) -> Iterator[Difference | bool]:
    for name, expected, found in zip(names, offline, online, strict=True):
        if found.features_status == "default":
            yield False
        elif abs(expected - found.probability) <= TOLERANCE:
            yield True
        else:
            yield Difference(name, "(score)", expected, found.probability)
