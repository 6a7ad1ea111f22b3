"""Whether what a run stores for its gateways is where they look."""

import pytest

from trainers.data.online_features import unreached_store


@pytest.mark.parametrize(
    ("is_own_gateway", "here", "elsewhere", "told"),
    [
        (True, 0, 0, ""),  # one machine, whose cluster marks no node
        (True, 1, 0, ""),
        (False, 1, 0, ""),  # a job on the node of the only gateway
        (False, 0, 0, "the gateway belongs to another home"),
        (True, 1, 2, "gateways of 2 other nodes do not see"),
        (True, 0, 1, "gateways of 1 other node do not see"),
        (False, 0, 1, "gateways of 1 other node do not see"),
    ],
)
def test_a_store_of_one_disk_is_told_where_gateways_do_not_see_it(is_own_gateway, here, elsewhere, told):
    def note(*, is_shared):
        return unreached_store(
            is_shared=is_shared, is_own_gateway=is_own_gateway, gateways_here=here, gateways_elsewhere=elsewhere
        )

    assert note(is_shared=False).startswith(told)
    assert bool(note(is_shared=False)) == bool(told)
    if told:
        assert "DIVISIONS_ONLINE_STORE" in note(is_shared=False)
    assert note(is_shared=True) == ""
