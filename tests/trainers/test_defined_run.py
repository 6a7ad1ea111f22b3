"""examples/events.yaml from a log of events to a served model: everything but Ray and the gateway is real."""

from __future__ import annotations

import datetime as dt
import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from divisions.bundle import read_bundle
from divisions.clock import ManualClock
from divisions.online_store import OnlineStoreReader, online_store_path
from divisions.pipeline.columns_yaml import columns_yaml
from divisions.pipeline.file import load_pipeline, parse_pipeline
from divisions.registry import Registry
from divisions.settings import Settings
from router.predict.decode import EndpointDecoder
from tests.trainers.place import RecordingProgress, details
from trainers.run import PipelineRun, RunRequest
from trainers.stages import rollout
from trainers.training.compute import InProcess

EXAMPLES = Path(__file__).parents[2] / "examples"
PIPELINE = EXAMPLES / "events.yaml"
DAY = pd.Timedelta(days=1)


class _Status:
    phase = "WARMING"


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A run over the example's events; ``newest`` is when its features end."""
    folder = tmp_path_factory.mktemp("shop")
    spec = importlib.util.spec_from_file_location("events_example", EXAMPLES / "events.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.write(folder / "raw")
    settings = Settings(home=folder / "home")
    progress = RecordingProgress()
    request = RunRequest(
        load_pipeline(PIPELINE), PIPELINE.read_text(), dt.date(2025, 6, 20), str(folder / "raw"), "http://127.0.0.1:1"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollout, "start_rollout", lambda *_: _Status())
        clock = ManualClock(wall_s=dt.datetime(2025, 7, 1, tzinfo=dt.UTC).timestamp())
        outcome = PipelineRun(settings, Registry(settings.home), InProcess(), progress, clock).run(request)
    events = example.shop().drop(columns="arrived").drop_duplicates()
    events = events[events["happened"] < pd.Timestamp("2025-06-21", tz="UTC")]
    return settings, outcome, progress, events


def test_the_model_is_better_than_its_gate(shop):
    _, outcome, _, _ = shop
    assert outcome.validation_status == "passed"
    assert outcome.metrics["auc"] > 0.75


def test_every_customer_is_served_with_the_features_of_the_newest_event(shop):
    settings, outcome, _, events = shop
    newest = events["happened"].max()
    store = OnlineStoreReader(online_store_path(settings.home), "shop_churn")
    schema = read_bundle(Path(outcome.bundle_path)).schema
    decoder = EndpointDecoder(schema)
    assert {"plan", "purchases_30d", "purchases_90d", "days_since_purchase"} <= set(schema.names)
    for customer, own in events.groupby("customer_id"):
        stored = dict(zip(decoder.names, decoder.decode_stored(store.get(customer)), strict=True))
        bought = own[own["event"] == "purchase"]
        month = bought[bought["happened"] > newest - 30 * DAY]
        plans = own.sort_values("happened")["plan"].dropna()
        assert stored["plan"] == (plans.iloc[-1] if len(plans) else None)
        assert stored["purchases_30d"] == len(month)
        assert stored["spend_30d"] == pytest.approx(month["amount"].sum())
        if len(bought):
            assert stored["days_since_purchase"] == pytest.approx((newest - bought["happened"].max()) / DAY)


def test_what_is_learned_from_ends_a_label_before_the_newest_event(shop):
    settings, _, progress, events = shop
    (folder,) = (settings.home / "features" / "shop-churn").glob("partition=*")
    newest = events["happened"].max()
    assert folder.name == f"partition={newest:%Y-%m-%d}"
    learned = pd.read_parquet(folder / "part.parquet").set_index("customer_id")
    at = newest - 30 * DAY
    assert set(learned["happened"]) == {at}
    after = events[(events["happened"] > at) & (events["event"] == "purchase")]
    assert ((learned["shop_churn"] == 0) == learned.index.isin(after["customer_id"])).all()
    before = events[(events["happened"] <= at) & (events["happened"] > at - 7 * DAY)].groupby("customer_id").size()
    assert (learned["events_7d"] == before.reindex(learned.index, fill_value=0)).all()
    active = events[(events["happened"] <= at) & (events["happened"] > at - 30 * DAY)]["customer_id"].unique()
    assert set(learned.index) == set(active)
    assert any("duplicate event" in note for note in progress.notices)


def test_the_report_has_the_section_as_it_can_be_written(shop):
    settings, outcome, _, _ = shop
    pipeline = load_pipeline(PIPELINE)
    told = details(Registry(settings.home), outcome.run_id)["data"]["features"]
    assert told == columns_yaml(pipeline.features)
    rest = "pipeline: x\nstages:\n  data_prep: {input: x}\n  deployment: {endpoint: /api/v2/predict/shop_churn}\n"
    assert parse_pipeline(rest + told).features == pipeline.features
