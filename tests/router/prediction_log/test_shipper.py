import pytest

from router.prediction_log import spool
from router.prediction_log.batches import BatchMaker
from router.prediction_log.shipper import FIRST_PAUSE_S, LONGEST_PAUSE_S, Shipper
from tests.router.prediction_log.logged import entry, opened, rows_of


class Places:
    """Takes files, but for places that are away."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.files: dict[str, int] = {}
        self.asked: list[str] = []

    def put(self, table, place: str, path: str) -> None:
        self.asked.append(place)
        if place in self.away:
            raise OSError(f"{place} does not answer")
        self.files[f"{place}/{path}"] = table.num_rows


@pytest.fixture
def world(tmp_path):
    class World:
        now_s = 0.0
        places = Places()
        folder = tmp_path

        def file(self, name: str, place: str, rows: int = 1) -> spool.SpoolFile:
            maker = BatchMaker(opened(), b"key")
            file = spool.create(tmp_path, name, maker.schema, f"{place}\n{name}.parquet")
            if rows:
                file.append(bytes(maker.batch([rows_of(0.0, entry(1, rows))]).serialize()), rows)
            return file

        def left(self) -> list[str]:
            return sorted(path.stem for path in tmp_path.iterdir())

    it = World()
    it.places = Places()
    it.shipper = Shipper(it.places.put, lambda: it.now_s)
    return it


def test_a_file_goes_to_its_place_and_leaves_the_spool(world):
    world.shipper.ship(world.file("a", "/here", rows=3))
    assert world.shipper.waiting_bytes > 0
    assert world.shipper.turn()
    assert not world.shipper.turn()
    assert (world.places.files, world.left()) == ({"/here/a.parquet": 3}, [])
    assert (world.shipper.files, world.shipper.fault, world.shipper.waiting_bytes) == (1, "", 0)


def test_a_place_that_is_away_keeps_its_files_and_holds_up_no_other(world):
    world.places.away = {"s3://away"}
    world.shipper.ship(world.file("a", "s3://away"))
    world.shipper.ship(world.file("b", "s3://away"))
    world.shipper.ship(world.file("c", "/here"))
    while world.shipper.turn():
        pass
    assert (world.places.files, world.left()) == ({"/here/c.parquet": 1}, ["a", "b"])


def test_it_is_tried_again_ever_more_rarely_and_arrives_in_the_end(world):
    world.places.away = {"s3://away"}
    world.shipper.ship(world.file("a", "s3://away"))
    for _ in range(3_600):
        world.shipper.turn()
        world.now_s += 1.0
    assert 3_600 / LONGEST_PAUSE_S <= len(world.places.asked) <= 3_600 / LONGEST_PAUSE_S + 10
    assert world.shipper.fault == "s3://away does not answer"
    world.places.away = set()
    world.now_s += LONGEST_PAUSE_S
    world.shipper.turn()
    assert (world.left(), world.shipper.fault) == ([], "")


def test_after_an_hour_of_silence_the_first_failure_is_tried_again_soon(world):
    world.places.away = {"s3://away"}
    world.shipper.ship(world.file("a", "s3://away"))
    world.shipper.turn()
    world.now_s += FIRST_PAUSE_S
    world.places.away = set()
    assert world.shipper.turn()
    assert world.left() == []


def test_a_file_without_rows_is_removed(world):
    world.shipper.ship(world.file("a", "/here", rows=0))
    world.shipper.turn()
    assert (world.places.files, world.left(), world.shipper.files) == ({}, [], 0)


def test_an_end_brings_what_waits(world):
    world.shipper.start()
    for name in ("a", "b", "c"):
        world.shipper.ship(world.file(name, "/here"))
    world.shipper.close(60.0)
    assert (len(world.places.files), world.left()) == (3, [])


def test_an_end_waits_for_no_place_that_is_away(world):
    world.places.away = {"s3://away"}
    world.shipper.start()
    world.shipper.ship(world.file("a", "s3://away"))
    world.shipper.close(60.0)
    assert world.left() == ["a"], "the next writer has it"
