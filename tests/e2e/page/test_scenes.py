"""What the page's tests show it is what a gateway would: the scenes are documents of these types."""

from __future__ import annotations

import msgspec
import pytest

from divisions.house import House
from router.gateway.documents import Status
from tests.e2e.page.scenes import SCENES


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_is_made_of_documents_of_the_gateway(name):
    scene = SCENES[name]()
    house = msgspec.convert(scene.house, House)
    assert all(getattr(house, section) is not None for section in house.__struct_fields__)
    unknown = set(scene.house) - set(house.__struct_fields__)
    assert not unknown
    status = msgspec.convert(scene.status, Status)
    assert status.gateway.version == "1.0.0"
