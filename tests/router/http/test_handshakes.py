"""Who has a place for a TLS handshake, who waits, and who loses one. With strings in place of tasks and sockets."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router.http.handshakes import Handshakes

GRACE_S = 1.0


def begun(*handshakes: str, places: int = 4) -> Handshakes[str, str]:
    """One a second; the network is the first letter."""
    found: Handshakes[str, str] = Handshakes(places, GRACE_S)
    for now_s, handshake in enumerate(handshakes):
        found.begin(handshake[0], handshake, float(now_s))
    return found


def test_the_network_with_most_handshakes_loses_its_oldest_to_a_newcomer():
    found = begun("a1", "b1", "b2", "b3")
    assert not found.has_place
    assert found.give_way("c") == "b1"
    assert found.has_place
    assert sorted(found.under_way()) == ["a1", "b2", "b3"]
    found.end("b", "b1")  # its task ends later
    assert found.num_under_way == 3


def test_nobody_loses_a_young_handshake_to_an_equal_or_to_its_own_network():
    assert begun("a1", "b1").give_way("c") is None
    assert begun("a1", "a2", "b1").give_way("b") is None
    assert begun("a1", "a2", "b1").give_way("a") is None
    assert begun("a1", "a2", "a3", "b1").give_way("b") == "a1"


def test_the_oldest_of_the_network_with_most_keeps_its_place_until_its_grace_is_over():
    found = begun("a1", "b1", "b2")
    assert found.grace_left_s(1.5) == 0.5
    assert found.grace_left_s(2.0) == 0.0
    assert found.give_way_to_all() == "b1"


def test_those_who_wait_go_in_order_and_networks_take_turns():
    found = begun("a1")
    for connection in ("b1", "b2", "b3", "c1", "a2"):
        found.wait(connection[0], connection)
    assert [found.next_waiting()[1] for _ in range(5)] == ["b1", "c1", "b2", "b3", "a2"]
    assert found.num_waiting == 0


def test_the_newest_of_the_network_with_most_waiting_is_given_up():
    found = begun("a1")
    for connection in ("b1", "c1", "c2"):
        found.wait(connection[0], connection)
    assert found.give_up_waiting() == "c2"
    assert found.num_waiting == 2


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(1, 5))
def test_a_flood_never_takes_more_places_than_there_are_and_no_network_is_left_out(arrivals, places):
    found = begun(places=places)
    gone: Counter[str] = Counter()
    for number, network in enumerate(arrivals):
        if not found.has_place and (loser := found.give_way(network)) is not None:
            gone[loser[0]] += 1
        if found.has_place:
            found.begin(network, f"{network}{number}", float(number))
        else:
            found.wait(network, f"{network}{number}")
        assert found.num_under_way <= places
    held = Counter(each[0] for each in found.under_way())
    waiting = Counter()
    while found.num_waiting:
        network, _ = found.next_waiting()
        waiting[network] += 1
    assert held + waiting + gone == Counter(arrivals)
    for network in waiting:
        assert held[network] + 1 >= max(held.values()), "only equals keep each other waiting"
