"""Any order of operations on a controller that is killed now and then: what all state machines about it share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis.stateful import RuleBasedStateMachine

from divisions.errors import RolloutError
from tests.router.rollout_world import World

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Thousands of journals are quicker in memory."""


class RolloutMachine(RuleBasedStateMachine):
    """A world with a journal of its own, until `teardown`."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="divisions-test", dir=MEMORY))
        self.world = World(self.folder)

    def teardown(self) -> None:
        self.world.journal.close()
        shutil.rmtree(self.folder)

    def try_to(self, act: Callable[[], object]) -> None:
        """Carries something out; killed on the way, the controller comes back."""
        try:
            act()
        except RolloutError:
            pass
        except KeyboardInterrupt:
            self.come_back()

    def come_back(self) -> None:
        self.world.restart_controller()
