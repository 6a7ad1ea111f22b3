"""What a search hears of its trials, in any order, and what it tells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import TrainingError
from divisions.pipeline.definition import Hyperparams
from divisions.trials import Trial, TrialEnd
from trainers.training.scoreboard import Heard, Scoreboard, winner_of
from trainers.training.search_space import candidates

COUNT = 4
LOSSES = st.lists(st.floats(0.0, 9.0), max_size=4)
ENDINGS = st.sampled_from(("finishes", "is stopped", "fails", "goes on", "never begins"))


def board():
    shown = []
    return Scoreboard(candidates(Hyperparams(), COUNT), shown.append), shown


@given(st.lists(st.tuples(ENDINGS, LOSSES), min_size=COUNT, max_size=COUNT))
def test_each_trial_has_the_end_that_it_had_and_the_last_that_was_heard_of_it(stories):
    scores, shown = board()
    expected = []
    for number, (ending, losses) in enumerate(stories, start=1):
        if ending == "never begins":
            expected.append((TrialEnd.NOT_BEGUN, 0, None))
            continue
        scores.began(number)
        for epoch, loss in enumerate(losses, start=1):
            is_last = ending == "finishes" and epoch == len(losses)
            scores.heard(number, Heard(epoch, loss, None, is_last))
        last = (len(losses), losses[-1] if losses else None)
        match ending:
            case "finishes" | "is stopped":
                scores.ended(number)
                is_finished = ending == "finishes" and losses
                expected.append((TrialEnd.FINISHED if is_finished else TrialEnd.STOPPED, *last))
            case "fails":
                scores.failed(number, "it diverged")
                expected.append((TrialEnd.FAILED, *last))
            case _:
                expected.append((TrialEnd.OUT_OF_TIME, *last))
    trials = scores.close()
    assert [(trial.end, trial.epochs, trial.valid_loss) for trial in trials] == expected
    assert [trial.number for trial in trials] == list(range(1, COUNT + 1))
    assert [line for line in shown if "failed" in line] == [
        line for line in shown if line.startswith("trial ") and "failed: it diverged" in line
    ]
    assert len([line for line in shown if "failed" in line]) == sum(ending == "fails" for ending, _ in stories)
    assert scores.close() == trials, "closing twice changes nothing"


def test_the_best_so_far_is_told_when_it_has_ended():
    scores, shown = board()
    for number, loss in ((1, 0.5), (2, 0.7), (3, 0.4)):
        scores.began(number)
        scores.heard(number, Heard(6, loss, 0.8, True))
        scores.ended(number)
    assert [line.partition(":")[0] for line in shown] == [
        "trial 1 of 4 is the best so far",
        "trial 3 of 4 is the best so far",
    ]
    assert "validation loss 0.4000, AUC 0.8000, after 6 epochs; learning_rate: " in shown[1]


def test_a_failure_says_whether_others_go_on():
    scores, shown = board()
    for number in range(1, COUNT + 1):
        scores.began(number)
        scores.failed(number, "the loss is no longer finite in epoch 2")
    assert "trial 1 of 4 failed: the loss is no longer finite in epoch 2; the others go on (it had " in shown[0]
    assert "trial 4 of 4 failed: the loss is no longer finite in epoch 2 (it had " in shown[3]


def test_one_that_was_heard_of_last_at_the_deadline_has_finished():
    scores, _ = board()
    scores.began(1)
    scores.heard(1, Heard(50, 0.3, None, True))
    assert scores.close()[0].end is TrialEnd.FINISHED


def test_without_a_result_one_line_says_why():
    failed = [Trial(number, {}, TrialEnd.FAILED, reason=f"reason {number}") for number in (1, 2)]
    with pytest.raises(TrainingError, match="all 2 trials failed; the first of them: reason 1") as caught:
        winner_of(failed, 60.0)
    assert "divisions runs show latest" in caught.value.remedy
    slow = [failed[0], Trial(2, {}, TrialEnd.OUT_OF_TIME), Trial(3, {})]
    with pytest.raises(TrainingError, match="no trial had a result when its budget of 60 s was over: 1 out of time, 1"):
        winner_of(slow, 60.0)
    best = Trial(2, {}, TrialEnd.OUT_OF_TIME, 3, 0.4)
    assert winner_of([failed[0], best], 60.0) is best
