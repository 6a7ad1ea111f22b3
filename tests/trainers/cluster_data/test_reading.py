"""Reading over nodes gives the rows of one machine. Here the processes are objects; `tests/e2e` has those of Ray."""

import datetime as dt
from dataclasses import dataclass, field

import pandas as pd
import pytest

from divisions.errors import EmptyInputError, InputError, MissingColumnError
from divisions.pipeline.definition import Distribution, Features
from divisions.pipeline.feature_definition import Aggregate, FeatureDefinition
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from tests.trainers.cluster_data.dirty import assert_same, write_dirty
from tests.trainers.cluster_data.local_workers import LocalWorkers, over_nodes
from trainers.cluster_data import reading
from trainers.data.engine import Limits
from trainers.data.ingest import Reading, read_events
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds


def both(path, tmp_path, known=NOTHING_KNOWN, num_buckets=3, workers=None, **features):
    """The same input, read in both ways."""
    found = []
    for way in ("one", "all"):
        reading = Reading(
            limits=Limits(1, 0.5),
            as_of=dt.datetime(2025, 1, 20, tzinfo=dt.UTC),
            now=dt.datetime(2025, 2, 1, tzinfo=dt.UTC),
            is_latest_only=True,
            newest=tmp_path / f"{way}.parquet",
        )
        given = {"s3": S3Settings(), "allow_buckets": (), "features": Features(**features), "label": "churn"}
        given |= {"reading": reading, "known": known}
        if way == "one":
            found.append(read_events(str(path), **given))
        else:
            found.append(over_nodes(str(path), workers or LocalWorkers(num_buckets), **given))
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_dirty_files_of_all_formats_give_the_same_rows_quarantine_kinds_and_notes(tmp_path, seed):
    one, other = both(write_dirty(tmp_path / "raw", seed), tmp_path)
    assert_same(one, other)
    assert {"duplicate event", "conflicting label", "unparsable line", "null customer_id"} <= set(one.reasons)
    assert other.notes[-1] == "read over 2 nodes: data_prep.distributed is always"
    assert len(one.frame) > 100
    assert one.num_newest > 0


@dataclass(frozen=True)
class Recording(LocalWorkers):
    """Workers that note which parts they have read."""

    parts: list = field(default_factory=list)

    def read(self, tasks):
        self.parts.extend(task.part for task in tasks)
        return super().read(tasks)


def cut_file(path, tmp_path, lines, newline="\n", end="\n"):
    """A CSV file of some lines, read in many ranges; whether it was read as a whole in the end."""
    path.write_text(newline.join(["customer_id,event_time,plan,amount,churn", *lines]) + end, newline="")
    workers = Recording()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PARTS_PER_BUCKET", 7)
        assert_same(*both(path, tmp_path, workers=workers))
    assert sum(part.lines is not None for part in workers.parts) >= 15
    return any(part.lines is None for part in workers.parts)


def plain_lines(number):
    plans = ("gold", " pro ", "NA", '"a, b"')
    return [
        f"c-{i % 40},2025-01-{i % 9 + 1:02d}T00:00:{i % 60:02d}Z,{plans[i % 4]},{i}.50,{i % 2}" for i in range(number)
    ]


FLAWED = [",2025-01-05,gold,1,0", "c-2,soon,gold,1,1", "c-3,2025-01-05,gold,1,perhaps", "é" * 200 + ",2025-01-05,x,1,1"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("has_end", [True, False])
def test_ranges_of_one_plain_file_give_its_rows_with_their_numbers(tmp_path, newline, has_end):
    lines = [*plain_lines(150), *FLAWED, *plain_lines(50)]
    assert not cut_file(tmp_path / "a.csv", tmp_path, lines, newline, newline if has_end else "")


@pytest.mark.parametrize(
    "odd", ['c-1,2025-01-05,"two\nlines",1,0', "c-1,2025-01-05", "", 'c-1,2025-01-05,"a\nb,c,d,e\nf",1,0', 'x","\n"']
)
def test_a_file_that_is_not_plain_is_read_as_a_whole(tmp_path, odd):
    lines = plain_lines(200)
    for place in (150, 3):
        lines.insert(place, odd)
    assert cut_file(tmp_path / "a.csv", tmp_path, lines)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_each_format_alone_gives_the_same(tmp_path, suffix):
    folder = write_dirty(tmp_path / "raw", rows=200, has_extras=True)
    for path in folder.iterdir():
        if not path.name.endswith(suffix):
            path.unlink()
    assert_same(*both(folder, tmp_path, num_buckets=5))


def test_folders_names_that_are_sql_and_a_kept_kind_are_the_same(tmp_path):
    for region in ("eu", "u's"):
        folder = tmp_path / "raw" / f"region={region}"
        folder.mkdir(parents=True)
        rows = [{"customer_id": i, 'a"; DROP TABLE x --': f"{i}'s", "code": f"{i % 7}"} for i in range(60)]
        frame = pd.DataFrame(rows).assign(churn=lambda f: f["customer_id"] % 2)
        frame["event_time"] = "2025-01-14"
        frame.assign(region=region, **{" odd ": 1}).to_csv(folder / "a.csv", index=False)
    known = KnownKinds("1.0", {"code": FeatureKind.CATEGORICAL})
    one, other = both(tmp_path / "raw", tmp_path, known=known)
    assert_same(one, other)
    assert one.kinds["code"] is FeatureKind.CATEGORICAL
    assert set(other.frame["region"]) <= {"eu", "u's"}
    assert len([note for note in other.notes if "region=" in note or "' odd '" in note]) == 2


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("customer_id,event_time,churn\n", EmptyInputError),
        ("customer_id,when,churn\nc-1,2025-01-14,yes\n", MissingColumnError),
        ("customer_id,event_time,churn\n" + "c-1,soon,yes\n" * 9, InputError),
    ],
)
def test_refusals_are_the_same(tmp_path, text, error):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.csv").write_text(text)
    given = {"s3": S3Settings(), "allow_buckets": (), "features": Features(), "label": "churn"}
    messages = []
    for read in (read_events, over_nodes):
        with pytest.raises(error) as raised:
            read(str(tmp_path / "raw"), **given)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]


def test_a_small_input_is_read_on_one_node_and_the_note_says_why(tmp_path):
    folder = write_dirty(tmp_path / "raw", rows=50)
    given = {"s3": S3Settings(), "allow_buckets": (), "features": Features(), "label": "churn"}

    events = over_nodes(str(folder), workers=None, wanted=Distribution.AUTO, **given)
    assert events.notes[-1].startswith("read on one node: 0.0 GB are not more than 4 times")
    alone = over_nodes(str(folder), workers=None, wanted=Distribution.AUTO, num_nodes=1, **given)
    assert not [note for note in alone.notes if note.startswith("read on")]


def test_features_over_events_are_computed_on_one_node_and_the_note_says_so(tmp_path):
    folder = write_dirty(tmp_path / "raw", rows=200)
    define = (FeatureDefinition("amount", Aggregate.MEAN, "amount"),)
    given = {"s3": S3Settings(), "allow_buckets": (), "features": Features(define=define), "label": "churn"}
    events = over_nodes(str(folder), workers=None, wanted=Distribution.ALWAYS, **given)
    assert events.notes[-1] == "read on one node: features over events are computed in one engine"
    assert len(events.frame)
