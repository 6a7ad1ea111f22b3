"""A table as banks export it goes to a served endpoint by twelve lines of YAML: no code, and no change of the data.

It has row numbers, surnames, whole numbers as ids, no event time, a label with words of its own, customers whose label
is not known yet, and a column that only customers who left have.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from benchmarks.harness.product_cluster import ProductCluster
from divisions import Client
from divisions.bundle import read_bundle
from divisions.pipeline.file import load_pipeline
from divisions.registry import Registry

pytestmark = pytest.mark.e2e

PIPELINE = Path(__file__).parents[2] / "examples" / "bank_churn.yaml"
TODAY = "2025-01-14"
FIRST_ID, COUNT, NUM_NEW = 15_634_602, 2_000, 50
HEADER = (
    "RowNumber", "CustomerId", "Surname", "CreditScore", "Geography", "Gender", "Age", "Tenure", "Balance",
    "NumOfProducts", "HasCrCard", "IsActiveMember", "EstimatedSalary", "ExitInterview", "Status",
)  # fmt: skip


def bank_rows() -> Iterator[tuple[object, ...]]:
    """Older and inactive customers, and those of Germany, leave more often. The last ones have no status yet."""
    rng = np.random.default_rng(11)
    names = [f"{first}{last}" for first in ("Har", "Hill", "Oni", "Bon", "Mit", "Chu") for last in range(150)]
    for index in range(COUNT):
        age = int(np.clip(rng.normal(39, 10), 18, 92))
        land = str(rng.choice(["France", "Germany", "Spain"], p=[0.5, 0.25, 0.25]))
        is_active, products = int(rng.random() < 0.52), int(rng.integers(1, 4))
        odds = -3.2 + 0.09 * (age - 39) + 1.0 * (land == "Germany") - 1.1 * is_active + 1.2 * (products == 3)
        has_left = rng.random() < 1 / (1 + np.exp(-odds - 1.0))
        is_new = index >= COUNT - NUM_NEW
        balance = 0 if rng.random() < 0.35 else round(rng.normal(120_000, 30_000), 2)
        yield (
            index + 1, FIRST_ID + 7 * index, rng.choice(names), int(rng.normal(650, 95)), land,
            rng.choice(["Female", "Male"]), age, int(rng.integers(0, 11)), balance, products,
            int(rng.random() < 0.7), is_active, round(rng.uniform(10_000, 200_000), 2),
            "done" if has_left and not is_new else "", "" if is_new else "Exited" if has_left else "Stayed",
        )  # fmt: skip


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> Iterator[ProductCluster]:
    folder = tmp_path_factory.mktemp("bank")
    with (folder / "customers.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *bank_rows()])
    cluster = ProductCluster(folder / "home", print, folder / "commands.log", is_quiet=True)
    cluster.environment["DIVISIONS_REQUEST_TIMEOUT_MS"] = "8000"  # this machine may stall
    cluster.up()
    try:
        cluster.divisions("run", str(PIPELINE), "--input", str(folder / "customers.csv"), "--today", TODAY)
        cluster.wait_for("exit", "1.1", {"PROMOTED"}, 240, print)
        yield cluster
    finally:
        cluster.down()


def predict(bank: ProductCluster, customer: object) -> httpx.Response:
    return httpx.post(f"{bank.url}/api/v2/predict/exit", json={"CustomerId": customer}, timeout=60)


def test_the_file_has_twelve_lines():
    assert len(PIPELINE.read_text().splitlines()) == 12
    assert load_pipeline(PIPELINE).label == "Status"


def test_it_learns_from_what_describes_customers_and_says_what_it_left_out(bank):
    version = Registry(bank.home).get_version("exit-predictor", "1.1")
    folder = bank.home / "bundles" / version.bundle_path
    schema = read_bundle(folder, version.bundle_sha256).schema
    assert set(schema.names) == {
        "CreditScore", "Geography", "Gender", "Age", "Tenure", "Balance", "NumOfProducts", "HasCrCard",
        "IsActiveMember", "EstimatedSalary",
    }  # fmt: skip
    files = bank.home / "mlartifacts" / version.run_id / "artifacts"
    notes = json.loads((files / "validation" / "details.json").read_text())["data"]["notes"]
    for name in ("RowNumber", "Surname", "ExitInterview"):
        told = (f"column {name!r} left out", f"column {name!r} is no feature")
        assert any(note.startswith(told) for note in notes), (name, notes)
    assert any("'Exited'" in note and "is positive" in note for note in notes)
    assert version.metrics["auc_lower_bound"] > 0.6
    assert version.metrics["auc"] < 0.97


@pytest.mark.parametrize("customer", [FIRST_ID, str(FIRST_ID)])
def test_a_customer_is_answered_by_the_id_of_the_table(bank, customer):
    answer = predict(bank, customer)
    assert answer.status_code == 200, answer.text
    assert str(answer.json()["CustomerId"]) == str(FIRST_ID)
    assert 0.0 < answer.json()["exit_probability"] < 1.0
    assert predict(bank, str(FIRST_ID + 1)).status_code == 404


def test_customers_whose_status_is_not_known_yet_are_answered(bank):
    for index in range(COUNT - NUM_NEW, COUNT):
        answer = predict(bank, str(FIRST_ID + 7 * index))
        assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def trees(bank, tmp_path_factory) -> str:
    """Another endpoint, whose model is of trees."""
    text = PIPELINE.read_text().replace("/api/v2/predict/exit", "/api/v2/predict/exit-trees")
    text = text.replace("pipeline: ", "pipeline: trees-", 1) + "model:\n  kind: gradient_boosting\n"
    text = text.replace("epochs: 15", "epochs: 200")
    file = tmp_path_factory.mktemp("trees") / "trees.yaml"
    file.write_text(text)
    customers = Path(bank.home).parent / "customers.csv"
    bank.divisions("run", str(file), "--input", str(customers), "--today", TODAY)
    bank.wait_for("exit-trees", "1.1", {"PROMOTED"}, 240, print)
    return "exit-trees"


@pytest.mark.parametrize("kind", ["mlp", "gradient_boosting"])
def test_the_reasons_of_a_score_add_up_to_it(bank, request, kind):
    endpoint = "exit" if kind == "mlp" else request.getfixturevalue("trees")
    with Client(bank.url, timeout_s=60) as client:
        for index in range(5):
            customer = str(FIRST_ID + 7 * index)
            found = client.explain(endpoint, customer_id=customer, top=3)
            why = found.explanation
            total = why.reference + sum(each.contribution for each in why.contributions) + why.others + why.joint
            assert total == pytest.approx(why.score, abs=1e-6)
            assert 1 / (1 + np.exp(-why.score)) == pytest.approx(found.probability, abs=1e-4)
            assert 1 <= len(why.contributions) <= 3
