"""What a run finds of earlier ones: the same training goes on, any other starts anew, and old files go."""

from dataclasses import fields, replace

from hypothesis import given
from hypothesis import strategies as st

from divisions.artifacts.work_store import StoredFile
from divisions.pipeline.definition import Hyperparams
from trainers.training.checkpoints import CheckpointName
from trainers.training.resumption import ABANDONED_S, abandoned, has_others, resume_note, training_key

SCHEMA = "5c" * 32
NAME = str(CheckpointName(3, "0" * 16))


PLAIN = Hyperparams()


def key(schema=SCHEMA, hyperparams=PLAIN, workers=1, device="cpu", versions=("1", "2")):
    return training_key(schema, hyperparams, workers, device, versions)


def test_all_that_decides_the_weights_is_in_the_key():
    others = {
        key(schema="0" * 64),
        key(workers=2),
        key(device="cuda"),
        key(versions=("1", "3")),
    }
    for field in fields(Hyperparams):
        value = getattr(Hyperparams(), field.name)
        others.add(
            key(hyperparams=replace(Hyperparams(), **{field.name: (7,) if field.name == "hidden" else value + 1}))
        )
    assert len(others) == 4 + len(fields(Hyperparams))
    assert key() not in others
    assert key() == key(hyperparams=Hyperparams(epochs=50))


folders = st.sampled_from(["own", "a", "b"])
listed = st.lists(
    st.builds(lambda folder, at_s: StoredFile(f"{folder}/rows.npy", 1, at_s), folders, st.floats(0.0, 1e6)), max_size=8
)


@given(listed, st.floats(0.0, 1e6))
def test_what_was_written_within_a_day_stays_and_so_does_the_own_folder(files, now_s):
    removed = abandoned(files, "own", now_s)
    assert "own" not in removed
    for folder in ("a", "b"):
        times = [file.written_s for file in files if file.path.startswith(f"{folder}/")]
        assert (folder in removed) == (bool(times) and now_s - max(times) > ABANDONED_S)


def test_checkpoints_of_other_rows_or_another_key_are_others():
    def files(*paths):
        return [StoredFile(path, 1, 0.0) for path in paths]

    assert not has_others(files("own/rows.npy", f"own/key/{NAME}"), "own/key")
    assert has_others(files(f"own/other/{NAME}"), "own/key")
    assert has_others(files(f"other/key/{NAME}"), "own/key")
    assert not has_others(files("other/rows.npy", "prepared-0a/tables.pickle"), "own/key")


def test_the_note_says_where_training_goes_on_or_why_not():
    assert resume_note(None, 50, others=False) == ""
    assert "starts anew" in resume_note(None, 50, others=True)
    assert "after epoch 30 of 50" in resume_note(CheckpointName(29, "0" * 16), 50, others=True)
    assert "the weights of its 50 epochs are taken" in resume_note(CheckpointName(49, "0" * 16), 50, others=False)
