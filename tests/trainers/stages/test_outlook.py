"""What a training tells of itself: its size before it begins, its pace, and that it no longer gets better."""

from dataclasses import replace

import pytest

from divisions.clock import ManualClock
from divisions.pipeline.definition import BoostingHyperparams, Hyperparams, Resources, Training
from trainers.stages.outlook import Outlook
from trainers.training.cost import Cost

ALL_EPOCHS = Training(hyperparams=Hyperparams(patience=0))
WIDE = Cost(14_400, 3_000, 3_544_769, 700_000_000)


def told(losses, *, cost=WIDE, epoch_s=18.0, training=ALL_EPOCHS, every=1):
    """The notices of a training with these validation losses, each with the epoch after which it came."""
    clock, notices = ManualClock(), []
    last = 0
    outlook = Outlook(cost, training, clock.monotonic_s, lambda text: notices.append((last, text)))
    outlook.begin()
    for last, loss in enumerate(losses, 1):
        clock.advance(epoch_s)
        if last % every == 0:
            outlook.epoch(last, {"valid_loss": loss})
    return notices


RISING = [0.6, 0.5, 0.55, *(0.56 + 0.01 * epoch for epoch in range(47))]


def test_a_wide_table_is_told_before_the_first_epoch_and_a_small_one_is_not():
    assert told([]) == [
        (0, "14,400 rows x 3,000 columns: training takes about 0.7 GB of memory, for 3.5 million weights")
    ]
    assert told([0.5] * 50, cost=Cost(2_600, 20, 40_000, 9_000_000), epoch_s=0.3) == []


def test_memory_that_the_stage_does_not_have_is_told():
    (_, short), *_ = told([], training=Training(resources=Resources(memory_gb=0.5)))
    assert "more than the 0.5 GB of training.resources" in short
    (_, enough), *_ = told([], training=Training(resources=Resources(memory_gb=2.0)))
    assert "more than" not in enough


def test_the_pace_is_told_once_after_the_second_epoch():
    falling = [1 / epoch for epoch in range(1, 51)]
    assert told(falling)[1:] == [(2, "an epoch takes about 18.0 s: the other 48 take 14 min")]
    assert told(falling, epoch_s=1.0)[1:] == []  # it is soon over


def test_with_patience_the_pace_is_a_limit():
    training = Training()
    assert told(RISING, training=training)[1:] == [(2, "an epoch takes about 18.0 s: the other 48 take at most 14 min")]


def test_a_loss_that_rises_for_long_is_told_once_with_what_helps():
    _, _, (epoch, text) = told(RISING)
    assert epoch == 12
    assert "lowest in epoch 2 (0.5000) and is 0.6400 in epoch 12" in text
    assert "The weights of epoch 2 are kept" in text
    assert "`patience: 10` below training.hyperparams" in text
    assert "gradient_boosting" in text


def test_trees_are_not_advised_where_there_are_many_customers():
    many = replace(WIDE, num_rows=1_000_000, num_columns=30)
    _, _, (_, text) = told(RISING, cost=many)
    assert "patience" in text
    assert "gradient_boosting" not in text


@pytest.mark.parametrize("every", [1, 5])
def test_trees_are_told_of_in_parts_and_the_pace_is_that_of_one(every):
    training = Training(hyperparams=BoostingHyperparams(epochs=500))
    (epoch, text), *rest = told([0.5] * 400, training=training, epoch_s=5.0, every=every)[1:]
    assert (epoch, rest) == (2 * every, [])
    assert text.startswith("an epoch takes about 5.0 s: the other ")


def test_trees_get_no_advice_for_networks():
    training = Training(hyperparams=BoostingHyperparams(patience=0))
    notices = told(RISING, cost=replace(WIDE, num_weights=0), training=training)
    assert [epoch for epoch, _ in notices] == [0, 2]
