"""Epochs of routing tables: they only rise, and those that are neither ours nor the journal's are found."""

import asyncio

import pytest

from divisions.control import EndpointRoute
from router.control.table_store import TableStore

ROUTE = EndpointRoute("churn", "salt", ())


class Writer:
    """Epochs one by one, as the journal's writer gives them while the disk is well."""

    def next_epoch(self, epoch):
        return epoch + 1


@pytest.fixture
def store():
    return TableStore(Writer())


def test_a_table_is_published_when_it_differs_or_is_forced(store):
    store.publish((ROUTE,), ())
    assert (store.epoch, store.table.endpoints) == (1, (ROUTE,))
    store.publish((ROUTE,), ())
    assert store.epoch == 1
    store.publish((ROUTE,), (), is_forced=True)
    assert (store.epoch, store.table.epoch) == (2, 2)


@pytest.mark.parametrize(
    ("known_epoch", "is_foreign"),
    [(0, False), (5, False), (6, False), (7, False), (8, True), (100, True)],
)
def test_an_epoch_above_the_journals_is_foreign_unless_this_controller_published_it(store, known_epoch, is_foreign):
    store.resume(5)
    store.publish((ROUTE,), ())
    store.publish((), ())
    assert store.epoch == 7
    assert store.is_foreign(known_epoch) is is_foreign


def test_the_very_first_epoch_is_ours(store):
    store.publish((ROUTE,), ())
    assert not store.is_foreign(1)
    assert store.is_foreign(2)


def test_before_anything_is_published_every_epoch_above_the_journals_is_foreign(store):
    store.resume(5)
    assert not store.is_foreign(5)
    assert store.is_foreign(6)


def test_the_next_table_goes_above_a_foreign_epoch(store):
    store.resume(5)
    store.go_above(9)
    assert not store.is_foreign(9)
    store.publish((ROUTE,), ())
    assert store.table.epoch == 10
    store.go_above(3)
    assert store.epoch == 10, "an epoch does not fall"


def test_a_gateway_gets_a_newer_table_at_once_and_waits_for_the_next():
    async def scenario():
        store = TableStore(Writer())
        store.publish((ROUTE,), ())
        assert (await store.newer(0, 10.0)).epoch == 1
        waiting = asyncio.create_task(store.newer(1, 10.0))
        await asyncio.sleep(0)
        assert not waiting.done()
        store.publish((), ())
        assert (await waiting).epoch == 2
        assert (await store.newer(2, 0.001)).epoch == 2, "after the time limit it is the one in force"

    asyncio.run(scenario())
