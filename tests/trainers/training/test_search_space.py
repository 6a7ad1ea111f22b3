"""The candidates of a search: the file's own first, the others from their ranges, the same for the same seed."""

import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.pipeline.definition import BoostingHyperparams, Hyperparams, ModelKind, TabmHyperparams
from divisions.pipeline.file import parse_pipeline
from trainers.training.search_space import SPACES, Between, OneOf, candidates, first_rung, is_told, searched

KINDS = st.sampled_from((Hyperparams(), TabmHyperparams(), BoostingHyperparams()))
SEEDS = st.integers(0, 2**32 - 1)
FILE = """\
pipeline: churn
stages:
  data_prep: {{input: data}}
  training: {{hyperparams: {hyperparams}}}
  deployment: {{endpoint: /api/v2/predict/churn}}
model: {{kind: {kind}}}
"""


@given(KINDS, SEEDS, st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=40)
def test_the_seed_decides_and_more_trials_only_add_some(own, seed, fewer, more):
    own = replace(own, seed=seed)
    one, other = candidates(own, fewer), candidates(own, fewer + more)
    assert len(other) == fewer + more
    assert other[:fewer] == one
    assert one[0] is own


@given(KINDS, SEEDS)
@settings(max_examples=40)
def test_another_seed_draws_others(own, seed):
    one, other = (candidates(replace(own, seed=each), 3)[1:] for each in (seed, (seed + 1) % 2**32))
    assert all(searched(a) != searched(b) for a, b in zip(one, other, strict=True))
    assert searched(one[0]) != searched(one[1])


@given(KINDS, SEEDS, st.integers(1, 500))
@settings(max_examples=40)
def test_a_candidate_is_within_its_ranges_and_keeps_what_is_not_searched(own, seed, epochs):
    own = replace(own, seed=seed, epochs=epochs)
    space = SPACES[own.kind]
    for candidate in candidates(own, 6)[1:]:
        assert type(candidate) is type(own)
        for name, each in space.items():
            value = getattr(candidate, name)
            assert value in each.values if isinstance(each, OneOf) else each.low <= value <= each.high, name
            if isinstance(each, Between):
                assert float(f"{value:.3g}") == value
        kept = {name: value for name, value in asdict(candidate).items() if name not in space}
        assert kept == {name: value for name, value in asdict(own).items() if name not in space}
        assert (candidate.seed, candidate.epochs) == (seed, epochs)


@given(KINDS, SEEDS)
@settings(max_examples=15)
def test_a_candidate_can_be_written_into_a_pipeline_file(own, seed):
    for candidate in candidates(replace(own, seed=seed), 4):
        written = json.dumps(asdict(candidate))
        pipeline = parse_pipeline(FILE.format(hyperparams=written, kind=own.kind))
        assert pipeline.training.hyperparams == candidate


def test_draws_cover_a_range():
    drawn = [each.dropout for each in candidates(Hyperparams(), 200)[1:]]
    assert min(drawn) < 0.05
    assert max(drawn) > 0.35
    leaves = [each.max_leaves for each in candidates(BoostingHyperparams(), 200)[1:]]
    assert min(leaves) <= 5
    assert max(leaves) >= 50


@pytest.mark.parametrize("kind", ModelKind)
def test_every_kind_has_a_space_of_its_own_hyperparameters(kind):
    of_kind = {each.kind: each for each in (Hyperparams(), TabmHyperparams(), BoostingHyperparams())}[kind]
    names = {field.name for field in fields(of_kind)}
    assert set(SPACES[kind]) <= names
    assert names - set(SPACES[kind]) == {"epochs", "patience", "seed"}


def test_the_page_has_the_ranges():
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text()
    shown = page.partition("<!-- space: the ranges of a search -->\n")[2].partition("<!-- end of space -->")[0]
    networks = "`mlp`, `tabm`"
    rows = ["| kind | hyperparameter | range |", "|---|---|---|"]
    rows += [f"| {networks} | `{name}` | {each} |" for name, each in SPACES[ModelKind.MLP].items()]
    rows += [
        f"| `{kind}` | `{name}` | {each} |"
        for kind in (ModelKind.TABM, ModelKind.GRADIENT_BOOSTING)
        for name, each in SPACES[kind].items()
        if name not in SPACES[ModelKind.MLP] or SPACES[ModelKind.MLP][name] is not each
    ]
    assert shown.splitlines() == rows


@given(st.integers(1, 10_000))
@settings(max_examples=40)
def test_rungs_and_told_epochs_lie_within_the_training(epochs):
    assert 1 <= first_rung(epochs) <= epochs
    told = [epoch for epoch in range(epochs) if is_told(epoch, epochs)]
    assert 1 <= len(told) < 200
    assert told[0] + 1 <= first_rung(epochs), "the first rung must not wait for a later epoch"
