import errno
import os

import pyarrow.parquet as pq
import pytest

from divisions.prediction_log import LogPolicy
from router.prediction_log import places, writer
from router.prediction_log.shipper import Shipper
from router.prediction_log.writer import LogWriter
from tests.router.prediction_log.logged import APP, entry, opened, rows_of

DAY_S = 86_400.0
BEGIN_S = 1_767_225_600.0  # 2026-01-01 00:00 UTC


class World:
    def __init__(self, home):
        self.home = home
        self.now_s = 0.0
        self.is_full = False
        self.is_away = False
        self.shipper = Shipper(self._put, lambda: self.now_s)
        self.writer = self.another("gw")

    def another(self, name: str, most: int = 1 << 30) -> LogWriter:
        return LogWriter(self.home, name, b"key", self.shipper, self._write, most)

    def _put(self, table, place, path):
        if self.is_away:
            raise OSError("the place is away")
        places.put(table, place, path, s3=None)

    def _write(self, descriptor, data):
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data)

    def take(self, *messages):
        for message in messages:
            self.writer.take(message, self.now_s, BEGIN_S + self.now_s)

    def rows(self, *numbers: int, rows: int = 1):
        self.take(rows_of(BEGIN_S, *[entry(number, rows) for number in numbers]))

    def turn(self, seconds: float = 1.0):
        self.now_s += seconds
        self.writer.turn(self.now_s, BEGIN_S + self.now_s)
        self.ship()

    def close(self):
        self.writer.close(self.now_s, BEGIN_S + self.now_s)
        self.ship()

    def ship(self):
        while self.shipper.turn():
            pass

    def files(self) -> list[str]:
        folder = self.home / "predictions" / "churn"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))

    def logged(self) -> list[str]:
        folder = self.home / "predictions" / "churn"
        return [] if not folder.exists() else sorted(pq.read_table(folder)["request_id"].to_pylist())

    def spooled(self) -> list[str]:
        return sorted(path.name for path in (self.home / "predictions" / "spool").iterdir())

    def count(self) -> tuple[int, dict[str, int]]:
        (version,) = self.writer.counts().versions
        assert version.app_name == APP
        return version.kept, version.lost


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_rows_are_on_the_disk_a_second_later_and_in_a_file_at_the_end(world):
    world.take(opened())
    world.rows(1, 2)
    assert world.count() == (0, {})
    world.turn()
    assert (world.count(), world.files(), len(world.spooled())) == ((2, {}), [], 1)
    world.close()
    assert world.files() == ["date=2026-01-01/000001-gw-1.parquet"]
    assert (world.logged(), world.spooled()) == (["r-1", "r-2"], [])


def test_a_file_is_closed_when_its_time_has_come(world):
    world.take(opened(LogPolicy(roll_s=10.0)))
    for number in range(25):
        world.rows(number)
        world.turn()
    assert len(world.files()) == 2
    world.close()
    assert len(world.logged()) == 25


def test_a_file_is_closed_when_it_is_large(world, monkeypatch):
    monkeypatch.setattr(writer, "ROLL_BYTES", 2_000)
    world.take(opened())
    for number in range(6):
        world.rows(number)
        world.turn()
    assert len(world.files()) > 1
    world.close()
    assert len(world.logged()) == 6


def test_a_new_day_begins_a_new_file(world):
    world.take(opened(LogPolicy(roll_s=DAY_S)))
    world.now_s = DAY_S - 2
    world.rows(1)
    world.turn()
    world.turn()
    world.rows(2)
    world.turn()
    world.close()
    assert [name.partition("/")[0] for name in world.files()] == ["date=2026-01-01", "date=2026-01-02"]


def test_many_rows_are_spooled_before_their_second_is_over(world):
    world.take(opened())
    world.rows(1, rows=writer.FLUSH_ROWS)
    assert world.count() == (writer.FLUSH_ROWS, {})


def test_a_full_disk_costs_rows_which_are_counted_and_the_log_goes_on(world):
    world.take(opened())
    world.rows(1)
    world.turn()
    world.is_full = True
    world.rows(2, 3)
    world.turn()
    world.is_full = False
    world.rows(4)
    world.turn()
    assert world.count() == (2, {"disk": 2})
    world.close()
    assert world.logged() == ["r-1", "r-4"]


def test_rows_that_do_not_fit_the_schema_cost_only_themselves(world):
    world.take(opened())
    world.take(rows_of(BEGIN_S, entry(1)._replace(encoded=b"1234")))
    world.turn()
    world.rows(2)
    world.turn()
    world.close()
    assert (world.count(), world.logged()) == ((1, {"rows": 1}), ["r-2"])


def test_a_place_that_is_away_costs_nothing_until_its_limit(world):
    world.is_away = True
    world.writer = world.another("gw", most=3_000)
    world.take(opened(LogPolicy(roll_s=1.0)))
    for number in range(20):
        world.rows(number)
        world.turn()
    kept, lost = world.count()
    assert kept > 1
    assert lost == {"place": 20 - kept}
    assert world.writer.counts().fault == "the place is away"
    world.is_away = False
    world.turn(100.0)
    world.close()
    assert len(world.logged()) == kept
    assert world.writer.counts().waiting_bytes == 0


def test_what_a_killed_writer_has_spooled_comes_to_its_place(world):
    world.take(opened())
    world.rows(1, 2)
    world.turn()
    for version in world.writer._versions.values():
        version.file.close()  # as the kernel does when a process is killed
        version.file = None
    world.writer = world.another("next")
    world.turn()
    assert (world.logged(), world.spooled()) == (["r-1", "r-2"], [])


def test_another_policy_begins_another_file(world):
    world.take(opened())
    world.rows(1)
    world.take(opened(LogPolicy(10_000, leave_out=("plan",))))
    world.rows(2)
    world.close()
    assert [path.startswith("date=2026-01-01/") for path in world.files()] == [True, True]
    folder = world.home / "predictions" / "churn"
    names = [set(pq.read_schema(folder / path).field("features").type.names) for path in world.files()]
    assert names == [{"minutes", "plan", "abroad"}, {"minutes", "abroad"}]


def test_the_same_policy_told_again_changes_nothing(world):
    world.take(opened())
    world.rows(1)
    world.take(opened())
    world.rows(2)
    world.close()
    assert len(world.files()) == 1
